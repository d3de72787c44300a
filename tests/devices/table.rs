//! Every option of every kind of device: set, read back, unset, and a bad value refused with the option's name.
//!
//! The list of options is the daemon's own; one that this table does not know fails the test. Effects inside are looked at
//! by the modules of the kinds.

use std::collections::BTreeMap;

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use super::refused;
use crate::setting::{holds, ready_daemon};

/// Options with values.
type Pairs = &'static [(&'static str, &'static str)];

/// An option, a value that is fine, one that is not, and what else it needs. Without a fine value only the bad one is tried.
struct Row(&'static str, Option<&'static str>, &'static str, Pairs);

const DISK: &[Row] = &[
    Row("limits.max", Some("30MB"), "fast", &[]),
    Row("limits.read", Some("20iops"), "0iops", &[]),
    Row("limits.write", Some("1GiB"), "-1", &[]),
    Row("optional", Some("true"), "maybe", &[]),
    Row("owner.host", Some("1000:1000"), "me", &[]),
    Row("owner.inside", Some("0:0"), "4294967295", &[]),
    Row("path", Some("/mnt/other"), "relative", &[]),
    Row("pool", None, "a/b", &[("source", "volume")]),
    Row("propagation", Some("rslave"), "rshared", &[]),
    Row("readonly", Some("true"), "maybe", &[]),
    Row("recursive", Some("true"), "maybe", &[]),
    Row("required", Some("false"), "maybe", &[]),
    Row("shift", Some("true"), "maybe", &[]),
    Row("size", Some("1MiB"), "large", &[("source", "tmpfs:")]),
    Row("source", Some("/srv"), "relative", &[]),
];

const GPU: &[Row] = &[
    Row("gid", Some("5"), "staff", &[]),
    Row("gputype", Some("physical"), "sriov", &[]),
    Row("id", Some("nvidia.com/gpu=all"), "first", &[]),
    Row("mode", Some("0600"), "rw", &[]),
    Row("pci", Some("0000:01:00.0"), "01-00.0", &[]),
    Row("productid", Some("1c03"), "0x12", &[]),
    Row("uid", Some("5"), "root", &[]),
    Row("vendorid", Some("10de"), "10d", &[]),
];

const NODE: &[Row] = &[
    Row("gid", Some("5"), "staff", &[]),
    Row("major", Some("10"), "5000", &[("minor", "1")]),
    Row("minor", Some("236"), "-1", &[("major", "1")]),
    Row("mode", Some("0600"), "rw", &[]),
    Row("path", Some("/dev/other"), "/opt/other", &[]),
    Row("required", Some("false"), "maybe", &[]),
    Row("source", Some("/dev/zero"), "zero", &[]),
    Row("uid", Some("5"), "root", &[]),
];

const HOTPLUG: &[Row] = &[
    Row("gid", Some("5"), "staff", &[]),
    Row("mode", Some("0600"), "0888", &[]),
    Row("productid", Some("c52b"), "0x12", &[]),
    Row("required", Some("true"), "maybe", &[]),
    Row("uid", Some("5"), "root", &[]),
    Row("vendorid", Some("046d"), "46d", &[]),
];

const UNIX_LISTEN: Pairs = &[("listen", "unix:/run/coffer-test.sock")];

const PROXY: &[Row] = &[
    Row("bind", Some("instance"), "nowhere", &[]),
    Row("connect", Some("unix:@name"), "tcp:name:80", &[]),
    Row("gid", Some("5"), "staff", UNIX_LISTEN),
    Row("listen", Some("udp:127.0.0.1:80"), "tcp::80", &[]),
    Row("mode", Some("0600"), "rw", UNIX_LISTEN),
    Row("nat", Some("true"), "maybe", &[("listen", "tcp:10.99.7.1:80")]),
    Row("proxy_protocol", Some("true"), "maybe", &[]),
    Row("security.gid", Some("5"), "staff", &[]),
    Row("security.uid", Some("5"), "root", &[]),
    Row("uid", Some("5"), "root", UNIX_LISTEN),
];

const NIC: &[Row] = &[
    Row("host_name", Some("vethtest"), "a name", &[]),
    Row("hwaddr", Some("00:16:3e:00:00:01"), "01:00:00:00:00:01", &[]),
    Row("ipv4.address", Some("10.99.7.9"), "10.99.7", &[]),
    Row("ipv6.address", Some("none"), "fd00:", &[]),
    Row("limits.egress", Some("10Mbit"), "10MB", &[]),
    Row("limits.ingress", Some("1Gibit"), "fast", &[]),
    Row("limits.max", Some("100kbit"), "0", &[]),
    Row("limits.priority", Some("6"), "-1", &[]),
    Row("mode", None, "l4", &[("nictype", "ipvlan"), ("parent", "testbr0")]),
    Row("mtu", Some("1400"), "12", &[]),
    Row("name", Some("lan0"), "a/b", &[]),
    Row("network", Some("testbr0"), "a/b", &[]),
    Row("nictype", None, "token-ring", &[("parent", "testbr0")]),
    Row("parent", None, "a/b", &[("nictype", "bridged")]),
    Row("queue.tx.length", Some("2000"), "0", &[]),
    Row("security.ipv4_filtering", Some("true"), "maybe", &[]),
    Row("security.ipv6_filtering", Some("true"), "maybe", &[]),
    Row("security.mac_filtering", Some("true"), "maybe", &[]),
    Row("security.port_isolation", Some("true"), "maybe", &[]),
];

/// The kinds, with the least that a device of each needs.
const KINDS: &[(&str, Pairs, &[Row])] = &[
    ("disk", &[("path", "/mnt/dev"), ("source", "/srv")], DISK),
    ("gpu", &[], GPU),
    ("nic", &[("network", "testbr0")], NIC),
    ("none", &[], &[]),
    ("proxy", &[("listen", "tcp:127.0.0.1:80"), ("connect", "tcp:127.0.0.1:80")], PROXY),
    ("unix-block", &[("source", "/dev/null")], NODE),
    ("unix-char", &[("source", "/dev/null")], NODE),
    ("unix-hotplug", &[("vendorid", "0001")], HOTPLUG),
    ("usb", &[], HOTPLUG),
];

#[test]
fn every_option_is_set_read_unset_and_checked() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let document = daemon.api().get("/1.0/metadata/configuration");
    let kinds = document["configs"].as_object().expect("kinds").keys().filter_map(|kind| kind.strip_prefix("device-"));
    let ours: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds.collect::<Vec<_>>(), ours, "a kind was added: say here how its options are tried");
    for (kind, base, rows) in KINDS {
        let groups = document["configs"][format!("device-{kind}")].as_object().expect("groups of options");
        for option in groups.values().flat_map(|group| group["keys"].as_array().expect("options")) {
            let (key, about) = option.as_object().and_then(|option| option.iter().next()).expect("one option");
            let unsupported = about["condition"].as_str().is_some_and(|condition| condition.starts_with("not supported"));
            match rows.iter().find(|row| row.0 == key) {
                _ if key == "type" => {}
                _ if unsupported => {
                    holds(&refused(&daemon, "c1", &device(kind, base, &[], Some((key, "1")))), &["dev", key, "not supported"]);
                }
                Some(row) => walk(&daemon, kind, base, row),
                None => panic!("option {key} of {kind} is new: say here how it is tried"),
            }
        }
    }
}

