//! The manual's page about Docker and Podman inside an instance says what works, on each driver of this host.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use coffer_testkit::{Daemon, can_run, images};

use crate::debian::boot;
use crate::setting::holds;

/// How long one command inside may take on a slow, busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const HELLO: &str = "Hello from inside\n";

/// A command of the page.
enum Step {
    /// Of the host.
    Outside(String),
    /// In the instance.
    Inside(String),
}

/// The page's commands in their order, and the text of its `Dockerfile`.
fn page() -> (Vec<Step>, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manual/nesting.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    let step = |line: &str| {
        let inside = line.strip_prefix("box# ").map(|words| Step::Inside(words.to_owned()));
        inside.or_else(|| line.strip_prefix("$ coffer ").map(|words| Step::Outside(words.to_owned())))
    };
    let steps: Vec<Step> = page.lines().filter_map(step).collect();
    assert!(steps.len() > 18, "the page has lost its commands");
    let dockerfile = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    (steps, dockerfile.expect("the page's Dockerfile").to_owned())
}

/// Whether the page's volumes are made and attached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Volumes {
    Attached,
    None,
}

/// A daemon with an instance `box`, made as the page says, that has found its address and whose Docker answers.
fn with_box(driver: &str, volumes: Volumes, steps: &[Step], dockerfile: &str) -> Option<Daemon> {
    if !can_run() {
        return None;
    }
    let image = images::nesting()?;
    let daemon = Daemon::start();
    daemon.initialise(driver);
    let root = image.squashfs.unwrap_or(image.unified.clone());
    let files: Vec<String> =
        if root == image.unified { vec![root] } else { vec![image.metadata, root] }.iter().map(|path| path.display().to_string()).collect();
    daemon.coffer(["image", "import"].into_iter().chain(files.iter().map(String::as_str)).chain(["--alias", "debian"])).ok();
    write_context(&daemon, dockerfile);
    for step in steps {
        let Step::Outside(words) = step else { continue };
        if volumes == Volumes::Attached || !words.starts_with("storage volume ") {
            outside(&daemon, words);
        }
    }
    // Whoever installs Docker finds it started; here it is about to be.
    boot(&daemon, "box");
    if !inside(&daemon, "cat /sys/fs/cgroup/cgroup.controllers").contains("pids") {
        let told = steps.iter().find_map(|step| match step {
            Step::Inside(words) if words.contains("pids_limit") => Some(words),
            _ => None,
        });
        inside(&daemon, told.expect("what the page says of such hosts"));
    }
    Some(daemon)
}

/// Writes the directory `hello` where the page's commands are typed.
fn write_context(daemon: &Daemon, dockerfile: &str) {
    let hello = daemon.scratch().join("hello");
    std::fs::create_dir(&hello).expect("a directory");
    std::fs::write(hello.join("Dockerfile"), dockerfile).expect("a Dockerfile");
    let file = std::fs::File::create(hello.join("busybox.tar")).expect("an archive");
    let mut archive = tar::Builder::new(file);
    archive.append_path_with_name("/bin/busybox", "bin/busybox").expect("the program in it");
    archive.finish().expect("its end");
}

#[track_caller]
fn outside(daemon: &Daemon, words: &str) {
    let script = format!("cd {} && exec {} {words}", daemon.scratch().display(), coffer_testkit::program("coffer").display());
    daemon.inside("sh", ["-c", &script]).deadline(PATIENCE).ok();
}

#[track_caller]
fn inside(daemon: &Daemon, script: &str) -> String {
    daemon.coffer(["exec", "box", "--", "sh", "-c", script]).deadline(PATIENCE).ok()
}

/// What the page promises of a command's output.
fn check(daemon: &Daemon, command: &str, said: &str) {
    match command {
        _ if command.ends_with("run --rm hello") || command.ends_with("run --rm again") => assert_eq!(said, HELLO, "{command}"),
        _ if command.ends_with("busybox id") => holds(said, &["uid=0"]),
        _ if command.contains("--memory 64m") => assert_eq!(said, "67108864\n", "{command}"),
        _ if command.contains("--publish 8080:80") => {
            let address = daemon.ipv4("box", "eth0");
            let answered = daemon.eventually(|| ask(daemon, &address).is_some_and(|answer| answer.ends_with(HELLO)));
            assert!(answered, "nobody serves {address}:8080: {}", inside(daemon, "docker logs web; docker ps --all"));
        }
        _ => {}
    }
}

fn ask(daemon: &Daemon, address: &str) -> Option<String> {
    let mut stream = daemon.pen().in_network(|| TcpStream::connect((address, 8080))).ok()?;
    stream.write_all(b"GET /hello HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Whether Podman's layers are the kernel's own overlays.
#[track_caller]
fn podman_is_native(daemon: &Daemon) -> String {
    inside(daemon, "podman info --format '{{.Store.GraphDriverName}} {{index .Store.GraphStatus \"Native Overlay Diff\"}}'")
}

/// Runs the page on a pool of a driver, where Docker chooses this way to store images, and Podman the kernel's overlays.
#[track_caller]
fn works(driver: &str, docker: &str) {
    let (steps, dockerfile) = page();
    let volumes = if driver == "overlay" { Volumes::Attached } else { Volumes::None };
    let Some(daemon) = with_box(driver, volumes, &steps, &dockerfile) else { return };
    let limits = inside(&daemon, "cat /sys/fs/cgroup/cgroup.controllers").contains("memory");
    for step in &steps {
        let Step::Inside(command) = step else { continue };
        // The image has the packages; the configuration is written where it is needed.
        let skipped = command.starts_with("apt-get") || command.contains("pids_limit") || (command.contains("--memory") && !limits);
        if !skipped {
            check(&daemon, command, &inside(&daemon, command));
        }
    }
    assert_eq!(inside(&daemon, "docker info --format '{{.Driver}}'").trim(), docker);
    assert_eq!(podman_is_native(&daemon), "overlay true\n");
    daemon.coffer(["delete", "--force", "box"]).ok();
}

#[test]
fn the_page_works_on_dir() {
    works("dir", "overlay2");
}

#[test]
fn the_page_works_on_btrfs() {
    works("btrfs", "btrfs");
}

#[test]
fn the_page_works_on_overlay_with_volumes() {
    works("overlay", "overlay2");
}

#[test]
fn fuse_is_the_last_resort_on_overlay() {
    let (steps, dockerfile) = page();
    let Some(daemon) = with_box("overlay", Volumes::None, &steps, &dockerfile) else { return };
    for engine in ["docker", "podman"] {
        inside(&daemon, &format!("{engine} build --tag hello /root/hello"));
        assert_eq!(inside(&daemon, &format!("{engine} run --rm --network none hello")), HELLO);
    }
    assert_eq!(inside(&daemon, "docker info --format '{{.Driver}}'").trim(), "fuse-overlayfs");
    assert_eq!(podman_is_native(&daemon), "overlay false\n");
}
