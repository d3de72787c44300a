//! Images built from what is elsewhere: a registry, an image server, a distribution's packages by a repository in the network.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coffer_test_images::Release;
use coffer_testkit::{Daemon, ImageServer, OciRegistry, Offer, Packing, can_run, images, skipped};
use sha2::{Digest as _, Sha256};

use crate::image_build::{build, context, fingerprint};
use crate::oci;
use crate::setting::{holds, ready_daemon};

/// The bridge's own address, where instances find what the test serves.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 99, 7, 1);

/// How long a package manager may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn an_image_of_a_registry_is_built_upon_and_keeps_its_process() {
    let Some(daemon) = ready_daemon() else { return };
    let Some(registry) = OciRegistry::start(daemon.pen(), &daemon.scratch().join("registry"), false) else { return };
    let script = "echo \"$(cat /srv/word) as $(id -u) with $GREETING and $MORE\"; exec sleep 1000";
    registry.push(daemon.pen(), "team/app", "1.0", &[oci::image("amd64", Packing::Gzip, script)]);
    daemon.coffer(["remote", "add", "reg", &registry.url(), "--protocol=oci"]).clean();
    let recipe = "base: {image: 'reg:team/app:1.0'}\nfiles: [{path: /srv/word, content: built}]\nactions: [{run: id -u > /srv/who}]\n\
                  image: {alias: app, environment: {MORE: more}}\n";
    let file = context(&daemon, recipe);
    let first = build(&daemon, &file, &[]);
    holds(&first, &["from image reg:team/app:1.0: ", "put /srv/word: ", "id -u > /srv/who: "]);
    daemon.run_instance("app", "c1");
    let log = || daemon.coffer(["console", "c1", "--show-log"]).run().text();
    assert!(daemon.eventually(|| log().contains("built as 33 with good day and more")), "{}", log());
    // The image's process starts as the image's user; steps were done by root.
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/srv/who"]).ok(), "0\n");
    // The registry is asked which image the name means now, and that one's steps are kept.
    let again = build(&daemon, &file, &[]);
    assert_eq!(fingerprint(&again), fingerprint(&first));
    holds(&again, &[" 0 done"]);
}

#[test]
fn an_image_of_a_server_is_built_upon_and_what_moved_on_there_is_done_again() {
    let Some(daemon) = ready_daemon() else { return };
    let server = ImageServer::start(daemon.pen());
    let version = |number: &'static str| images::spoiled(&format!("version {number}"), |root| std::fs::write(root.join("version"), number));
    server.offer(&version("1"), Offer::default());
    daemon.coffer(["remote", "add", "many", &server.url(), "--protocol=simplestreams"]).clean();
    let recipe = "base: {image: 'many:busybox'}\nactions: [{run: cp /version /built}]\nimage: {alias: own}\n";
    let file = context(&daemon, recipe);
    let first = build(&daemon, &file, &[]);
    holds(&first, &["from image many:busybox: ", "cp /version /built: "]);
    let again = build(&daemon, &file, &[]);
    assert_eq!(fingerprint(&again), fingerprint(&first));
    holds(&again, &[" 0 done"]);
    server.offer(&version("2"), Offer { serial: "20261102_0000", ..Offer::default() });
    let moved = build(&daemon, &file, &[]);
    holds(&moved, &["(0 steps cached, "]);
    assert_ne!(fingerprint(&moved), fingerprint(&first));
    daemon.run_instance("own", "c1");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/built"]).ok(), "2");
}

/// Makes a Debian package with one program, and answers what a repository's list says of it.
fn package(directory: &Path, name: &str, version: &str) -> (Vec<u8>, String) {
    let tree = directory.join(format!("{name}-{version}"));
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Tests <tests@example.invalid>\nDescription: says its version\n"
    );
    std::fs::create_dir_all(tree.join("DEBIAN")).expect("a package's tree");
    std::fs::create_dir_all(tree.join("usr/bin")).expect("a package's tree");
    std::fs::write(tree.join("DEBIAN/control"), &control).expect("a package's words");
    let program = tree.join("usr/bin").join(name);
    std::fs::write(&program, format!("#!/bin/sh\necho {name} {version}\n")).expect("a package's program");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program that may run");
    let archive = directory.join(format!("{name}_{version}_all.deb"));
    let made = Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).args([&tree, &archive]).output().expect("dpkg-deb");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bytes = std::fs::read(archive).expect("a package");
    let mut hash = String::new();
    for byte in Sha256::digest(&bytes) {
        let _ = write!(hash, "{byte:02x}");
    }
    let entry = format!("{control}Filename: ./{name}_{version}_all.deb\nSize: {}\nSHA256: {hash}\n\n", bytes.len());
    (bytes, entry)
}