fn device(kind: &str, base: &[(&str, &str)], more: &[(&str, &str)], own: Option<(&str, &str)>) -> Value {
    let keys: BTreeMap<&str, &str> = base.iter().chain(more).copied().chain(own).chain([("type", kind)]).collect();
    // A NIC is of a managed network or of a type and parent.
    let keys = keys.iter().filter(|(key, _)| **key != "network" || !more.iter().any(|(key, _)| matches!(*key, "parent" | "nictype")));
    json!(keys.collect::<BTreeMap<_, _>>())
}

#[track_caller]
fn walk(daemon: &Daemon, kind: &str, base: &[(&str, &str)], Row(key, good, bad, more): &Row) {
    let write = |device: &Value| daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"devices": {"dev": device}})));
    let read = || daemon.api().get("/1.0/instances/c1")["devices"]["dev"].clone();
    if let Some(good) = good {
        let set = device(kind, base, more, Some((key, good)));
        write(&set);
        assert_eq!(read(), set, "{kind} {key}");
        let unset = device(kind, base, &[], None);
        write(&unset);
        assert_eq!(read(), unset, "{kind} without {key}");
    }
    let before = read();
    holds(&refused(daemon, "c1", &device(kind, base, more, Some((key, bad)))), &["dev", key]);
    assert_eq!(read(), before, "{kind} {key}: a refused value changes nothing");
}

#[test]
fn kinds_that_are_not_done_are_refused_with_the_reason() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    for (kind, reason) in [("infiniband", "physical"), ("pci", "virtual machines"), ("tpm", "swtpm")] {
        holds(&refused(&daemon, "c1", &json!({ "type": kind })), &["dev", kind, reason]);
    }
}
