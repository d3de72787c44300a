//! Images built from recipes: steps kept and done again, the same fingerprint twice, failures that leave nothing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use coffer_testkit::{Daemon, can_run, skipped};
use serde_json::Value;

use crate::setting::{holds, ready_daemon};

/// How long packages may take to arrive and to be set up, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

const RECIPE: &str = "\
name: web
base: {image: small}
image:
  alias: web
  properties: {os: Busybox, description: built here}
environment: {GREETING: hello}
files:
  - path: /srv/site/
    source: site
    mode: 0644
  - path: /etc/motd
    content: welcome
  - path: /var/www
    link: /srv/site
templates:
  - path: /etc/greeting
    content: 'I am {{ container.name }}'
actions:
  - name: write the time
    run: |
      date > /etc/built-at-some-time && rm /etc/built-at-some-time
      echo $GREETING > /etc/hello
      mkdir -p /var/log && date > /var/log/build.log
  - run: chown 1000:1000 /etc/hello
";

/// Writes a recipe with its files.
pub(crate) fn context(daemon: &Daemon, recipe: &str) -> PathBuf {
    let directory = daemon.scratch().join("recipe");
    std::fs::create_dir_all(directory.join("site/deep")).expect("a context");
    std::fs::write(directory.join("site/index.html"), "<p>one</p>").expect("a file");
    std::fs::write(directory.join("site/deep/x"), "deep").expect("a file");
    let file = directory.join("web.yaml");
    std::fs::write(&file, recipe).expect("a recipe");
    file
}

pub(crate) fn build(daemon: &Daemon, file: &Path, more: &[&str]) -> String {
    daemon.coffer([&["image", "build", &file.display().to_string()], more].concat()).ok()
}

/// The fingerprint that a build said last.
pub(crate) fn fingerprint(said: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix("Image built with fingerprint: ")).unwrap_or_else(|| panic!("{said}"));
    line.split(' ').next().expect("a fingerprint").to_owned()
}

fn instances(daemon: &Daemon) -> Vec<String> {
    let all = daemon.api().get("/1.0/instances?recursion=1");
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let marked = |one: &Value| format!("{} {}", text(&one["config"]["user.coffer.build"]), text(&one["status"]));
    all.as_array().expect("a list").iter().map(marked).collect()
}

fn images(daemon: &Daemon) -> usize {
    daemon.api().get("/1.0/images").as_array().map_or(0, Vec::len)
}

#[test]
fn the_same_recipe_gives_the_same_image_and_only_changes_are_done_again() {
    let Some(daemon) = ready_daemon() else { return };
    let file = context(&daemon, RECIPE);
    let first = build(&daemon, &file, &[]);
    holds(&first, &["[1/6] from image small: ", "[3/6] write the time: ", "[6/6] describe the image: ", "(0 steps cached, 6 done"]);
    let made = fingerprint(&first);
    let own = file.parent().expect("the recipe's directory").display().to_string();
    let again = build(&daemon, &file, &["--context", &own, "--pull"]);
    assert_eq!(fingerprint(&again), made);
    holds(&again, &["[6/6] describe the image: cached", "(6 steps cached, 0 done"]);
    // From scratch, in instances and at times of their own.
    holds(&daemon.coffer(["image", "build", "--prune"]).clean(), &["Removed 1 instances with results and 0 leftovers"]);
    daemon.coffer(["image", "delete", "web"]).clean();
    let scratch = build(&daemon, &file, &["--no-cache"]);
    assert_eq!(fingerprint(&scratch), made, "{first}\n{scratch}");
    // A file that changed counts from where it is copied; what was done before is kept.
    std::fs::write(file.with_file_name("site").join("index.html"), "<p>two</p>").expect("a change");
    let changed = build(&daemon, &file, &[]);
    holds(&changed, &["[1/6] from image small: cached", "(1 steps cached, 5 done"]);
    assert_ne!(fingerprint(&changed), made);
    // What comes out is what the recipe says.
    daemon.run_instance("web", "c1");
    let inside = |script: &str| daemon.coffer(["exec", "c1", "--", "sh", "-c", script]).ok();
    assert_eq!(inside("cat /srv/site/index.html /srv/site/deep/x /etc/motd"), "<p>two</p>deepwelcome");
    assert_eq!(inside("cat /etc/hello; stat -c %u:%g /etc/hello; readlink /var/www"), "hello\n1000:1000\n/srv/site\n");
    assert_eq!(inside("cat /etc/greeting"), "I am c1");
    assert_eq!(inside("wc -c < /var/log/build.log").trim(), "0", "logs are emptied");
    let image = daemon.api().get(&format!("/1.0/images/{}", fingerprint(&changed)));
    assert_eq!(image["properties"]["description"], "built here");
    assert!(instances(&daemon).iter().all(|one| one.starts_with("none") || one == "cache Stopped"), "{:?}", instances(&daemon));
}

