//! The dataset that a pool's volumes are in, and ZFS' programs to work on it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use coffer_base::run::{Output, Program, RunError};

use super::report::{self, Dataset, Lineage};
use crate::mounted::Fault;

/// How long one of ZFS' programs may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// The longest name of a dataset or snapshot.
///
/// Source: zfs(8), ZFS_MAX_DATASET_NAME_LEN without the byte that ends it.
const LONGEST: usize = 255;

/// What every dataset of a pool has: it is mounted by us alone, and holds all that a root file system can.
const PROPERTIES: [&str; 7] = ["mountpoint=legacy", "acltype=posixacl", "xattr=sa", "atime=off", "devices=on", "exec=on", "setuid=on"];

/// What a received dataset has beside that, whatever its stream says.
const NOT_FROM_STREAMS: [&str; 3] = ["canmount=noauto", "sharenfs=off", "sharesmb=off"];

/// Blocks go as they lie on disk.
const COMPRESSED: &str = "-c";

/// How long a stream may take to go through. Who waits for it can cancel it at any time.
const STREAM_DEADLINE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Marks a dataset that a pool stands on, with the pool's name as its value.
pub(super) const MARK: &str = "coffer:pool";

/// A dataset, or a whole ZFS pool, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root(pub(super) String);

impl Root {
    /// The ZFS pool that it is in.
    pub(super) fn zpool(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(pool, _)| pool)
    }

    /// The full name of something below it.
    pub(super) fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }

    /// Says whether it is there.
    pub(super) fn exists(&self) -> Result<bool, Fault> {
        match zfs(["list", "-H", "-o", "name", &self.0]) {
            Ok(_) => Ok(true),
            Err(Fault::Missing) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Everything in it that holds files.
    pub(super) fn datasets(&self) -> Result<Vec<Dataset>, Fault> {
        let output = zfs(["list", "-H", "-p", "-r", "-t", "filesystem", "-o", report::VOLUME_FIELDS, &self.0])?;
        Ok(report::datasets(&output.stdout))
    }

    /// The names of all that is in it, snapshots and devices too.
    pub(super) fn contents(&self) -> Result<Vec<String>, Fault> {
        let output = zfs(["list", "-H", "-r", "-t", "all", "-o", "name", &self.0])?;
        Ok(output.stdout.lines().filter(|name| *name != self.0).map(str::to_owned).collect())
    }

    /// Bytes in use and free.
    pub(super) fn room(&self) -> Result<(u64, u64), Fault> {
        let output = zfs(["list", "-H", "-p", "-o", report::ROOM_FIELDS, &self.0])?;
        report::room(&output.stdout).ok_or(Fault::Missing)
    }

    /// The pool that says it stands on it.
    pub(super) fn mark(&self) -> Result<Option<String>, Fault> {
        let output = zfs(["get", "-H", "-s", "local", "-o", "value", MARK, &self.0])?;
        Ok(output.stdout.lines().next().map(str::to_owned).filter(|value| !value.is_empty() && value != "-"))
    }

    /// Says whether its ZFS pool has blocks larger than all have.
    pub(super) fn has_large_blocks(&self) -> Result<bool, Fault> {
        let output = run(Program::new("zpool").args(["get", "-H", "-o", "value", "feature@large_blocks", self.zpool()]))?;
        Ok(matches!(output.stdout.trim(), "enabled" | "active"))
    }

    /// Makes a dataset that only structures others, unless it is there.
    pub(super) fn ensure_folder(&self, name: &str) -> Result<(), Fault> {
        let name = self.below(name);
        match create(&name, &[]) {
            Err(Fault::Tool(RunError::Failed { stderr, .. })) if stderr.contains("already exists") => Ok(()),
            other => other,
        }
    }
}

/// Makes an empty dataset.
pub(super) fn create(name: &str, properties: &[String]) -> Result<(), Fault> {
    require_short(name)?;
    zfs(["create"].into_iter().chain(options(PROPERTIES)).chain(options(properties)).chain([name])).map(drop)
}

/// Makes a dataset that begins with the content of a snapshot.
pub(super) fn clone(snapshot: &str, name: &str, properties: &[String]) -> Result<(), Fault> {
    require_short(name)?;
    zfs(["clone"].into_iter().chain(options(PROPERTIES)).chain(options(properties)).chain([snapshot, name])).map(drop)
}

/// Keeps the present state of a dataset.
pub(super) fn snapshot(name: &str) -> Result<(), Fault> {
    require_short(name)?;
    zfs(["snapshot", name]).map(drop)
}

pub(super) fn rename(from: &str, to: &str) -> Result<(), Fault> {
    require_short(to)?;
    zfs(["rename", from, to]).map(drop)
}

/// Removes a dataset or a snapshot, with the snapshots of it that nothing was cloned from.
pub(super) fn destroy(name: &str) -> Result<(), Fault> {
    zfs(["destroy", "-r", name]).map(drop)
}

/// Gives a dataset the state of a snapshot of its own back, and removes newer snapshots.
pub(super) fn roll_back(snapshot: &str) -> Result<(), Fault> {
    zfs(["rollback", "-r", snapshot]).map(drop)
}

/// Lets a clone and what it was cloned from change their roles.
pub(super) fn promote(name: &str) -> Result<(), Fault> {
    zfs(["promote", name]).map(drop)
}

/// Sets properties, written `NAME=VALUE`.
pub(super) fn set(name: &str, properties: &[String]) -> Result<(), Fault> {
    zfs(["set"].into_iter().chain(properties.iter().map(String::as_str)).chain([name])).map(drop)
}

/// Takes a property back that was set.
pub(super) fn unset(name: &str, property: &str) -> Result<(), Fault> {
    zfs(["inherit", property, name]).map(drop)
}

/// Where a dataset comes from and what comes from it.
pub(super) fn lineage(name: &str) -> Result<Lineage, Fault> {
    let words = ["list", "-H", "-p", "-d", "1", "-t", "filesystem,snapshot", "-s", "createtxg", "-o", report::LINEAGE_FIELDS, name];
    // The datasets in a folder are not asked about: volumes have nothing below them.
    Ok(report::lineage(&zfs(words)?.stdout))
}

/// The names of all datasets and snapshots from a name on down.
pub(super) fn names(root: &str) -> Result<Vec<String>, Fault> {
    let output = zfs(["list", "-H", "-r", "-t", "filesystem,snapshot", "-o", "name", root])?;
    Ok(output.stdout.lines().map(str::to_owned).collect())
}

/// The datasets and snapshots from a name on down, as [`report::states`] reads them.
pub(super) fn states(root: &str) -> Result<String, Fault> {
    let words = ["list", "-H", "-p", "-r", "-t", "filesystem,snapshot", "-s", "createtxg", "-o", report::STATE_FIELDS, root];
    Ok(zfs(words)?.stdout)
}

/// How long the stream of a snapshot will be that is for another pool, in bytes.
pub(super) fn stream_size(snapshot: &str, base: Option<&str>) -> Result<u64, Fault> {
    let base = base.map(|base| ["-i", base]);
    let words = ["send", "-n", "-P", COMPRESSED].into_iter().chain(base.into_iter().flatten()).chain([snapshot]);
    Ok(report::stream_size(&zfs(words)?.stdout).unwrap_or(0))
}

/// Writes the stream of a snapshot, whole or as a change of an earlier one. It tells nothing of properties.
pub(super) fn send(snapshot: &str, base: Option<&str>, compressed: bool, into: File) -> Result<(), Fault> {
    let base = base.map(|base| ["-i", base]);
    let compressed = compressed.then_some(COMPRESSED);
    let words = ["send"].into_iter().chain(compressed).chain(base.into_iter().flatten()).chain([snapshot]);
    stream(Program::new("zfs").args(words).output_file(into))
}

/// Makes a dataset with one snapshot out of a stream, as a clone of another snapshot if the stream is a change of that. Nothing is
/// mounted, and what a dataset has here is said here.
pub(super) fn receive(snapshot: &str, origin: Option<&str>, properties: &[String], from: File) -> Result<(), Fault> {
    require_short(snapshot)?;
    let origin = origin.map(|origin| format!("origin={origin}"));
    let fixed = PROPERTIES.into_iter().chain(NOT_FROM_STREAMS).chain(origin.as_deref());
    let words = ["receive", "-u"].into_iter().chain(options(fixed)).chain(options(properties)).chain([snapshot]);
    stream(Program::new("zfs").args(words).input_file(from))
}

/// Makes a ZFS pool on a file or device.
pub(super) fn create_pool(name: &str, on: &Path, force: bool) -> Result<(), Fault> {
    let force = if force { &["-f"][..] } else { &[] };
    // Whoever imports pools at the host's start has no business with this one: opening it does that.
    let words = ["create", "-o", "cachefile=none", "-O", "mountpoint=none", "-O", "compression=on", "-O", "canmount=off"];
    run(Program::new("zpool").args(words).args(force).arg(name).arg(on)).map(drop)
}

/// Removes a ZFS pool with all that is in it.
pub(super) fn destroy_pool(name: &str) -> Result<(), Fault> {
    run(Program::new("zpool").args(["destroy", "-f", name])).map(drop)
}

/// Brings a ZFS pool back, from one place or from wherever it is.
pub(super) fn import_pool(name: &str, at: Option<&Path>) -> Result<(), Fault> {
    // It may have been in use when the host went down: nobody else uses it, that is what its cache file says.
    let mut program = Program::new("zpool").args(["import", "-f", "-N", "-o", "cachefile=none"]);
    if let Some(at) = at {
        program = program.arg("-d").arg(at);
    }
    run(program.arg(name)).map(drop)
}

/// Takes a ZFS pool off the host.
pub(super) fn export_pool(name: &str) -> Result<(), Fault> {
    run(Program::new("zpool").args(["export", name])).map(drop)
}

/// Lets a ZFS pool fill a file that has grown.
pub(super) fn expand_pool(name: &str, on: &Path) -> Result<(), Fault> {
    run(Program::new("zpool").args(["online", "-e", name]).arg(on)).map(drop)
}

/// Refuses a name that is too long for ZFS.
fn require_short(name: &str) -> Result<(), Fault> {
    if name.len() <= LONGEST {
        return Ok(());
    }
    Err(Fault::Refused(format!("its name is too long for ZFS by {} characters: use shorter names", name.len() - LONGEST)))
}

fn options<'a, T: AsRef<str> + 'a + ?Sized>(properties: impl IntoIterator<Item = &'a T>) -> impl Iterator<Item = &'a str> {
    properties.into_iter().flat_map(|property| ["-o", property.as_ref()])
}

fn zfs<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Output, Fault> {
    run(Program::new("zfs").args(words))
}

fn run(program: Program) -> Result<Output, Fault> {
    program.deadline(DEADLINE).run().map_err(explain)
}

fn stream(program: Program) -> Result<(), Fault> {
    program.deadline(STREAM_DEADLINE).run().map(drop).map_err(explain)
}

/// Tells from what a program said what it means.
fn explain(error: RunError) -> Fault {
    let RunError::Failed { stderr, .. } = &error else { return Fault::Tool(error) };
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if says(&["does not exist", "could not find any snapshots", "no such pool"]) {
        Fault::Missing
    } else if says(&["is busy", "currently in use", "Device or resource busy"]) {
        Fault::Busy("some program uses it".into())
    } else if says(&["out of space", "No space left", "quota exceeded"]) {
        Fault::Kernel(std::io::Error::new(std::io::ErrorKind::StorageFull, error))
    } else {
        Fault::Tool(error)
    }
}