/// A recipe of distrobuilder's kind: a root file system, a repository, packages, files, actions.
const DISTROBUILDER: &str = "\
image:
  name: own-{{ image.release }}
  distribution: debian
  release: bookworm
  description: Debian {{ image.release }} with a package
source:
  downloader: rootfs-http
  url: file:///rootfs.squashfs
targets:
  lxc: {create_message: hello}
files:
- {generator: hostname, path: /etc/hostname}
- {generator: dump, path: /etc/for, content: '{{ image.release }} on {{ image.architecture_mapped }}', pongo: true, mode: '0640'}
- {generator: dump, path: /etc/not, content: x, releases: [trixie]}
- {generator: copy, path: /srv/index.html, source: site/index.html}
packages:
  manager: apt
  update: true
  repositories:
  - {name: own, url: 'deb [trusted=yes] REPOSITORY ./'}
  sets:
  - {packages: [coffer-hello, coffer-goes], action: install}
  - {packages: [coffer-goes], action: remove}
actions:
- {trigger: post-unpack, action: 'rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*'}
- {trigger: post-packages, action: 'coffer-hello > /etc/said'}
- trigger: post-files
  action: |-
    #!/bin/sh
    set -eu
    test -e /etc/for
    echo $COLOUR >> /etc/said
mappings: {architecture_map: debian}
environment:
  variables: [{key: COLOUR, value: green}]
";

#[test]
fn a_recipe_of_distrobuilder_installs_packages_from_a_repository_in_the_network() {
    if !can_run() {
        return;
    }
    let Some(debian) = images::debian(Release::Bookworm) else { return };
    let Some(squashfs) = debian.squashfs else { return skipped("mksquashfs is not installed") };
    if !Path::new("/usr/bin/dpkg-deb").exists() {
        return skipped("dpkg-deb is not installed");
    }
    let daemon = Daemon::start();
    daemon.initialise("overlay");
    let repository = ImageServer::start_at(daemon.pen(), BRIDGE);
    let mut list = String::new();
    for (name, version) in [("coffer-hello", "1.0"), ("coffer-hello", "1.1"), ("coffer-goes", "1.0")] {
        let (bytes, entry) = package(&daemon.scratch(), name, version);
        repository.put(&format!("./{name}_{version}_all.deb"), bytes.clone());
        repository.put(&format!("{name}_{version}_all.deb"), bytes);
        list.push_str(&entry);
    }
    repository.put("Packages", list.clone().into_bytes());
    repository.put("./Packages", list.into_bytes());
    let file = context(&daemon, &DISTROBUILDER.replace("REPOSITORY", &repository.url()));
    let rootfs = file.with_file_name("rootfs.squashfs");
    std::fs::hard_link(&squashfs, &rootfs).or_else(|_| std::fs::copy(&squashfs, &rootfs).map(drop)).expect("a root file system");
    let words = |more: &[&str]| {
        [&["image", "build", &file.display().to_string(), "--alias", "own", "--compression=none"], more]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let first = daemon.coffer(words(&[])).deadline(PATIENCE).ok();
    holds(
        &first,
        &[
            "apt: upgrade all packages: ",
            "apt: install 2 packages: ",
            "apt: remove 1 package: ",
            "post-packages: coffer-hello > /etc/said: ",
        ],
    );
    let fetched: Vec<String> =
        repository.requests().into_iter().filter(|request| request.status == 200).map(|request| request.path).collect();
    assert!(fetched.iter().any(|path| path.ends_with("coffer-hello_1.1_all.deb")), "{fetched:?}");
    let image = daemon.api().get(&format!("/1.0/images/{}", fingerprint(&first)));
    assert_eq!(
        (&image["properties"]["release"], &image["properties"]["description"]),
        (&"bookworm".into(), &"Debian bookworm with a package".into())
    );
    daemon.run_instance("own", "d1");
    let read = |path: &str| daemon.coffer(["file", "pull", &format!("d1{path}"), "-"]).ok();
    assert_eq!((read("/etc/said").as_str(), read("/etc/for").as_str()), ("coffer-hello 1.1\ngreen\n", "bookworm on amd64"));
    assert_eq!((read("/srv/index.html").as_str(), read("/etc/hostname").trim()), ("<p>one</p>", "d1"));
    assert_eq!(daemon.coffer(["exec", "d1", "--", "coffer-hello"]).ok(), "coffer-hello 1.1\n");
    for gone in ["/etc/not", "/usr/bin/coffer-goes", "/etc/apt/sources.list", "/var/lib/apt/lists/lock"] {
        assert!(daemon.coffer(["file", "pull", &format!("d1{gone}"), "-"]).run().code != 0, "{gone} is there");
    }
    let again = daemon.coffer(words(&[])).deadline(PATIENCE).ok();
    assert_eq!(fingerprint(&again), fingerprint(&first));
    holds(&again, &[" 0 done"]);
}
