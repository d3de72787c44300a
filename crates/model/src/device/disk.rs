//! `disk`: the instance's root, a volume, or something of the host.

use coffer_base::Bytes;

use super::DeviceError;
use super::reader::Reader;
use crate::key::Class::{Free, LowLevel, Privilege};
use crate::key::Support::{No, Yes};
use crate::key::Value::{self, Bool, Choice, Int, Line, Size};
use crate::key::{IoRate, Key, Owner, Support};
use crate::keys::{LIVE, NEXT_START, VM, row};
use crate::names::{PoolName, VolumeName};

const CEPH: Support = No("sources of Ceph are not supported; mount it on the host and share the directory");

/// Keys of disk devices.
pub const KEYS: &[Key] = &[
    row("boot.priority", Int(0, i64::MAX), "", NEXT_START, Free, VM, "Order in which firmware tries disks."),
    row("ceph.cluster_name", Line, "ceph", NEXT_START, Free, CEPH, "Cluster of a Ceph source."),
    row("ceph.user_name", Line, "admin", NEXT_START, Free, CEPH, "User of a Ceph source."),
    row("limits.max", Value::IoRate, "", LIVE, Free, Yes, "Limit of reads and of writes, instead of the next two."),
    row(
        "limits.read",
        Value::IoRate,
        "",
        LIVE,
        Free,
        Yes,
        "Most bytes (`30MB`) or operations (`200iops`) that are read in a second from the block device below. Of several disks on one block \
         device the lowest limit counts.",
    ),
    row(
        "limits.write",
        Value::IoRate,
        "",
        LIVE,
        Free,
        Yes,
        "Likewise for writes. Writes that the kernel does later count on cgroup v2 only.",
    ),
    row("optional", Bool, "false", NEXT_START, Free, Yes, "The older name of `required`, with the opposite meaning."),
    row(
        "owner.host",
        Value::Owner,
        "",
        NEXT_START,
        Privilege,
        Yes,
        "Ours: `UID:GID` of the host whose files belong to `owner.inside` inside, and the other way round. Absent, with `owner.inside` set: \
         the owner of the source.",
    ),
    row(
        "owner.inside",
        Value::Owner,
        "0:0",
        NEXT_START,
        Privilege,
        Yes,
        "Ours: `UID:GID` inside for the files of `owner.host`. What others make inside has the instance's own ids on the host, or, with \
         `shift`, the same numbers.",
    ),
    row("path", Line, "", NEXT_START, Free, Yes, "Where the disk appears inside; `/` is the root disk."),
    row("pool", Line, "", NEXT_START, Free, Yes, "The storage pool of the root disk or of the volume in `source`."),
    row(
        "propagation",
        Choice(&["private", "rprivate", "slave", "rslave", "unbindable", "runbindable", "shared", "rshared"]),
        "private",
        NEXT_START,
        LowLevel,
        Yes,
        "How mounts under the source spread. `shared` is refused: mounts made inside never spread to the host.",
    ),
    row(
        "raw.mount.options",
        Line,
        "",
        NEXT_START,
        LowLevel,
        No(
            "no file system is mounted for a disk; a directory of the host takes readonly, recursive and propagation, and tmpfs: takes size",
        ),
        "Options of the file system's own.",
    ),
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
    row("size", Size, "", LIVE, Free, Yes, "Size of the root disk, or of a `tmpfs:`."),
    row("size.state", Size, "", NEXT_START, Free, VM, "Size of the volume for the state."),
    row(
        "source",
        Line,
        "",
        NEXT_START,
        Free,
        Yes,
        "The host's directory or file, the volume's name in `pool`, or `tmpfs:` for a file system in memory.",
    ),
    row("type", Line, "", NEXT_START, Free, Yes, "`disk`."),
];

/// A disk: the instance's root, a volume, or a path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where it appears inside, absolute.
    pub path: String,
    /// What it is.
    pub source: DiskSource,
    /// Whether writing is refused.
    pub readonly: bool,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// Whether a missing source keeps the instance from starting.
    pub required: bool,
    /// How mounts below the source spread to the instance.
    pub propagation: Propagation,
    /// Whether ids are mapped as the instance's own.
    pub shift: bool,
    /// Whose files belong to whom.
    pub owner: Option<DiskOwner>,
    /// The size of the root disk or the file system in memory.
    pub size: Option<Bytes>,
    /// Limits of reading and writing.
    pub limits: DiskLimits,
}

