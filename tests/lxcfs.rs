//! Where the host runs lxcfs, an instance's `/proc` tells of its own limits.

use std::path::Path;
use std::process::{Child, Stdio};

use coffer_testkit::{Daemon, skipped};

use crate::setting::ready_daemon;

/// lxcfs in a daemon's pen; it ends with this.
struct Lxcfs(Child);

impl Lxcfs {
    fn start(daemon: &Daemon) -> Option<Self> {
        if !Path::new("/usr/bin/lxcfs").exists() || !Path::new(MOUNTED).exists() {
            skipped("lxcfs (the package of that name) is not installed");
            return None;
        }
        let mut command = daemon.pen().daemon_command("lxcfs");
        command.arg("-f").arg("-p").arg(daemon.scratch().join("lxcfs.pid")).arg(MOUNTED);
        let lxcfs = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("lxcfs"));
        let meminfo = format!("{MOUNTED}/proc/meminfo");
        assert!(daemon.eventually(|| daemon.inside("head", ["-1", &meminfo]).run().text().contains("MemTotal")), "lxcfs does not serve");
        Some(lxcfs)
    }
}

impl Drop for Lxcfs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where lxcfs is mounted by default: in the pen's own mount namespace.
const MOUNTED: &str = "/var/lib/lxcfs";

#[test]
fn an_instance_sees_its_own_limits() {
    let Some(daemon) = ready_daemon() else { return };
    let seen =
        |name: &str| daemon.coffer(["exec", name, "--", "sh", "-c", "grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo"]).ok();
    daemon.create_instance("small", "without");
    daemon.coffer(["config", "set", "without", "limits.memory=64MiB"]).clean();
    daemon.change_state("without", "start");
    assert!(!seen("without").contains("65536 kB"), "the kernel tells of the host");

    let Some(lxcfs) = Lxcfs::start(&daemon) else { return };
    daemon.create_instance("small", "with");
    daemon.coffer(["config", "set", "with", "limits.memory=64MiB", "limits.cpu=1"]).clean();
    daemon.change_state("with", "start");
    let first = seen("with");
    assert_eq!(first.split_whitespace().collect::<Vec<_>>(), ["MemTotal:", "65536", "kB", "1"]);
    // Limits that change are seen at once.
    daemon.coffer(["config", "set", "with", "limits.memory=96MiB"]).clean();
    assert!(seen("with").contains("98304 kB"), "{}", seen("with"));
    // It began with the instance, and the host did long ago.
    let uptime = daemon.coffer(["exec", "with", "--", "cat", "/proc/uptime"]).ok();
    let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    assert!(seconds < 300.0, "{uptime}");

    // One that has died neither keeps instances from starting nor from ending.
    drop(lxcfs);
    daemon.run_instance("small", "after");
    assert!(seen("after").contains("MemTotal"));
    daemon.coffer(["delete", "--force", "with"]).clean();
}