#[test]
fn a_step_that_fails_is_named_and_leaves_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    let before = images(&daemon);
    let bad = RECIPE.replace("chown 1000:1000 /etc/hello", "echo first; echo so not >&2; exit 7");
    let file = context(&daemon, &bad);
    let said = daemon.coffer(["image", "build", &file.display().to_string()]).fails();
    holds(&said, &["step 4 of 6 failed (line 24)", "ended with status 7", "so not", "first"]);
    assert_eq!((images(&daemon), instances(&daemon)), (before, vec!["cache Stopped".to_owned()]), "the good steps alone");
    // They are good for the mended recipe.
    let mended = context(&daemon, RECIPE);
    holds(&build(&daemon, &mended, &[]), &["(3 steps cached, 3 done"]);
    // One whose first step fails leaves nothing at all.
    daemon.coffer(["image", "build", "--prune"]).clean();
    let file = context(&daemon, "base: {image: none}\n");
    holds(&daemon.coffer(["image", "build", &file.display().to_string()]).fails(), &["The recipe begins with 'none'"]);
    let file = context(&daemon, "base: {archive: site/index.html}\n");
    holds(&daemon.coffer(["image", "build", &file.display().to_string()]).fails(), &["step 1 of 3 failed"]);
    assert!(instances(&daemon).is_empty(), "{:?}", instances(&daemon));
    assert_eq!(images(&daemon), before + 1, "only the mended one");
}

#[test]
fn what_a_killed_build_left_is_removed_by_the_next() {
    let Some(daemon) = ready_daemon() else { return };
    let slow = "base: {image: small}\nactions:\n  - run: echo one\n  - run: echo started; sleep 1000\n";
    let file = context(&daemon, slow);
    let mut command = daemon.coffer(["image", "build", &file.display().to_string()]).into_command();
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a build");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let done = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("[2/5]")));
    assert!(done.is_some(), "the first action is done");
    let running = || instances(&daemon) == ["work Running"];
    assert!(daemon.eventually(running), "{:?}", instances(&daemon));
    child.kill().expect("a build to kill");
    child.wait().expect("its end");
    let file = context(&daemon, "base: {image: small}\n");
    let next = daemon.coffer(["image", "build", &file.display().to_string()]).run();
    holds(&next.stderr, &["removed what 1 killed build(s) left"]);
    assert_eq!(instances(&daemon), ["cache Stopped"]);
}

