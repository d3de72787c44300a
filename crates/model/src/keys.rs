//! The tables of configuration keys, one row a key.

mod instance;

pub use instance::INSTANCE;

use crate::key::Class::{Free, LowLevel};
use crate::key::Support::{self, No, Yes};
use crate::key::Value::{Bool, Choice, Int, Line, Size, Text};
use crate::key::{Class, Key, Value};

/// One row, in the order a reader wants: key, type, default, live?, class, support, documentation.
const fn row(
    name: &'static str,
    value: Value,
    default: &'static str,
    live: bool,
    class: Class,
    support: Support,
    doc: &'static str,
) -> Key {
    Key { name, value, default, live, class, support, doc }
}

const NEXT_START: bool = false;
const LIVE: bool = true;
const MAX: i64 = i64::MAX;

const VM: Support = No("it is for virtual machines, which this server does not run");
const LATER: Support = No("this server does not do it yet");
const CDI: Support = No("pass the GPU's device nodes instead; the NVIDIA hook of other servers is not used here");

/// Keys of disk devices.
pub const DISK: &[Key] = &[
    row("limits.max", Line, "", LIVE, Free, LATER, "Limit of reads and writes together."),
    row("limits.read", Line, "", LIVE, Free, LATER, "Limit of reads."),
    row("limits.write", Line, "", LIVE, Free, LATER, "Limit of writes."),
    row("path", Line, "", NEXT_START, Free, Yes, "Where the disk appears inside; `/` is the root disk."),
    row("pool", Line, "", NEXT_START, Free, Yes, "The storage pool of the root disk or of the volume in `source`."),
    row(
        "propagation",
        Choice(&["private", "slave", "rprivate", "rslave"]),
        "private",
        NEXT_START,
        LowLevel,
        Yes,
        "How mounts under the source spread; mounts never spread to the host.",
    ),
    row("raw.mount.options", Line, "", NEXT_START, LowLevel, LATER, "Options of the file system's own."),
    row("readonly", Bool, "false", NEXT_START, Free, Yes, "Whether writing is refused."),
    row("recursive", Bool, "false", NEXT_START, Free, Yes, "Whether mounts below the source come along."),
    row("required", Bool, "true", NEXT_START, Free, Yes, "Whether a missing source keeps the instance from starting."),
    row(
        "shift",
        Bool,
        "false",
        NEXT_START,
        Free,
        Yes,
        "Whether the ids of files are mapped as the instance's own, so that owners are the same numbers on both sides.",
    ),
    row("size", Size, "", LIVE, Free, Yes, "Size of the root disk."),
    row("source", Line, "", NEXT_START, Free, Yes, "The host's directory or file, or the volume's name in `pool`."),
    row("type", Line, "", NEXT_START, Free, Yes, "`disk`."),
];

/// Keys of NIC devices.
pub const NIC: &[Key] = &[
    row("host_name", Line, "", NEXT_START, Free, Yes, "Name of the interface on the host."),
    row("hwaddr", Line, "", NEXT_START, Free, Yes, "MAC address."),
    row("ipv4.address", Line, "", NEXT_START, Free, Yes, "IPv4 address to have, or `none`."),
    row("ipv4.routes", Line, "", LIVE, Free, LATER, "Routes on the host to the NIC."),
    row("ipv6.address", Line, "", NEXT_START, Free, Yes, "IPv6 address to have, or `none`."),
    row("ipv6.routes", Line, "", LIVE, Free, LATER, "Routes on the host to the NIC."),
    row("limits.egress", Line, "", LIVE, Free, LATER, "Limit of what leaves the instance."),
    row("limits.ingress", Line, "", LIVE, Free, LATER, "Limit of what reaches the instance."),
    row("limits.max", Line, "", LIVE, Free, LATER, "Limit of both directions."),
    row("mtu", Int(68, 65535), "", NEXT_START, Free, Yes, "Largest packet, in bytes."),
    row("name", Line, "", NEXT_START, Free, Yes, "Name of the interface inside."),
    row("network", Line, "", NEXT_START, Free, Yes, "The managed network."),
    row("nictype", Choice(&["bridged"]), "", NEXT_START, Free, Yes, "Kind of NIC, where no managed network is named."),
    row("parent", Line, "", NEXT_START, Free, Yes, "The host's bridge, where no managed network is named."),
    row(
        "security.ipv4_filtering",
        Bool,
        "true",
        NEXT_START,
        Free,
        Yes,
        "Whether packets from other IPv4 addresses are dropped. What an absent key means is the server key instances.nic.filtering.",
    ),
    row("security.ipv6_filtering", Bool, "true", NEXT_START, Free, Yes, "Whether packets from other IPv6 addresses are dropped; as above."),
    row("security.mac_filtering", Bool, "true", NEXT_START, Free, Yes, "Whether packets from other MAC addresses are dropped; as above."),
    row("security.port_isolation", Bool, "false", NEXT_START, Free, LATER, "Whether isolated ports of one bridge cannot reach each other."),
    row("type", Line, "", NEXT_START, Free, Yes, "`nic`."),
    row("vlan", Line, "", NEXT_START, Free, LATER, "VLAN of untagged packets."),
    row("vlan.tagged", Line, "", NEXT_START, Free, LATER, "VLANs of tagged packets."),
];