/// Where a disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// The instance's own volume in a pool.
    Root(PoolName),
    /// A custom volume of a pool.
    Volume(PoolName, VolumeName),
    /// An absolute path of the host.
    Host(String),
    /// A new file system in memory.
    Memory,
}

/// How mounts spread. Never from the instance to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the host to the instance.
    Slave,
    /// Not at all, and it cannot be bind-mounted.
    Unbindable,
}

/// A user of the host and the user inside whom its files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOwner {
    /// On the host; absent: the owner of the source.
    pub host: Option<Owner>,
    /// Inside.
    pub inside: Owner,
}

/// Limits of a disk's block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// Of reading.
    pub read: Option<IoRate>,
    /// Of writing.
    pub write: Option<IoRate>,
}

impl Disk {
    /// Says whether the two are the same but for what changes without a new mount.
    #[must_use]
    pub fn same_mount(&self, other: &Self) -> bool {
        Self { limits: other.limits, ..self.clone() } == *other
    }
}

/// Reads a disk.
pub(super) fn parse(reader: &Reader<'_>) -> Result<Disk, DeviceError> {
    let keys = reader.keys;
    let path = reader.inside_path("path")?;
    let source = source(reader, &path)?;
    meaningful(reader, &source, &path)?;
    let both = keys.parse("limits.max");
    Ok(Disk {
        path,
        source,
        readonly: keys.flag("readonly", false),
        recursive: keys.flag("recursive", false),
        required: keys.flag("required", true) && !keys.flag("optional", false),
        propagation: propagation(reader)?,
        shift: keys.flag("shift", false),
        owner: owner(reader),
        size: keys.parse("size"),
        limits: DiskLimits { read: both.or(keys.parse("limits.read")), write: both.or(keys.parse("limits.write")) },
    })
}

fn source(reader: &Reader<'_>, path: &str) -> Result<DiskSource, DeviceError> {
    let pool: Option<PoolName> = reader.name("pool")?;
    match (path, reader.keys.get("source"), pool) {
        ("/", None, Some(pool)) => Ok(DiskSource::Root(pool)),
        ("/", None, None) => Err(reader.missing("pool")),
        ("/", Some(_), _) => Err(reader.combination("a root disk has no source")),
        (_, None, _) => Err(reader.missing("source")),
        (_, Some(_), Some(pool)) => {
            let volume: Option<VolumeName> = reader.name("source")?;
            Ok(DiskSource::Volume(pool, volume.ok_or_else(|| reader.missing("source"))?))
        }
        (_, Some(source), None) => host_source(reader, source),
    }
}

fn host_source(reader: &Reader<'_>, source: &str) -> Result<DiskSource, DeviceError> {
    match source.split_once(':') {
        Some(("tmpfs", "")) => Ok(DiskSource::Memory),
        Some((kind @ ("ceph" | "cephfs"), _)) => {
            Err(reader.value("source", source, &format!("{kind}: sources are not supported; mount it on the host and share the directory")))
        }
        Some((kind @ ("tmpfs" | "tmpfs-overlay" | "cloud-init" | "agent"), _)) => {
            Err(reader.value("source", source, &format!("{kind}: sources of this form are not supported; tmpfs: alone is")))
        }
        _ if source.starts_with('/') => Ok(DiskSource::Host(source.to_owned())),
        _ => Err(reader.value("source", source, "it must be an absolute path of the host, or a volume together with a pool")),
    }
}

