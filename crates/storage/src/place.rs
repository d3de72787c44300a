//! A pool's place on the host: its directory, what stands in it, how its volumes are reached by descriptors.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use coffer_model::{PoolName, SnapshotName, VolumeKind};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::StorageError;
use crate::mounts;
use crate::pool::{FillError, Found, Resources};
use crate::tree::{self, TreeError};
use crate::volume::Volume;

/// What stands in every pool. Only root may look in: what instances wrote must not be reached by users of the host.
const DIRECTORIES: [&str; 6] = ["containers", "containers-snapshots", "custom", "custom-snapshots", "images", SCRATCH];

/// Where things stand while they are made or removed.
const SCRATCH: &str = ".coffer-tmp";

/// The permissions of all that is inside a pool's directory, and of every volume.
const PRIVATE: Mode = Mode::RWXU;

/// The permissions that a user's volume begins with: whoever may be inside may pass through its top.
const OPEN: Mode = Mode::from_raw_mode(0o711);

/// A pool's directory on the host.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) pool: PoolName,
    pub(crate) path: PathBuf,
    /// Whether something has to be mounted there.
    pub(crate) mounted: bool,
}

/// A temporary name in a pool's scratch directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) directory: OwnedFd,
    pub(crate) name: String,
}

/// Where a volume stands: the directory that holds it, and its name there.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) directory: OwnedFd,
    pub(crate) name: String,
}

impl Place {
    /// Where the pool of this name is.
    pub(crate) fn path_of(state_dir: &Path, pool: &PoolName) -> PathBuf {
        state_dir.join("storage-pools").join(pool.as_str())
    }

