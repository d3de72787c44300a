//! Wire objects read LXD's answers completely and write them back with the same names in LXD's order.

#![allow(clippy::unwrap_used, reason = "a failed read is the failed test")]

use std::fmt::Debug;

use coffer_api as api;
use serde::{Serialize, de::DeserializeOwned};

/// Reads `text`, writes it again and expects the very same text: no field lost, none added, order kept.
#[track_caller]
fn check<T: DeserializeOwned + Serialize + Debug>(text: &str) {
    let compact: String = text.lines().map(str::trim).collect();
    let read: T = serde_json::from_str(&compact).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), compact);
}

#[test]
fn instance() {
    check::<api::InstanceFull>(
        r#"{"architecture":"x86_64","config":{"user.a":"b"},"devices":{"root":{"path":"/","pool":"bt","type":"disk"}},
        "ephemeral":false,"profiles":["default"],"stateful":false,"description":"","created_at":"2026-11-23T16:48:09.846455864Z",
        "expanded_config":{},"expanded_devices":{},"name":"b2","status":"Running","status_code":103,
        "last_used_at":"0001-01-01T00:00:00Z","location":"none","type":"container","project":"default","backups":[],
        "state":{"status":"Running","status_code":103,"disk":{"root":{"usage":5}},
        "memory":{"usage":1,"usage_peak":2,"swap_usage":0,"swap_usage_peak":0},
        "network":{"lo":{"addresses":[{"family":"inet","address":"127.0.0.1","netmask":"8","scope":"local"}],
        "counters":{"bytes_received":0,"bytes_sent":0,"packets_received":0,"packets_sent":0,"errors_received":0,"errors_sent":0,
        "packets_dropped_outbound":0,"packets_dropped_inbound":0},"hwaddr":"","host_name":"","mtu":65536,"state":"up","type":"loopback"}},
        "pid":16790,"processes":6,"cpu":{"usage":437206486}},
        "snapshots":[{"expires_at":"0001-01-01T00:00:00Z","architecture":"x86_64","config":{},"created_at":"2026-11-23T17:58:08Z",
        "devices":{},"ephemeral":false,"expanded_config":{},"expanded_devices":{},"last_used_at":"0001-01-01T00:00:00Z","name":"s0",
        "profiles":["default"],"stateful":false,"size":-1}]}"#,
    );
}

