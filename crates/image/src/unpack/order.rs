//! The words between the daemon and `coffer-unpack`: one order with descriptors in, packets of JSON out.

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// The largest order, in bytes.
pub(super) const MAX_ORDER: usize = 4096;

/// How much an image may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of file content on disk; holes are free.
    pub bytes: u64,
    /// Files, directories, links and everything else with a name.
    pub files: u64,
}

impl Default for Limits {
    /// 1 TiB and eight million names: no real image comes near, and neither fills a machine by itself.
    fn default() -> Self {
        Self { bytes: 1 << 40, files: 8 << 20 }
    }
}

/// What the unpacker is asked to do; the descriptors that come along stand in the order of the fields that speak of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) task: Task,
    /// A descriptor of the root file system's file follows the metadata's.
    pub(super) split: bool,
    pub(super) limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    /// Unpack into the directory whose descriptor comes last.
    Unpack,
    /// Read without writing; `whole` reads to the last byte, otherwise only as far as needed.
    Inspect { whole: bool },
}

/// What the unpacker says, one line each; the last is none of the first two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Progress {
        done: u64,
    },
    /// A piece of the text of `metadata.yaml`.
    Metadata(String),
    Unpacked(Unpacked),
    /// All pieces of the metadata have been sent.
    Inspected,
    Failed(Failure),
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Names made in the root file system.
    pub files: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// Device nodes and sockets left out: an instance gets its devices from its configuration.
    pub skipped_devices: u64,
    /// Extended attributes left out: of other kinds than `user.*`, ACLs and `security.capability`, or refused by the file system.
    pub skipped_xattrs: u64,
    /// Members beside `metadata.yaml`, `templates/` and `rootfs/` that were left out.
    pub skipped_members: u64,
    /// How the unpacker was locked in.
    pub confinement: Confinement,
}

/// How the unpacker was locked in while it wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// In namespaces of its own and as a user without rights on the host, through an id-mapped mount of the target.
    #[default]
    Unprivileged,
    /// As the host's root without most capabilities, its root directory being the target: the target's file system has no id-mapped mounts.
    Privileged,
}