    /// Makes the empty directory that the pool is to stand in.
    pub(crate) fn create_directory(&self) -> Result<(), StorageError> {
        let doing = "making the directory of";
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(parent);
        made.map_err(|cause| self.failed(doing, cause))?;
        let shared = Mode::RWXU | Mode::XGRP | Mode::XOTH;
        match rustix::fs::mkdir(&self.path, shared) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                if std::fs::read_dir(&self.path).map_err(|cause| self.failed(doing, cause))?.next().is_some() {
                    return Err(StorageError::PoolExists { pool: self.pool.clone(), path: self.path.clone() });
                }
            }
            Err(errno) => return Err(self.failed(doing, errno.into())),
        }
        rustix::fs::chmod(&self.path, shared).map_err(|errno| self.failed(doing, errno.into()))
    }

    /// Makes the directories that stand in every pool, as far as they are missing.
    pub(crate) fn ensure_layout(&self) -> Result<(), StorageError> {
        let doing = "laying out";
        let root = self.top().map_err(|cause| self.failed(doing, cause))?;
        for name in DIRECTORIES {
            match rustix::fs::mkdirat(&root, name, PRIVATE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed(doing, errno.into())),
            }
            let directory = open_directory(root.as_fd(), name).map_err(|cause| self.failed(doing, cause))?;
            rustix::fs::fchmod(&directory, PRIVATE).map_err(|errno| self.failed(doing, errno.into()))?;
            if name == SCRATCH {
                // All volumes begin there, and have nothing to do with each other.
                tree::spread(directory.as_fd());
            }
        }
        let shared = Mode::RWXU | Mode::XGRP | Mode::XOTH;
        rustix::fs::fchmod(&root, shared).map_err(|errno| self.failed(doing, errno.into()))
    }

    /// Takes the directories that stand in every pool away again, with all that is in them.
    pub(crate) fn remove_layout(&self) -> Result<(), StorageError> {
        let doing = "emptying";
        let root = self.top().map_err(|cause| self.failed(doing, cause))?;
        for name in DIRECTORIES {
            let gone = tree::remove(root.as_fd(), OsStr::new(name));
            gone.map_err(|cause| StorageError::PoolTree { pool: self.pool.clone(), doing, cause })?;
        }
        Ok(())
    }

    /// Opens the pool's directory, whatever stands there.
    pub(crate) fn top(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Opens the pool's directory and makes sure that the pool is there.
    pub(crate) fn open(&self) -> Result<OwnedFd, StorageError> {
        let root = self.top().map_err(|cause| self.unavailable(format!("opening {}: {cause}", self.path.display())))?;
        if self.mounted && !mounts::is_mount(root.as_fd()).map_err(|cause| self.failed("looking at", cause))? {
            return Err(self.unavailable(format!("nothing is mounted at {}", self.path.display())));
        }
        Ok(root)
    }

    /// Says whether the pool's directories are there: whether it was made once.
    pub(crate) fn is_laid_out(&self) -> Result<bool, StorageError> {
        let root = self.open()?;
        Ok(open_directory(root.as_fd(), DIRECTORIES[0]).is_ok())
    }

    /// Finds where a volume stands or would stand. A missing directory of its snapshots is made if `make` is set.
    pub(crate) fn spot(&self, volume: &Volume, make: bool) -> Result<Spot, StorageError> {
        let root = self.open()?;
        let failed = |cause| self.volume_failed(volume, "finding", cause);
        let (Some(snapshot), Some(home)) = (volume.snapshot_name(), Volume::snapshots_home(volume.kind())) else {
            let directory = self.home(root.as_fd(), Volume::home(volume.kind()))?;
            return Ok(Spot { directory, name: volume.directory().to_owned() });
        };
        let home = self.home(root.as_fd(), home)?;
        if make {
            match rustix::fs::mkdirat(&home, volume.directory(), PRIVATE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        let directory = open_directory(home.as_fd(), volume.directory()).map_err(|cause| self.missing_or(volume, "finding", cause))?;
        Ok(Spot { directory, name: snapshot.as_str().to_owned() })
    }

    /// Opens a volume's directory.
    pub(crate) fn open_volume(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        let spot = self.spot(volume, false)?;
        open_directory(spot.directory.as_fd(), &spot.name).map_err(|cause| self.missing_or(volume, "opening", cause))
    }

    /// Says whether a volume is there.
    pub(crate) fn exists(&self, volume: &Volume) -> Result<bool, StorageError> {
        match self.open_volume(volume) {
            Ok(_) => Ok(true),
            Err(StorageError::NoVolume { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses a volume that is there.
    pub(crate) fn require_free(&self, volume: &Volume) -> Result<(), StorageError> {
        if self.exists(volume)? {
            return Err(StorageError::VolumeExists { pool: self.pool.clone(), volume: volume.clone() });
        }
        Ok(())
    }

    /// Refuses a volume inside which something is mounted.
    pub(crate) fn require_unmounted(&self, volume: &Volume) -> Result<(), StorageError> {
        let path = self.volume_path(volume);
        let found = mounts::below(&path).map_err(|cause| self.volume_failed(volume, "looking for mounts in", cause))?;
        match found.into_iter().next() {
            Some((mount, _)) => Err(StorageError::MountedInside { pool: self.pool.clone(), volume: volume.clone(), mount }),
            None => Ok(()),
        }
    }

    /// Refuses a volume that has snapshots.
    pub(crate) fn require_no_snapshots(&self, volume: &Volume) -> Result<(), StorageError> {
        if volume.snapshot_name().is_some() {
            return Ok(());
        }
        match self.snapshots(volume)?.first() {
            Some(snapshot) => {
                let snapshot = snapshot.to_string();
                Err(StorageError::HasSnapshots { pool: self.pool.clone(), volume: volume.clone(), snapshot })
            }
            None => Ok(()),
        }
    }

    /// Chooses a temporary name that nobody has.
    pub(crate) fn scratch(&self) -> Result<Scratch, StorageError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let root = self.open()?;
        let directory = self.home(root.as_fd(), SCRATCH)?;
        let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        Ok(Scratch { directory, name })
    }

    /// The names of a volume's snapshots, sorted.
    pub(crate) fn snapshots(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        let Some(home) = Volume::snapshots_home(volume.kind()) else { return Ok(Vec::new()) };
        let root = self.open()?;
        let home = self.home(root.as_fd(), home)?;
        let directory = match open_directory(home.as_fd(), volume.directory()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|cause| self.volume_failed(volume, "listing the snapshots of", cause))?,
        };
        let names = names(directory.as_fd()).map_err(|cause| self.volume_failed(volume, "listing the snapshots of", cause))?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// Gives a finished thing its name: nothing may have it yet.
    pub(crate) fn publish(&self, scratch: &Scratch, volume: &Volume) -> Result<(), StorageError> {
        let spot = self.spot(volume, true)?;
        self.move_to(scratch.directory.as_fd(), &scratch.name, &spot, volume)
    }

    /// Renames a volume together with its snapshots.
    pub(crate) fn rename(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        let (old, new) = (self.spot(from, false)?, self.spot(to, true)?);
        self.move_to(old.directory.as_fd(), &old.name, &new, to).map_err(|error| self.source_missing(from, error))?;
        if from.snapshot_name().is_some() {
            return Ok(());
        }
        self.rename_snapshots(from, to).inspect_err(|_| {
            // The name goes back; if even that fails, the error of the first failure still tells more.
            let _ = rename_new(new.directory.as_fd(), &new.name, old.directory.as_fd(), &old.name);
        })
    }

    /// Lets the places of two things change in one step.
    pub(crate) fn exchange(&self, scratch: &Scratch, volume: &Volume) -> Result<(), StorageError> {
        let spot = self.spot(volume, false)?;
        rustix::fs::renameat_with(&scratch.directory, &scratch.name, &spot.directory, &spot.name, RenameFlags::EXCHANGE)
            .map_err(|errno| self.missing_or(volume, "replacing", errno.into()))
    }

    /// Moves a volume away into the scratch directory: from then on nobody sees it.
    pub(crate) fn withdraw(&self, volume: &Volume) -> Result<Scratch, StorageError> {
        let spot = self.spot(volume, false)?;
        let scratch = self.scratch()?;
        rename_new(spot.directory.as_fd(), &spot.name, scratch.directory.as_fd(), &scratch.name)
            .map_err(|errno| self.missing_or(volume, "removing", errno.into()))?;
        Ok(scratch)
    }

    /// Removes the directory of a volume's snapshots once it is empty.
    pub(crate) fn tidy_snapshots(&self, volume: &Volume) {
        let (Some(home), Ok(root)) = (Volume::snapshots_home(volume.kind()), self.open()) else { return };
        if let Ok(home) = open_directory(root.as_fd(), home) {
            // Not empty or not there: both are fine.
            let _ = rustix::fs::unlinkat(&home, volume.directory(), AtFlags::REMOVEDIR);
        }
    }

    /// Lists what stands in the pool.
    pub(crate) fn list(&self) -> Result<Vec<Found>, StorageError> {
        let failed = |cause| self.failed("listing", cause);
        let root = self.open()?;
        let mut found = Vec::new();
        for kind in Volume::KINDS {
            let home = self.home(root.as_fd(), Volume::home(kind))?;
            for name in names(home.as_fd()).map_err(failed)? {
                match name.to_str().and_then(|name| Volume::parse(kind, name)) {
                    Some(volume) => found.push(Found::Volume(volume)),
                    None => found.push(Found::Foreign(Path::new(Volume::home(kind)).join(name))),
                }
            }
            let Some(home_name) = Volume::snapshots_home(kind) else { continue };
            let home = self.home(root.as_fd(), home_name)?;
            for name in names(home.as_fd()).map_err(failed)? {
                let Some(volume) = name.to_str().and_then(|name| Volume::parse(kind, name)) else {
                    found.push(Found::Foreign(Path::new(home_name).join(name)));
                    continue;
                };
                found.extend(self.snapshots(&volume)?.iter().map(|snapshot| Found::Volume(volume.snapshot(snapshot))));
            }
        }
        Ok(found)
    }

    /// The names in the scratch directory, and the directory.
    pub(crate) fn temporaries(&self) -> Result<(OwnedFd, Vec<std::ffi::OsString>), StorageError> {
        let root = self.open()?;
        let directory = self.home(root.as_fd(), SCRATCH)?;
        let names = names(directory.as_fd()).map_err(|cause| self.failed("listing the temporaries of", cause))?;
        Ok((directory, names))
    }

    /// Refuses a pool that holds volumes other than images.
    pub(crate) fn require_empty(&self) -> Result<(), StorageError> {
        let mut left = self.list()?.into_iter().filter_map(|found| match found {
            Found::Volume(volume) if volume.kind() == VolumeKind::Image => None,
            Found::Volume(volume) => Some(volume.to_string()),
            Found::Foreign(path) => Some(path.display().to_string()),
        });
        match left.next() {
            Some(first) => Err(StorageError::NotEmpty { pool: self.pool.clone(), first, more: left.count() }),
            None => Ok(()),
        }
    }

    /// Space and inodes of the file system that the pool is on.
    pub(crate) fn resources(&self) -> Result<Resources, StorageError> {
        let root = self.open()?;
        let stat = rustix::fs::fstatvfs(&root).map_err(|errno| self.failed("measuring", errno.into()))?;
        Ok(Resources {
            space_total: stat.f_blocks * stat.f_frsize,
            space_used: stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize,
            inodes_total: stat.f_files,
            inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
        })
    }

    /// Takes away what is mounted at the pool's directory, if something is.
    pub(crate) fn unmount(&self) -> Result<(), StorageError> {
        let doing = "unmounting";
        let top = self.top().map_err(|cause| self.failed(doing, cause))?;
        if !mounts::is_mount(top.as_fd()).map_err(|cause| self.failed(doing, cause))? {
            return Ok(());
        }
        drop(top);
        mounts::unmount(&self.path).map_err(|cause| self.failed(doing, cause))
    }

    /// Removes the pool's own directory, which must be empty.
    pub(crate) fn remove_directory(&self) -> Result<(), StorageError> {
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("removing the directory of", errno.into())),
        }
    }

    /// Where something with a scratch name is mounted while it is filled.
    pub(crate) fn scratch_path(&self, name: &str) -> PathBuf {
        self.path.join(SCRATCH).join(name)
    }

    /// What a failed fill of a volume is as an error.
    pub(crate) fn fill_failed(&self, volume: &Volume, cause: FillError) -> StorageError {
        let (pool, volume) = (self.pool.clone(), volume.clone());
        match cause.downcast::<TreeError>() {
            Ok(cause) => StorageError::Tree { pool, volume, doing: "copying into", cause: *cause },
            Err(cause) => StorageError::Fill { pool, volume, cause },
        }
    }

    /// Where a volume is, for people and for the table of mounts.
    pub(crate) fn volume_path(&self, volume: &Volume) -> PathBuf {
        self.path.join(volume.below_pool())
    }

    pub(crate) fn failed(&self, doing: &'static str, cause: io::Error) -> StorageError {
        StorageError::Pool { pool: self.pool.clone(), doing, cause }
    }

    pub(crate) fn volume_failed(&self, volume: &Volume, doing: &'static str, cause: io::Error) -> StorageError {
        StorageError::Volume { pool: self.pool.clone(), volume: volume.clone(), doing, cause }
    }

    pub(crate) fn unavailable(&self, why: String) -> StorageError {
        StorageError::Unavailable { pool: self.pool.clone(), why }
    }

    /// The error for a step whose failure may mean that the volume is not there.
    pub(crate) fn missing_or(&self, volume: &Volume, doing: &'static str, cause: io::Error) -> StorageError {
        if cause.kind() == io::ErrorKind::NotFound {
            return StorageError::NoVolume { pool: self.pool.clone(), volume: volume.clone() };
        }
        self.volume_failed(volume, doing, cause)
    }

    fn home(&self, root: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, StorageError> {
        open_directory(root, name).map_err(|cause| self.unavailable(format!("opening {}: {cause}", self.path.join(name).display())))
    }

    fn move_to(&self, directory: BorrowedFd<'_>, name: &str, spot: &Spot, volume: &Volume) -> Result<(), StorageError> {
        match rename_new(directory, name, spot.directory.as_fd(), &spot.name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(StorageError::VolumeExists { pool: self.pool.clone(), volume: volume.clone() }),
            Err(errno) => Err(self.volume_failed(volume, "naming", errno.into())),
        }
    }

    fn source_missing(&self, from: &Volume, error: StorageError) -> StorageError {
        match error {
            StorageError::Volume { cause, .. } => self.missing_or(from, "renaming", cause),
            other => other,
        }
    }

    fn rename_snapshots(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        let Some(home) = Volume::snapshots_home(from.kind()) else { return Ok(()) };
        let root = self.open()?;
        let home = self.home(root.as_fd(), home)?;
        let rename = || rename_new(home.as_fd(), from.directory(), home.as_fd(), to.directory());
        let renamed = match rename() {
            // An empty directory is what a kill left between removing the last snapshot and its directory.
            Err(Errno::EXIST) if rustix::fs::unlinkat(&home, to.directory(), AtFlags::REMOVEDIR).is_ok() => rename(),
            renamed => renamed,
        };
        match renamed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.volume_failed(from, "renaming the snapshots of", errno.into())),
        }
    }
}

/// Gives the empty top of a new volume its permissions.
pub(crate) fn begin_top(volume: &Volume, top: BorrowedFd<'_>) -> io::Result<()> {
    let mode = match volume.kind() {
        VolumeKind::Container | VolumeKind::Image => PRIVATE,
        VolumeKind::Custom => OPEN,
    };
    Ok(rustix::fs::fchmod(top, mode)?)
}

/// Closes the top of a filled volume: whatever the content said about it, only root looks in from the host. The top of a
/// user's volume is seen inside and keeps what it is; the directory that it is in is closed.
pub(crate) fn close_top(volume: &Volume, top: BorrowedFd<'_>) -> io::Result<()> {
    match volume.kind() {
        VolumeKind::Container | VolumeKind::Image => Ok(rustix::fs::fchmod(top, PRIVATE)?),
        VolumeKind::Custom => Ok(()),
    }
}

/// Renames to a name that nobody has.
///
/// # Errors
/// `EEXIST` if somebody has it.
///
/// Source: rename(2), `RENAME_NOREPLACE`; Linux, fs/ceph/dir.c: its client answers every flag with `EINVAL`.
pub(crate) fn rename_new(from: BorrowedFd<'_>, name: &str, to: BorrowedFd<'_>, new: &str) -> rustix::io::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    match rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL) => {
            // Nobody but this server names things in a pool: that a name is free stays true while the lock is held.
            let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            match rustix::fs::statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new),
                Err(errno) => Err(errno),
            }
        }
        renamed => renamed,
    }
}

/// Opens a directory below another one, through no symbolic link.
pub(crate) fn open_directory(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(coffer_sys::path::openat2(directory, name, flags, Mode::empty(), resolve)?)
}

/// The names in a directory, sorted, without `.` and `..`.
pub(crate) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}
