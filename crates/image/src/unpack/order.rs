//! The words between the daemon and `coffer-unpack`: one order with descriptors in, packets of JSON out.

use serde::{Deserialize, Serialize};

use super::devices::Device;
use super::failure::Failure;
use crate::pack::{Compressor, Packed};

/// The largest order, in bytes.
pub(crate) const MAX_ORDER: usize = 4096;

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

/// Descriptors that go into one packet.
pub(crate) const BATCH: usize = 64;

/// What the worker is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) task: Task,
    /// How many descriptors come along, [`BATCH`] a packet, in the order that the task says.
    pub(crate) files: usize,
}

/// A task, with the descriptors that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Unpack an image: its metadata, the root file system's file if it is `split`, the directory to fill.
    Unpack { split: bool, limits: Limits },
    /// Read an image without writing: its metadata, the root file system's file if it is `split`. `whole` reads to the last
    /// byte, otherwise the beginning and the end.
    Inspect { split: bool, limits: Limits, whole: bool },
    /// Unpack layers over each other: the layers, the lowest first, the directory to fill.
    UnpackLayers { limits: Limits },
    /// Read layers without writing: the layers, the lowest first.
    InspectLayers { limits: Limits },
    /// Read a backup's `index.yaml`: its file.
    InspectBackup { limits: Limits },
    /// Unpack a backup: its file, the plan, the directories to fill.
    UnpackBackup { limits: Limits },
    /// Take out of directories what volumes may not hold: the plan, the directories.
    Settle,
    /// Make a file of at most `limit` bytes out of another: that one, the delta, the new file, which is empty.
    Patch { limit: u64 },
    /// Write an archive: the plan, the file to write, so many `open` files, the directories to read.
    /// `reproducible` is the latest time that a member has, and leaves no holes.
    Pack { compressor: Compressor, reproducible: Option<i64>, open: usize },
}

/// What the unpacker says, one line each; the last is none of the first two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Progress {
        done: u64,
    },
    /// A piece of the text of `metadata.yaml` or `index.yaml`.
    Metadata(String),
    /// The pieces that follow are the text of an instance's `backup.yaml`.
    Configuration,
    /// A device node that the worker has no right to make.
    Device(Device),
    Unpacked(Unpacked),
    /// All pieces of the metadata have been sent.
    Inspected,
    Packed(Packed),
    /// The new file is written.
    Patched {
        bytes: u64,
    },
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