#[test]
fn a_dockerfile_of_two_stages_becomes_an_image_with_a_process() {
    let Some(daemon) = ready_daemon() else { return };
    let file = context(&daemon, "").with_file_name("Dockerfile");
    let text = "\
ARG word=none
FROM small AS build
ARG word
WORKDIR /work
COPY site .
RUN echo $word > made && ls deep
FROM small
COPY --from=build --chown=user /work/made /srv/
COPY --from=build /work/deep /srv/deep
ENV MODE=served
USER user
WORKDIR /srv
ENTRYPOINT [\"/bin/sh\", \"-c\", \"id -un > /tmp/who; echo $MODE > /tmp/mode; exec sleep 1000\"]
LABEL os=Busybox
";
    std::fs::write(&file, text).expect("a Dockerfile");
    let said = build(&daemon, &file, &["--build-arg", "word=hello", "--alias", "app"]);
    holds(&said, &["RUN echo $word > made && ls deep: ", "COPY --from=build --chown=user /work/made /srv/: "]);
    holds(&build(&daemon, &file, &["--build-arg", "word=hello"]), &[" 0 done"]);
    daemon.run_instance("app", "c1");
    let inside = |script: &str| daemon.coffer(["exec", "c1", "--", "sh", "-c", script]).ok();
    assert_eq!(inside("cat /srv/made; stat -c %U /srv/made; cat /srv/deep/x"), "hello\nuser\ndeep");
    assert!(daemon.eventually(|| inside("cat /tmp/who /tmp/mode 2>/dev/null || true") == "user\nserved\n"));
    std::fs::write(&file, "FROM small\nHEALTHCHECK CMD true\n").expect("a Dockerfile");
    holds(&daemon.coffer(["image", "build", &file.display().to_string()]).fails(), &["line 2: HEALTHCHECK is not supported"]);
}

#[test]
fn bases_and_formats() {
    let Some(daemon) = ready_daemon() else { return };
    let directory = context(&daemon, "").parent().expect("a directory").to_owned();
    // An archive of a root file system: the one that the instance of an image has.
    let squashfs = coffer_testkit::images::busybox().squashfs.expect("mksquashfs");
    std::fs::copy(squashfs, directory.join("rootfs.squashfs")).expect("an archive");
    let file = directory.join("archive.yaml");
    let recipe =
        "epoch: 2024-02-03\nbase: {archive: rootfs.squashfs}\nactions: [{run: echo x > /etc/x}]\nimage: {alias: own, format: split}\n";
    std::fs::write(&file, recipe).expect("a recipe");
    let out = directory.join("out").display().to_string();
    let split = build(&daemon, &file, &["--output", &out]);
    let image = daemon.api().get(&format!("/1.0/images/{}", fingerprint(&split)));
    assert!(image["created_at"].as_str().is_some_and(|time| time.starts_with("2024-02-03T00:00:00")), "{image}");
    assert_eq!(std::fs::read_dir(&out).expect("files").count(), 2);
    daemon.run_instance("own", "c1");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/etc/x"]).ok(), "x\n");
    let one = build(&daemon, &file, &["--format", "squashfs", "--alias", "packed"]);
    // Nothing is packed again of what did not change, though the options and aliases around it may.
    let mut events = daemon.api().events("type=lifecycle");
    let again = build(&daemon, &file, &["--format", "squashfs", "--alias", "other"]);
    assert_eq!(fingerprint(&again), fingerprint(&one));
    holds(&again, &["(4 steps cached, 0 done"]);
    loop {
        let event = events.one()["metadata"].clone();
        assert_ne!(event["action"], "image-created", "{event}");
        if event["source"].as_str().is_some_and(|source| source.ends_with("/other")) {
            break;
        }
    }
    let other = build(&daemon, &file, &["--format", "squashfs", "--no-cache"]);
    assert_eq!(fingerprint(&one), fingerprint(&other));
    // One that was removed is packed again.
    daemon.coffer(["image", "delete", &fingerprint(&one)]).clean();
    assert_eq!(fingerprint(&build(&daemon, &file, &["--format", "squashfs", "--alias", "packed"])), fingerprint(&one));
    daemon.run_instance("packed", "c2");
    let nothing = directory.join("nothing.yaml");
    std::fs::write(&nothing, "base: {empty: true}\nfiles: [{path: /a/b, content: x}]\n").expect("a recipe");
    holds(&build(&daemon, &nothing, &[]), &["from nothing: ", "put /a/b: "]);
    let before: Value = daemon.api().get("/1.0/instances");
    let plan = daemon.coffer(["image", "build", &file.display().to_string(), "--dry-run"]).clean();
    holds(&plan, &["archive: 4 steps", "from archive rootfs.squashfs", "echo x > /etc/x", "image: split, alias own"]);
    assert_eq!(daemon.api().get("/1.0/instances"), before);
}

#[test]
fn debian_12_is_built_of_packages_twice_the_same_and_boots() {
    if !can_run() || !Path::new("/usr/bin/mmdebstrap").exists() {
        return skipped("mmdebstrap is not installed");
    }
    let daemon = Daemon::start();
    daemon.initialise("overlay");
    let recipe = daemon.scratch().join("debian-12.yaml");
    std::fs::write(&recipe, include_str!("../docs/examples/recipes/debian-12.yaml")).expect("a recipe");
    let recipe = recipe.display().to_string();
    // The client is where the mirrors are; instances see none of them.
    let build = |more: &[&str]| {
        let words = [&["image", "build", &recipe, "--alias", "deb"], more].concat();
        let begun = Instant::now();
        (fingerprint(&daemon.client_outside(words).deadline(PATIENCE).ok()), begun.elapsed())
    };
    let (made, first) = build(&[]);
    let (again, second) = build(&[]);
    assert_eq!(again, made);
    println!("debian-12: {:.1}s from scratch, {:.3}s with everything kept", first.as_secs_f64(), second.as_secs_f64());
    assert!(second * 20 <= first, "{first:?} and then {second:?}");
    daemon.run_instance("deb", "d1");
    let bus = || daemon.coffer(["exec", "d1", "--", "test", "-S", "/run/dbus/system_bus_socket"]).run().code == 0;
    assert!(daemon.eventually(bus), "no bus: {}", daemon.coffer(["console", "d1", "--show-log"]).run());
    let state = daemon.coffer(["exec", "d1", "--", "systemctl", "is-system-running", "--wait"]).deadline(PATIENCE).run();
    assert_eq!(state.text().trim(), "running", "{}", daemon.coffer(["exec", "d1", "--", "systemctl", "--failed", "--no-legend"]).run());
    assert!(daemon.ipv4("d1", "eth0").starts_with("10.99.7."));
    let (scratch, _) = build(&["--no-cache"]);
    assert_eq!(scratch, made, "built again from nothing");
}