#[test]
fn requests_as_the_go_client_sends_them() {
    check::<api::InstancesPost>(
        r#"{"architecture":"","config":{},"devices":{},"ephemeral":false,"profiles":null,"stateful":false,"description":"","name":"c5",
        "source":{"type":"image","certificate":"","alias":"debian/12","server":"https://example.org","protocol":"simplestreams",
        "mode":"pull","allow_inconsistent":false},"instance_type":"","type":"container"}"#,
    );
    check::<api::InstancesPost>(
        r#"{"architecture":"x86_64","config":{"a":"b"},"devices":{},"ephemeral":false,"profiles":["default"],"stateful":false,
        "description":"","name":"c9","source":{"type":"copy","certificate":"","source":"c1","live":true,"instance_only":true,
        "container_only":true,"allow_inconsistent":false},"instance_type":"","type":"container"}"#,
    );
    check::<api::InstanceExecPost>(
        r#"{"command":["true"],"wait-for-websocket":true,"interactive":false,"environment":{"TERM":"xterm"},"width":0,"height":0,
        "record-output":false,"user":0,"group":0,"cwd":""}"#,
    );
    check::<api::InstancePost>(
        r#"{"name":"c8","migration":false,"live":false,"instance_only":false,"container_only":false,"target":null,"pool":"",
        "project":"","allow_inconsistent":false}"#,
    );
    check::<api::InstanceStatePut>(r#"{"action":"start","timeout":-1,"force":false,"stateful":false}"#);
    check::<api::InstanceSnapshotsPost>(r#"{"name":"s1","stateful":false,"expires_at":null}"#);
    check::<api::NetworksPost>(r#"{"config":{},"description":"","name":"br1","type":""}"#);
    check::<api::StoragePoolsPost>(r#"{"config":{},"description":"","name":"p1","driver":"dir"}"#);
    check::<api::ProfilesPost>(r#"{"config":{},"description":"","devices":{},"name":"p1"}"#);
    check::<api::StorageVolumesPost>(
        r#"{"config":{"size":"1GB"},"description":"","name":"v1","type":"custom","source":{"name":"","type":"","pool":"",
        "certificate":"","volume_only":false,"refresh":false},"content_type":"filesystem"}"#,
    );
}

#[test]
fn nulls_are_defaults() {
    let put: api::InstancePut =
        serde_json::from_str(r#"{"architecture":null,"config":null,"devices":null,"profiles":null,"restore":"c1/s1"}"#).unwrap();
    assert_eq!(put, api::InstancePut { restore: "c1/s1".into(), ..Default::default() });
    let profile: api::ProfilesPost = serde_json::from_str(r#"{"config":null,"devices":null,"name":"p"}"#).unwrap();
    assert_eq!(profile.name, "p");
}

#[test]
fn image_and_network_and_storage() {
    check::<api::Image>(
        r#"{"auto_update":false,"properties":{"os":"Debian"},"public":false,"expires_at":"1970-01-01T00:00:00Z",
        "profiles":["default"],"aliases":[{"name":"deb","description":""}],"architecture":"x86_64","cached":false,
        "filename":"rootfs.squashfs","fingerprint":"29881c","size":71094556,"type":"container","created_at":"2026-09-21T14:13:20Z",
        "last_used_at":"2026-11-23T17:33:29.397938689Z","uploaded_at":"2026-11-23T16:48:00.150453242Z"}"#,
    );
    check::<api::Network>(
        r#"{"config":{"ipv6.address":"none"},"description":"","name":"lxdbr0","type":"bridge","used_by":["/1.0/profiles/default"],
        "managed":true,"status":"Created","locations":["none"]}"#,
    );
    check::<api::NetworkState>(
        r#"{"addresses":[],"counters":{"bytes_received":1,"bytes_sent":2,"packets_received":3,"packets_sent":4},
        "hwaddr":"00:16:3e:cf:68:da","mtu":1500,"state":"up","type":"broadcast","bond":null,
        "bridge":{"id":"8000.00163ecf68da","stp":false,"forward_delay":1500,"vlan_default":0,"vlan_filtering":false,"upper_devices":[]},
        "vlan":null,"ovn":null}"#,
    );
    check::<api::StoragePool>(
        r#"{"config":{"source":"x"},"description":"","name":"bt","driver":"btrfs","used_by":[],"status":"Created","locations":["none"]}"#,
    );
    check::<api::StorageVolume>(
        r#"{"config":{},"description":"","name":"vol1","type":"custom","used_by":[],"location":"none","content_type":"filesystem",
        "project":"default","created_at":"0001-01-01T00:00:00Z"}"#,
    );
}

#[test]
fn operation_and_event() {
    check::<api::Operation>(
        r#"{"id":"c6cd","class":"task","description":"Executing command","created_at":"2026-11-23T17:58:17.491308008Z",
        "updated_at":"2026-11-23T17:58:17.523565447Z","status":"Success","status_code":200,
        "resources":{"containers":["/1.0/containers/t1"],"instances":["/1.0/instances/t1"]},"metadata":{"return":0},
        "may_cancel":false,"err":"","location":"none"}"#,
    );
    check::<api::Event>(
        r#"{"type":"lifecycle","timestamp":"2026-11-23T17:58:35.116352699Z",
        "metadata":{"action":"instance-updated","source":"/1.0/instances/t1"},"location":"none","project":"default"}"#,
    );
}

#[test]
fn server_configuration_takes_numbers_and_booleans() {
    let put: api::ServerPut = serde_json::from_str(r#"{"config":{"a":15,"b":true,"c":"x","d":null}}"#).unwrap();
    let pairs: Vec<_> = put.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(pairs.join(" "), "a=15 b=true c=x d=");
}