/// Refuses what would be ignored, and targets that are the kernel's or ours.
fn meaningful(reader: &Reader<'_>, source: &DiskSource, path: &str) -> Result<(), DeviceError> {
    const LIMITS: [&str; 3] = ["limits.max", "limits.read", "limits.write"];
    match source {
        DiskSource::Root(_) => reader.only(&[&["path", "pool", "size"][..], &LIMITS].concat(), "a root disk")?,
        DiskSource::Memory => reader.only(&["path", "source", "size", "readonly", "required", "optional"], "a tmpfs:")?,
        DiskSource::Volume(..) | DiskSource::Host(_) => {
            if reader.keys.get("size").is_some() {
                return Err(reader.combination("key \"size\" has a meaning for the root disk and for tmpfs: only"));
            }
        }
    }
    if ["/proc", "/sys", "/dev"].contains(&path) {
        return Err(reader.value("path", path, "the instance has its own file system there"));
    }
    Ok(())
}

fn propagation(reader: &Reader<'_>) -> Result<Propagation, DeviceError> {
    match reader.keys.get("propagation") {
        None | Some("private" | "rprivate") => Ok(Propagation::Private),
        Some("slave" | "rslave") => Ok(Propagation::Slave),
        Some("unbindable" | "runbindable") => Ok(Propagation::Unbindable),
        Some(shared) => {
            Err(reader.value("propagation", shared, "mounts made inside would appear on the host; use slave for the other direction"))
        }
    }
}

fn owner(reader: &Reader<'_>) -> Option<DiskOwner> {
    let (host, inside) = (reader.keys.parse("owner.host"), reader.keys.parse("owner.inside"));
    if host.is_none() && inside.is_none() {
        return None;
    }
    Some(DiskOwner { host, inside: inside.unwrap_or(Owner { uid: 0, gid: 0 }) })
}

#[cfg(test)]
mod tests {
    use crate::device::tests::check;

    #[track_caller]
    fn disk(more: &[(&str, &str)], expect: &str) {
        let keys = [&[("type", "disk"), ("path", "/src"), ("source", "/home/me")], more].concat();
        check(&keys, expect);
    }

    #[test]
    fn disks() {
        check(&[("type", "disk"), ("path", "/"), ("pool", "default")], "fine");
        disk(&[], "fine");
        disk(&[("owner.host", "1000:1000"), ("shift", "true"), ("propagation", "rslave"), ("limits.max", "20iops")], "fine");
        check(&[("type", "disk"), ("path", "/")], "device dev: key \"pool\" is missing");
        check(
            &[("type", "disk"), ("path", "/a/../b"), ("source", "/x")],
            "device dev: invalid value \"/a/../b\" for key \"path\": it must be absolute, without . and ..",
        );
        check(
            &[("type", "disk"), ("path", "/a"), ("source", "x")],
            "device dev: invalid value \"x\" for key \"source\": it must be an absolute path of the host, or a volume together with a pool",
        );
        disk(&[("pth", "y")], "device dev: unknown device configuration key \"pth\"; did you mean \"path\"?");
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        check(
            &[("type", "disk"), ("path", "/"), ("pool", "default"), ("readonly", "true")],
            "device dev: key \"readonly\" has no meaning for a root disk",
        );
        check(
            &[("type", "disk"), ("path", "/a"), ("source", "tmpfs:"), ("shift", "true")],
            "device dev: key \"shift\" has no meaning for a tmpfs:",
        );
        disk(&[("size", "1GiB")], "device dev: key \"size\" has a meaning for the root disk and for tmpfs: only");
        disk(
            &[("size.state", "1GiB")],
            "device dev: device configuration key \"size.state\" is not supported: it is for virtual machines, which this server does not run",
        );
    }

    #[test]
    fn mounts_do_not_spread_to_the_host() {
        disk(
            &[("propagation", "rshared")],
            "device dev: invalid value \"rshared\" for key \"propagation\": mounts made inside would appear on the host; use slave for the other direction",
        );
        check(
            &[("type", "disk"), ("path", "//proc/"), ("source", "/a")],
            "device dev: invalid value \"/proc\" for key \"path\": the instance has its own file system there",
        );
    }

    #[test]
    fn sources_elsewhere_are_refused_by_name() {
        for (source, kind) in [("cephfs:my-fs/some-path", "cephfs"), ("ceph:pool/volume", "ceph")] {
            let why = format!("{kind}: sources are not supported; mount it on the host and share the directory");
            check(
                &[("type", "disk"), ("path", "/a"), ("source", source)],
                &format!("device dev: invalid value {source:?} for key \"source\": {why}"),
            );
        }
    }
}