/// Keys of the device kind `none`, which takes a profile's device away.
pub const NONE: &[Key] = &[row("type", Line, "", NEXT_START, Free, Yes, "`none`.")];

/// Keys of the server.
pub const SERVER: &[Key] = &[
    row("backups.compression_algorithm", COMPRESSION, "gzip", LIVE, Free, LATER, "Compression of backups."),
    row("core.https_address", Line, "", LIVE, Free, LATER, "Address to serve the API at."),
    row("core.proxy_http", Line, "", LIVE, Free, LATER, "Proxy for HTTP."),
    row("core.proxy_https", Line, "", LIVE, Free, LATER, "Proxy for HTTPS."),
    row("core.proxy_ignore_hosts", Line, "", LIVE, Free, LATER, "Hosts reached without a proxy."),
    row(
        "core.shutdown_timeout",
        Int(0, 1440),
        "5",
        LIVE,
        Free,
        Yes,
        "Minutes to wait for running operations when the daemon is shut down.",
    ),
    row("core.trust_password", Line, "", LIVE, Free, LATER, "Password with which a client becomes trusted."),
    row("images.auto_update_cached", Bool, "true", LIVE, Free, Yes, "Whether cached images are kept up to date."),
    row("images.auto_update_interval", Int(0, 8760), "6", LIVE, Free, Yes, "Hours between looking for newer images; 0 never looks."),
    row("images.compression_algorithm", COMPRESSION, "gzip", LIVE, Free, LATER, "Compression of published images."),
    row("images.remote_cache_expiry", Int(0, 3650), "10", LIVE, Free, Yes, "Days after which an unused cached image is removed."),
    row("instances.idmap.isolated", Bool, "true", LIVE, Free, Yes, "What an absent security.idmap.isolated means."),
    row(
        "instances.nic.filtering",
        Bool,
        "true",
        LIVE,
        Free,
        Yes,
        "What an absent security.mac_filtering, ipv4_filtering and ipv6_filtering of a bridged NIC means.",
    ),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text."),
];

const COMPRESSION: Value = Choice(&["bzip2", "gzip", "lzma", "none", "xz", "zstd"]);

/// Keys of projects.
pub const PROJECT: &[Key] = &[
    row("features.images", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own images."),
    row("features.networks", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own networks."),
    row("features.profiles", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own profiles."),
    row("features.storage.volumes", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own volumes."),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_are_sorted_and_documented() {
        for table in [INSTANCE, DISK, NIC, NONE, SERVER, PROJECT] {
            assert!(
                table.windows(2).all(|pair| pair[0].name < pair[1].name),
                "{:?}",
                table.windows(2).find(|pair| pair[0].name >= pair[1].name)
            );
            assert!(table.iter().all(|row| row.doc.ends_with('.')));
        }
    }

    proptest! {
        /// No key but free text takes a second line, whatever stands in it.
        #[test]
        fn only_text_keys_take_control_characters(index in 0..INSTANCE.len(), text in "[a-z0-9]{0,4}[\n\r\0#,;\"$()]{1,3}[a-z]{0,4}\n") {
            let row = &INSTANCE[index];
            let fine = row.value.check(&text).is_ok();
            prop_assert!(!fine || row.value == Text, "{} took {text:?}", row.name);
        }
    }
}
