//! Mounts and device nodes of a spec.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file or directory of the host: an absolute path, or the position of a descriptor that came with the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An absolute path on the host, from somebody who may name host paths. Symbolic links are followed.
    Path(PathBuf),
    /// An open file or directory, or an `O_PATH` handle to one, attached somewhere on the host.
    Fd(u32),
    /// A detached mount as `fsmount(2)` or `open_tree(2)` make it. The monitor takes it over.
    Mount(u32),
}

/// Where the contents of a mount come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A file or directory of the host.
    Host(Source),
    /// A new file system of the kernel, mounted with the instance's own rights: `tmpfs`, say.
    Filesystem {
        /// The file system's type.
        kind: String,
        /// Its options; an option without value has an empty text.
        #[serde(default)]
        options: BTreeMap<String, String>,
    },
}

/// One mount inside the instance. Mounts are made in the order of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where, as a path inside the instance. No component may be a symbolic link.
    pub target: String,
    /// Nothing can be written. An unprivileged instance cannot undo it.
    #[serde(default)]
    pub readonly: bool,
    /// Set-id bits have no effect.
    #[serde(default)]
    pub nosuid: bool,
    /// Device nodes have no effect.
    #[serde(default)]
    pub nodev: bool,
    /// Nothing can be executed.
    #[serde(default)]
    pub noexec: bool,
    /// Mounts below the source come along.
    #[serde(default)]
    pub recursive: bool,
    /// Ids are shifted: uid 0 of the source is uid 0 inside. Without effect for a privileged instance.
    #[serde(default)]
    pub idmapped: bool,
    /// One user of the host whose files belong to one user inside, whatever the other ids are.
    #[serde(default)]
    pub owner: Option<MountOwner>,
    /// How mounts made below later spread; private unless said.
    #[serde(default)]
    pub propagation: Propagation,
    /// What is made where the target does not exist.
    #[serde(default)]
    pub create: CreateTarget,
    /// A source that does not exist or a target that cannot be made is left out with a warning.
    #[serde(default)]
    pub optional: bool,
}

impl Mount {
    /// A descriptor of the start mounted as it is, with nothing restricted: for what is the host's own.
    #[must_use]
    pub fn of_descriptor(position: u32, target: impl Into<String>) -> Self {
        Self {
            source: MountSource::Host(Source::Fd(position)),
            target: target.into(),
            readonly: false,
            nosuid: false,
            nodev: false,
            noexec: false,
            recursive: false,
            idmapped: false,
            owner: None,
            propagation: Propagation::Private,
            create: CreateTarget::Matching,
            optional: false,
        }
    }
}

/// A user of the host, and who it is inside. With `idmapped` the other ids are shifted; without, the instance's own ids are
/// on disk as they are on the host, and all others are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MountOwner {
    /// The user's id on disk.
    pub host_uid: u32,
    /// Its group's id on disk.
    pub host_gid: u32,
    /// The user inside.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// How mounts and unmounts spread between a mount and its copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// Both ways.
    Shared,
    /// From the host to the instance.
    Slave,
    /// Not at all, and cannot be bind-mounted.
    Unbindable,
}

/// What is made where the target of a mount does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreateTarget {
    /// A directory for a directory, an empty file for anything else, parents included.
    #[default]
    Matching,
    /// Nothing: the start fails.
    Never,
}

/// A device node inside the instance, in its own `/dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Device {
    /// Where, as a path inside the instance.
    pub path: String,
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits, as a number: 432 is 0660.
    #[serde(default = "default_mode")]
    pub mode: u32,
    /// Owner, as an id inside the instance.
    #[serde(default)]
    pub uid: u32,
    /// Group, as an id inside the instance.
    #[serde(default)]
    pub gid: u32,
}

fn default_mode() -> u32 {
    0o660
}

/// The two kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
}
