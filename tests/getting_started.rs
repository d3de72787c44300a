//! The page for beginners says what works.

use std::path::Path;
use std::time::Duration;

use coffer_testkit::{Daemon, can_run, images, program};

/// The commands of a page, in their order.
fn commands(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[test]
fn every_command_of_the_page_works() {
    if !can_run() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manual/getting-started.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    let commands = commands(&page);
    assert!(commands.len() > 30, "{commands:?}");
    let daemon = Daemon::start();
    let here = daemon.scratch().join("here");
    std::fs::create_dir(&here).unwrap();
    // Busybox stands in for Debian: the commands are the same.
    std::fs::copy(images::busybox().unified, here.join("debian.tar.xz")).unwrap();
    let found = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", program("coffer").parent().unwrap().display());
    let mut said = Vec::new();
    for command in commands {
        let script = format!("cd {} && {command}", here.display());
        let done = daemon.inside("sh", ["-c", &script]).env("PATH", &found).deadline(Duration::from_secs(120)).run();
        assert_eq!(done.code, 0, "{done}");
        said.push((command, done.text()));
    }
    let said = |command: &str| said.iter().find(|(known, _)| *known == command).map_or("", |(_, text)| text.as_str());
    assert!(said("coffer exec dev -- id").contains("uid=0(root)"));
    assert_eq!(said("coffer exec dev -- cat /src/main.py"), "print(\"hi\")\n");
    assert!(said("ls -l project").contains("made-inside"));
    assert_eq!(said("coffer exec dev -- cat /root/note"), "hello\n");
    assert!(said("coffer exec dev -- ip addr show eth1").contains("inet "));
    assert_eq!(said("coffer admin fsck"), "clean\n");
}
