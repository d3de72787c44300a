//! `usb` and `unix-hotplug`: devices that are there at the start, and those that come and go later.

use std::fs;

use coffer_testkit::Daemon;
use serde_json::json;

use super::{add, inside, refused, remove};
use crate::setting::{holds, ready_daemon};

/// Shows the daemon device nodes that this machine does not have: numbers, and what the kernel would say of each.
#[track_caller]
fn pretend(daemon: &Daemon, nodes: &[(&str, &str)]) {
    let top = daemon.scratch().join("char");
    for (number, text) in nodes {
        let directory = top.join(number);
        fs::create_dir_all(&directory).expect("a device's directory");
        fs::write(directory.join("uevent"), text).expect("what is said of it");
        fs::write(directory.join("idVendor"), "046d\n").expect("its vendor");
        fs::write(directory.join("idProduct"), "c52b\n").expect("its product");
    }
    daemon.inside("mount", ["--bind", &top.display().to_string(), "/sys/dev/char"]).ok();
}

const BUS: [(&str, &str); 5] =
    [("SUBSYSTEM", "usb"), ("DEVTYPE", "usb_device"), ("PRODUCT", "46d/c52b/1201"), ("MAJOR", "189"), ("DEVNAME", "bus/usb/001/003")];

#[test]
fn usb_devices_come_and_go() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    pretend(&daemon, &[("189:1", "MAJOR=189\nMINOR=1\nDEVNAME=bus/usb/001/002\nDEVTYPE=usb_device\nPRODUCT=46d/c52b/1201\n")]);
    add(&daemon, "c1", "stick", &json!({"type": "usb", "vendorid": "046D", "uid": "1000", "mode": "0600"}));
    let nodes = || inside(&daemon, "c1", "cd /dev/bus/usb/001 2>/dev/null && stat -c '%n %t:%T %u %a' *; true");
    assert_eq!(nodes(), "002 bd:1 1000 600");
    daemon.tell_of_device("add", &[&BUS[..], &[("MINOR", "2")]].concat());
    assert!(daemon.eventually(|| nodes() == "002 bd:1 1000 600\n003 bd:2 1000 600"), "{}", nodes());
    // Another product is none of ours.
    let other = [
        ("SUBSYSTEM", "usb"),
        ("DEVTYPE", "usb_device"),
        ("PRODUCT", "1/2/3"),
        ("MAJOR", "189"),
        ("MINOR", "9"),
        ("DEVNAME", "bus/usb/001/009"),
    ];
    daemon.tell_of_device("add", &other);
    daemon.tell_of_device("remove", &[&BUS[..], &[("MINOR", "2")]].concat());
    assert!(daemon.eventually(|| nodes() == "002 bd:1 1000 600"), "{}", nodes());
    remove(&daemon, "c1", "stick");
    assert_eq!(nodes(), "");
    // The kernel mounts no /sys inside while something hides a part of the host's: no start under the pretence.
    add(&daemon, "c1", "stick", &json!({"type": "usb", "vendorid": "046D"}));
    daemon.inside("umount", ["/sys/dev/char"]).ok();
    daemon.change_state("c1", "restart");
    assert_eq!(nodes(), "", "what is not there at the start is not needed");
    holds(&refused(&daemon, "c1", &json!({"type": "usb", "vendorid": "ffff", "required": "true"})), &["dev", "required=false"]);
}

#[test]
fn nodes_of_drivers_are_another_kind() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let node = "MAJOR=188\nMINOR=0\nDEVNAME=ttyUSB0\n";
    pretend(
        &daemon,
        &[("188:0", node), ("189:1", "MAJOR=189\nMINOR=1\nDEVNAME=bus/usb/001/002\nDEVTYPE=usb_device\nPRODUCT=46d/c52b/1201\n")],
    );
    add(&daemon, "c1", "serial", &json!({"type": "unix-hotplug", "productid": "c52b"}));
    assert_eq!(inside(&daemon, "c1", "ls /dev/ttyUSB* /dev/bus 2>/dev/null; true"), "/dev/ttyUSB0");
    daemon.tell_of_device("remove", &[("SUBSYSTEM", "tty"), ("MAJOR", "188"), ("MINOR", "0"), ("DEVNAME", "ttyUSB0")]);
    assert!(daemon.eventually(|| inside(&daemon, "c1", "ls /dev/ttyUSB* 2>/dev/null; true").is_empty()));
}
