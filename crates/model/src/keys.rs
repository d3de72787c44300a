//! The tables of configuration keys, one row a key.

mod instance;

pub use instance::INSTANCE;

use crate::key::Class::Free;
use crate::key::Support::{self, No, Yes};
use crate::key::Value::{Bool, Choice, Int, Line, Text};
use crate::key::{Class, Key, Value};

/// One row, in the order a reader wants: key, type, default, live?, class, support, documentation.
pub(crate) const fn row(
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

pub(crate) const NEXT_START: bool = false;
pub(crate) const LIVE: bool = true;
const MAX: i64 = i64::MAX;

pub(crate) const VM: Support = No("it is for virtual machines, which this server does not run");
const UNLIMITED: Support = No("this server does not hold projects to limits yet, and a limit that is not held would be a lie");
const OF_SERVER: Support = No("here it is a key of the server, for all projects");
const LATER: Support = No("this server does not do it yet");
const CDI: Support =
    No("the NVIDIA hook of other servers is not used here; add a gpu device with a CDI name, such as id=nvidia.com/gpu=all, instead");

/// Keys of the server.
pub const SERVER: &[Key] = &[
    row("backups.compression_algorithm", COMPRESSION, "gzip", LIVE, Free, Yes, "Compression of backups."),
    row(
        "backups.zfs_streams",
        Bool,
        "false",
        LIVE,
        Free,
        Yes,
        "Whether optimized backups of ZFS pools can be imported. The host's kernel reads what is in them as it is: whoever may import, and whoever wrote them, is then trusted as root is.",
    ),
    row(
        "core.https_address",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Address and port to serve the API at over HTTPS: `:8443` for all addresses of the host. Not set: the socket only.",
    ),
    row(
        "core.metrics_address",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Address and port to serve the metrics at over HTTPS, and nothing else: `:9100`. Not set: at the address of the API only.",
    ),
    row(
        "core.metrics_authentication",
        Bool,
        "true",
        LIVE,
        Free,
        Yes,
        "Whether only clients with a trusted certificate, of type client or metrics, may read the metrics; otherwise everybody may.",
    ),
    row(
        "core.proxy_http",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Proxy for fetching images from servers that speak HTTP. Not set, nor the one for HTTPS: the daemon's environment (`http_proxy` …).",
    ),
    row("core.proxy_https", Line, "", LIVE, Free, Yes, "Proxy for fetching images from servers that speak HTTPS."),
    row("core.proxy_ignore_hosts", Line, "", LIVE, Free, Yes, "Hosts that are reached without a proxy, separated by commas."),
    row(
        "core.remote_token_expiry",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "How long a token for a new client is good for, such as `1d 12H`. Not set: until it is used or revoked.",
    ),
    row(
        "core.shutdown_timeout",
        Int(0, 1440),
        "5",
        LIVE,
        Free,
        Yes,
        "Minutes to wait for running operations when the daemon is shut down.",
    ),
    row(
        "core.trust_password",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Password with which a client becomes trusted; kept as a hash, and shown as `true`. Tokens are safer.",
    ),
    row("images.auto_update_cached", Bool, "true", LIVE, Free, Yes, "Whether cached images are kept up to date."),
    row("images.auto_update_interval", Int(0, 8760), "6", LIVE, Free, Yes, "Hours between looking for newer images; 0 never looks."),
    row("images.compression_algorithm", COMPRESSION, "gzip", LIVE, Free, Yes, "Compression of published images."),
    row(
        "images.default_architecture",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Architecture that images are looked for where a server has several. Not set: the host's.",
    ),
    row("images.remote_cache_expiry", Int(0, 3650), "10", LIVE, Free, Yes, "Days after which an unused cached image is removed."),
    row(
        "images.require_signature",
        Bool,
        "false",
        LIVE,
        Free,
        Yes,
        "Whether images from servers elsewhere must stand in lists that are signed by one of images.trusted_keys. What is imported from files is not concerned.",
    ),
    row(
        "images.trusted",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Addresses of the image servers that images may come from, separated by commas; each means itself and what is below it. Not set: any.",
    ),
    row(
        "images.trusted_keys",
        Line,
        "",
        LIVE,
        Free,
        Yes,
        "Public keys, in base64 and separated by commas, whose signatures of image lists are checked wherever there is one.",
    ),
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
    row(
        "operations.log.entries",
        Int(0, 1_000_000),
        "10000",
        LIVE,
        Free,
        Yes,
        "How many operations are remembered (`operation log`); 0 remembers none.",
    ),
    row("operations.log.expiry", Value::Expiry, "90d", LIVE, Free, Yes, "How long operations are remembered, such as `2w` or `90d`."),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text."),
];

const COMPRESSION: Value = Choice(&["bzip2", "gzip", "lzma", "none", "xz", "zstd"]);

/// Keys of projects.
pub const PROJECT: &[Key] = &[
    row("backups.compression_algorithm", COMPRESSION, "", LIVE, Free, OF_SERVER, "Compression of the project's backups."),
    row("features.images", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own images."),
    row("features.networks", Bool, "false", NEXT_START, Free, Yes, "Whether the project has its own networks."),
    row("features.networks.zones", Bool, "", NEXT_START, Free, LATER, "Whether the project has its own network zones."),
    row("features.profiles", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own profiles."),
    row("features.storage.buckets", Bool, "", NEXT_START, Free, LATER, "Whether the project has its own storage buckets."),
    row("features.storage.volumes", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own volumes."),
    row("images.*", Line, "", LIVE, Free, OF_SERVER, "What is done with the project's images by and by."),
    row("limits.*", Line, "", LIVE, Free, UNLIMITED, "How much the project's instances and networks may be and use together."),
    row("restricted", Bool, "", LIVE, Free, UNLIMITED, "Whether the project's instances and networks are kept from what reaches the host."),
    row("restricted.*", Line, "", LIVE, Free, UNLIMITED, "What the project's instances and networks may reach all the same."),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_are_sorted_and_documented() {
        let devices = crate::DeviceKind::ALL.iter().map(|kind| kind.table());
        for table in [INSTANCE, SERVER, PROJECT].into_iter().chain(devices) {
            assert!(
                table.windows(2).all(|pair| pair[0].name < pair[1].name),
                "{:?}",
                table.windows(2).find(|pair| pair[0].name >= pair[1].name)
            );
            assert!(table.iter().all(|row| row.doc.ends_with('.')));
        }
    }

    proptest! {
        /// No key but free text and lists with a line for each entry takes a second line, whatever stands in it.
        #[test]
        fn only_text_keys_take_control_characters(index in 0..INSTANCE.len(), text in "[a-z0-9]{0,4}[\n\r\0#,;\"$()]{1,3}[a-z]{0,4}\n") {
            let row = &INSTANCE[index];
            let fine = row.value.check(&text).is_ok();
            let of_lines = matches!(row.value, Text | Value::SystemCalls | Value::IdMapEntries | Value::ApparmorRules);
            prop_assert!(!fine || of_lines, "{} took {text:?}", row.name);
        }
    }
}
