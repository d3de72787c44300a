//! An instance's files as a file system of the host.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use crate::files::inside;
use crate::setting::ready_daemon;

#[test]
fn a_mounted_instance_is_read_and_written_until_it_is_unmounted() {
    let Some(daemon) = ready_daemon() else { return };
    if !coffer_base::run::installed("sshfs") || !fs::exists("/dev/fuse").unwrap_or(false) {
        println!("skipped: sshfs is not installed, or there is no /dev/fuse");
        return;
    }
    daemon.run_instance("small", "c1");
    let directory = daemon.scratch().join("mounted");
    fs::create_dir(&directory).unwrap();
    let shown = directory.display().to_string();
    let mut command = daemon.coffer(["file", "mount", "c1/root", &shown]).into_command();
    let mut mounted = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    // It is mounted in the daemon's pen, not here.
    let seen = PathBuf::from(format!("/proc/{}/root{shown}", daemon.pen().pid()));
    inside(&daemon, "c1", "echo from inside > /root/greeting");
    assert!(daemon.eventually(|| fs::read_to_string(seen.join("greeting")).is_ok_and(|text| text == "from inside\n")));
    fs::create_dir(seen.join("made")).unwrap();
    fs::write(seen.join("made/answer"), "from outside\n").unwrap();
    fs::rename(seen.join("made/answer"), seen.join("made/reply")).unwrap();
    assert_eq!(inside(&daemon, "c1", "cat /root/made/reply; stat -c %u /root/made/reply"), "from outside\n0\n");
    fs::remove_file(seen.join("made/reply")).unwrap();
    assert_eq!(inside(&daemon, "c1", "ls /root/made"), "");
    daemon.inside("umount", [&shown]).ok();
    assert!(mounted.wait().unwrap().success());
}

#[test]
fn what_cannot_be_mounted_is_said() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    assert!(daemon.coffer(["file", "mount", "c1", "/no/such/place"]).fails().contains("/no/such/place"));
}
