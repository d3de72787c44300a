//! Roots that set traps. What lies outside is neither read nor written, and nothing waits for ever.

use std::os::unix::fs::symlink;

use coffer_testkit::Daemon;

use crate::files::{ask, inside, put, refused};
use crate::setting::ready_daemon;

/// A file of the host that must stay secret and as it is.
struct Canary(std::path::PathBuf);

const SECRET: &str = "secret of the host\n";

impl Canary {
    fn new(daemon: &Daemon) -> Self {
        let path = daemon.scratch().join("canary");
        std::fs::write(&path, SECRET).expect("a file of the host");
        Self(path)
    }

    #[track_caller]
    fn lives(&self) {
        assert_eq!(std::fs::read_to_string(&self.0).unwrap_or_default(), SECRET);
        let beside = self.0.parent().and_then(|directory| std::fs::read_dir(directory).ok()).map_or(0, Iterator::count);
        assert_eq!(beside, 1, "something was made beside it");
    }
}

#[test]
fn links_and_dots_lead_nowhere_outside() {
    let Some(daemon) = ready_daemon() else { return };
    let canary = Canary::new(&daemon);
    daemon.create_instance("small", "c1");
    let host = canary.0.display().to_string();
    let outside = canary.0.parent().unwrap().display().to_string();
    // As the image or somebody inside may have left them: absolute, and by many steps up.
    let root = daemon.state_seen().join("storage-pools/default/containers/c1/rootfs");
    symlink(&host, root.join("absolute")).unwrap();
    symlink(format!("../../../../../../../../../../..{host}"), root.join("relative")).unwrap();
    symlink(&outside, root.join("directory")).unwrap();
    symlink("/proc/1/root", root.join("magic")).unwrap();
    for running in [false, true] {
        if running {
            daemon.change_state("c1", "start");
        }
        let up = format!("/../../../../../../../..{host}");
        let paths = ["/directory/canary", &up, "/magic/etc/shadow", &format!("/magic{host}"), &format!("/proc/self/root{host}")];
        for path in paths {
            let answer = ask(&daemon, "GET", "c1", path, &[], b"");
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{path}");
            assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
        }
        for path in ["/absolute", "/relative", "/directory/canary", "/directory/new", &up] {
            // A link that leads to nothing inside may be filled, inside; nothing else can come of it.
            let _ = ask(&daemon, "POST", "c1", path, &[], b"overwritten");
            let _ = ask(&daemon, "DELETE", "c1", &format!("/directory{}", "/canary"), &[], b"");
            canary.lives();
        }
    }
}

#[test]
fn pipes_devices_and_sockets_are_not_waited_for() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    inside(&daemon, "c1", "mkfifo /root/pipe; ln -s pipe /root/link; ln -s /dev/console /root/terminal");
    for path in ["/root/pipe", "/root/link", "/dev/zero", "/dev/console", "/root/terminal"] {
        let api = daemon.api();
        for method in ["GET", "POST"] {
            let answer = api.send(method, &format!("/1.0/instances/c1/files?path={path}"), &[], b"x").unwrap();
            let link = method == "GET" && path != "/root/pipe" && !path.starts_with("/dev/");
            assert_eq!(answer.status, if link { 200 } else { 400 }, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    // A loop of links ends.
    inside(&daemon, "c1", "ln -s b /root/a; ln -s a /root/b");
    refused(&daemon, "POST", "c1", "/root/a", &[], 400);
}

/// Somebody inside swaps a directory and a link to a directory of the host as fast as it can, while files are written there.
#[test]
fn a_swapped_directory_is_written_inside_or_not_at_all() {
    let Some(daemon) = ready_daemon() else { return };
    let canary = Canary::new(&daemon);
    daemon.run_instance("small", "c1");
    let outside = canary.0.parent().unwrap().display().to_string();
    let script = format!(
        "mkdir /root/x; ln -s {outside} /root/y; : > /root/go; \
         while [ -e /root/go ]; do mv /root/x /root/z; mv /root/y /root/x; mv /root/x /root/y; mv /root/z /root/x; done"
    );
    let mut swapper = daemon.coffer(["exec", "c1", "--", "sh", "-c", &script]).into_command().spawn().unwrap();
    assert!(daemon.eventually(|| ask(&daemon, "HEAD", "c1", "/root/go", &[], b"").status == 200));
    for _ in 0..300 {
        let _ = ask(&daemon, "POST", "c1", "/root/x/canary", &[], b"overwritten");
        let _ = ask(&daemon, "POST", "c1", "/root/x/new", &[], b"made");
        let read = ask(&daemon, "GET", "c1", "/root/x/canary", &[], b"");
        assert!(!String::from_utf8_lossy(&read.body).contains("secret"));
    }
    ask(&daemon, "DELETE", "c1", "/root/go", &[], b"");
    swapper.wait().unwrap();
    canary.lives();
}

#[test]
fn the_server_cannot_be_seen_or_touched_from_inside() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    put(&daemon, "c1", "/root/x", &[], b"x");
    assert_eq!(inside(&daemon, "c1", "ps -o comm | grep -c coffer || true").trim(), "0");
    assert_eq!(inside(&daemon, "c1", "cat /proc/[0-9]*/comm | grep -c coffer || true").trim(), "0");
    // A frozen instance is answered too: the server is none of its processes.
    daemon.change_state("c1", "freeze");
    let api = daemon.api();
    let answer = api.send("GET", "/1.0/instances/c1/files?path=/root/x", &[], b"").unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"x".as_slice()));
    daemon.change_state("c1", "unfreeze");
}
