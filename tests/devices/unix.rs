//! `unix-char` and `unix-block`: device nodes of the host.

use std::process::Command;

use serde_json::json;

use super::{add, inside, refused, remove};
use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// A loop device over a file, gone with the value.
struct Loop {
    node: String,
}

impl Loop {
    /// None where the kernel has no loop devices.
    fn over(content: &str, directory: &std::path::Path) -> Option<Self> {
        let file = directory.join("backing");
        std::fs::write(&file, content.repeat(4096 / content.len())).expect("the file below the loop device");
        let done = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().expect("losetup");
        let node = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        if node.is_empty() {
            coffer_testkit::skipped("no loop device to be had");
            return None;
        }
        Some(Self { node })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.node]).status();
    }
}

#[test]
fn a_block_device_is_there_with_its_owner_and_goes_for_good() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let Some(device) = Loop::over("marker..", &daemon.scratch()) else { return };
    daemon.run_instance("small", "c1");
    let source = format!("source={}", device.node);
    let words = ["config", "device", "add", "c1", "disk1", "unix-block", &source, "path=/dev/data/one", "uid=7", "gid=8", "mode=0640"];
    daemon.lxc(words).clean();
    assert_eq!(inside(&daemon, "c1", "stat -c '%F %u:%g %a' /dev/data/one"), "block special file 7:8 640");
    assert_eq!(inside(&daemon, "c1", "dd if=/dev/data/one bs=8 count=1 2>/dev/null"), "marker..");
    inside(&daemon, "c1", "ln /dev/data/one /dev/kept");
    daemon.lxc(["config", "device", "set", "c1", "disk1", "mode", "0600"]).clean();
    assert_eq!(inside(&daemon, "c1", "stat -c %a /dev/data/one"), "600");
    daemon.change_state("c1", "restart");
    assert_eq!(inside(&daemon, "c1", "dd if=/dev/data/one bs=8 count=1 2>/dev/null; ln /dev/data/one /dev/kept"), "marker..");
    daemon.lxc(["config", "device", "remove", "c1", "disk1"]).clean();
    // The name is gone, and another name for the node is of no use.
    assert_eq!(
        inside(&daemon, "c1", "test -e /dev/data/one || echo gone; dd if=/dev/kept bs=8 count=1 2>&1 | grep -c marker; true"),
        "gone\n0"
    );
}

#[test]
fn a_character_device_by_its_numbers() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    // kmsg: not among the devices that every instance may use, and on every host.
    add(&daemon, "c1", "log", &json!({"type": "unix-char", "path": "/dev/my-log", "major": "1", "minor": "11", "mode": "0666"}));
    assert_eq!(inside(&daemon, "c1", "stat -c '%F %t:%T %a' /dev/my-log"), "character special file 1:b 666");
    // Two nodes of one device: the first to go does not take the other's use with it.
    add(&daemon, "c1", "other", &json!({"type": "unix-char", "source": "/dev/kmsg", "path": "/dev/other-log", "mode": "0666"}));
    let open = "dd if=/dev/other-log of=/dev/null bs=8192 count=1 iflag=nonblock 2>&1 | grep -c 'not permitted'; true";
    remove(&daemon, "c1", "log");
    assert_eq!(inside(&daemon, "c1", open), "0");
    remove(&daemon, "c1", "other");
    assert_eq!(inside(&daemon, "c1", "ls /dev/my-log /dev/other-log 2>/dev/null; true"), "");
}

#[test]
fn what_is_no_such_device_is_refused() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    holds(&refused(&daemon, "c1", &json!({"type": "unix-char", "source": "/dev/nothing"})), &["dev", "/dev/nothing", "required=false"]);
    holds(&refused(&daemon, "c1", &json!({"type": "unix-block", "source": "/dev/null"})), &["dev", "/dev/null", "no block device"]);
    holds(
        &refused(&daemon, "c1", &json!({"type": "unix-char", "source": "/etc/passwd", "path": "/dev/p"})),
        &["/etc/passwd", "no character"],
    );
    // A link that root inside laid does not lead the node anywhere else.
    inside(&daemon, "c1", "mkdir /elsewhere; ln -s /elsewhere /dev/trap");
    let body = json!({"devices": {"dev": {"type": "unix-char", "source": "/dev/null", "path": "/dev/trap/null"}}});
    let answer = daemon.api().request("PATCH", "/1.0/instances/c1", Some(&body)).expect("an answer");
    assert!(answer.status >= 400, "{}", answer.json());
    assert_eq!(inside(&daemon, "c1", "ls /elsewhere"), "");
    add(&daemon, "c1", "later", &json!({"type": "unix-char", "source": "/dev/nothing", "required": "false"}));
    daemon.change_state("c1", "restart");
    remove(&daemon, "c1", "later");
}
