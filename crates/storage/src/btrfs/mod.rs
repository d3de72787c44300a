//! The `btrfs` driver: every volume is a subvolume; images, snapshots and copies share their data.

mod backing;
mod options;
mod streams;
mod subvolume;
mod succession;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use coffer_base::{Bytes, Progress, run};
use coffer_model::{Config, Fingerprint, PoolName, SnapshotName};
use coffer_sys::btrfs;

use self::backing::Backing;
pub(crate) use self::options::check as check_options;
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::place::{Place, Scratch};
use crate::pool::{Enforcement, Fill, Found, History, Images, Pool, PoolSpec, Resources, Snapshots, Streams, Succession, Usage};
use crate::tree::TreeError;
use crate::unpacking::Unpacking;
use crate::volume::Volume;

/// The smallest file system that mkfs.btrfs makes with its defaults is a little smaller than this.
pub(crate) const LEAST_SIZE: Bytes = Bytes(128 << 20);

/// A pool on a btrfs file system.
struct BtrfsPool {
    place: Place,
    backing: Backing,
    unpacking: Unpacking,
}

/// Says whether the kernel knows btrfs and the program that makes it is installed.
pub(crate) fn available() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.lines().any(|line| line.trim() == "btrfs"));
    let module = || {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Path::new("/lib/modules").join(release.trim()).join("kernel/fs/btrfs").exists()
    };
    run::installed("mkfs.btrfs") && (known || module())
}

/// The version of the installed programs; asked once.
pub(crate) fn version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let ask = || {
        let output = run::Program::new("mkfs.btrfs").arg("--version").run().unwrap_or_default();
        output.stdout.rsplit('v').next().unwrap_or_default().trim().to_owned()
    };
    VERSION.get_or_init(ask).clone()
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    if !available() {
        let why = "it needs the kernel's btrfs and the program mkfs.btrfs (package btrfs-progs)";
        return Err(StorageError::DriverMissing { driver: "btrfs", why });
    }
    let (place, backing) = backing::create(spec, warn)?;
    Ok(Box::new(BtrfsPool { place, backing, unpacking: Unpacking::default() }))
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    let (place, backing) = backing::open(spec)?;
    Ok(Box::new(BtrfsPool { place, backing, unpacking: Unpacking::default() }))
}

impl BtrfsPool {
    /// Makes a snapshot of one volume under the name of another, taking nested subvolumes along.
    fn clone_volume(&self, from: &Volume, to: &Volume, read_only: bool) -> Result<(), StorageError> {
        let source = self.place.open_volume(from)?;
        let failed = |cause| self.place.volume_failed(to, "creating", cause);
        if subvolume::has_children(source.as_fd()).map_err(failed)? {
            let scratch = self.place.scratch()?;
            let made = self.clone_deeply(source.as_fd(), &scratch, to).and_then(|()| self.place.publish(&scratch, to));
            made.inspect_err(|_| self.discard_quietly(&scratch))?;
            if read_only {
                // Only now: a read-only subvolume cannot move to another directory.
                let made = self.place.open_volume(to)?;
                btrfs::set_read_only(made.as_fd(), true).map_err(failed)?;
            }
            return Ok(());
        }
        let spot = self.place.spot(to, true)?;
        match btrfs::create_snapshot(spot.directory.as_fd(), spot.name.as_ref(), source.as_fd(), read_only) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(StorageError::VolumeExists { pool: self.place.pool.clone(), volume: to.clone() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn clone_deeply(&self, source: BorrowedFd<'_>, scratch: &Scratch, to: &Volume) -> Result<(), StorageError> {
        subvolume::clone_tree(source, scratch.directory.as_fd(), scratch.name.as_ref())
            .map_err(|cause| self.place.volume_failed(to, "creating", cause))
    }

    fn discard(&self, scratch: &Scratch) -> Result<(), TreeError> {
        subvolume::remove(scratch.directory.as_fd(), scratch.name.as_ref())
    }

    fn discard_quietly(&self, scratch: &Scratch) {
        // What cannot be taken back now goes with the temporaries.
        let _ = self.discard(scratch);
    }

    fn reclaim(&self, volume: &Volume, scratch: &Scratch) -> Result<(), StorageError> {
        self.discard(scratch).map_err(|cause| StorageError::Reclaim { pool: self.place.pool.clone(), volume: volume.clone(), cause })
    }

    /// Gives a new subvolume the size limit of an old one.
    fn inherit_limit(&self, volume: &Volume, old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<(), StorageError> {
        let inherit = || -> std::io::Result<()> {
            let group = btrfs::quota_group(old, btrfs::subvolume_id(old)?)?;
            match group.and_then(|group| group.limit) {
                Some(limit) => btrfs::set_quota_limit(new, btrfs::subvolume_id(new)?, Some(limit)),
                None => Ok(()),
            }
        };
        inherit().map_err(|cause| self.place.volume_failed(volume, "limiting the size of", cause))
    }
}

impl Pool for BtrfsPool {
    fn name(&self) -> &PoolName {
        &self.place.pool
    }

    fn driver(&self) -> DriverKind {
        DriverKind::Btrfs
    }

    fn path(&self) -> &Path {
        &self.place.path
    }

    fn resources(&self) -> Result<Resources, StorageError> {
        self.place.resources()
    }

    fn update(&self, config: &Config) -> Result<(), StorageError> {
        self.backing.update(&self.place, config)
    }

    fn unmount(&self) -> Result<(), StorageError> {
        if self.place.mounted { self.place.unmount() } else { Ok(()) }
    }

    fn delete(&self) -> Result<(), StorageError> {
        self.place.require_empty()?;
        for found in self.place.list()? {
            if let Found::Volume(image) = found {
                self.delete_volume(&image)?;
            }
        }
        self.clear_temporaries()?;
        self.backing.delete(&self.place)
    }

    fn list(&self) -> Result<Vec<Found>, StorageError> {
        self.place.list()
    }

    fn clear_temporaries(&self) -> Result<usize, StorageError> {
        let (directory, names) = self.place.temporaries()?;
        for name in &names {
            let removed = subvolume::remove(directory.as_fd(), name);
            removed.map_err(|cause| StorageError::PoolTree { pool: self.place.pool.clone(), doing: "clearing temporaries of", cause })?;
        }
        Ok(names.len())
    }

    fn create(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError> {
        self.place.require_free(volume)?;
        let scratch = self.place.scratch()?;
        let failed = |cause| self.place.volume_failed(volume, "creating", cause);
        let make = || -> std::io::Result<OwnedFd> {
            btrfs::create_subvolume(scratch.directory.as_fd(), scratch.name.as_ref())?;
            let directory = crate::place::open_directory(scratch.directory.as_fd(), &scratch.name)?;
            crate::place::begin_top(volume, directory.as_fd())?;
            Ok(directory)
        };
        let filled = make().map_err(failed).and_then(|directory| {
            fill(directory.as_fd()).map_err(|cause| self.place.fill_failed(volume, cause))?;
            crate::place::close_top(volume, directory.as_fd()).map_err(failed)
        });
        filled.and_then(|()| self.place.publish(&scratch, volume)).inspect_err(|_| {
            self.discard_quietly(&scratch);
            if volume.snapshot_name().is_some() {
                self.place.tidy_snapshots(volume);
            }
        })?;
        if volume.snapshot_name().is_some() {
            let made = self.place.open_volume(volume)?;
            btrfs::set_read_only(made.as_fd(), true).map_err(failed)?;
        }
        Ok(())
    }

    fn copy(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], _progress: &Progress) -> Result<(), StorageError> {
        self.place.require_free(to)?;
        let mut made: Vec<Volume> = Vec::new();
        let snapshots = snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name), true));
        let last = (from.clone(), to.clone(), to.snapshot_name().is_some());
        for (from, to, read_only) in snapshots.chain([last]) {
            if let Err(error) = self.clone_volume(&from, &to, read_only) {
                for volume in &made {
                    // What cannot be taken back shows as a leftover.
                    let _ = self.delete_volume(volume);
                }
                return Err(error);
            }
            made.push(to);
        }
        Ok(())
    }

    fn rename(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        self.place.rename(from, to)
    }

    fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        self.place.require_no_snapshots(volume)?;
        self.place.require_unmounted(volume)?;
        let spot = self.place.spot(volume, false)?;
        let failed = |cause| self.place.missing_or(volume, "removing", cause);
        let directory = crate::place::open_directory(spot.directory.as_fd(), &spot.name).map_err(failed)?;
        let plain =
            btrfs::is_subvolume(directory.as_fd()).map_err(failed)? && !subvolume::has_children(directory.as_fd()).map_err(failed)?;
        if plain {
            // One call removes it, whole and at once.
            let id = btrfs::subvolume_id(directory.as_fd()).map_err(failed)?;
            drop(directory);
            subvolume::destroy(spot.directory.as_fd(), id).map_err(failed)?;
        } else {
            btrfs::set_read_only(directory.as_fd(), false).map_err(failed)?;
            drop(directory);
            let scratch = self.place.withdraw(volume)?;
            self.reclaim(volume, &scratch)?;
        }
        if volume.snapshot_name().is_some() {
            self.place.tidy_snapshots(volume);
        }
        Ok(())
    }

    fn exists(&self, volume: &Volume) -> Result<bool, StorageError> {
        self.place.exists(volume)
    }

    fn mount(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.place.open_volume(volume)
    }

    fn unmount_volume(&self, _volume: &Volume) -> Result<(), StorageError> {
        // A subvolume is always there.
        Ok(())
    }

    fn usage(&self, volume: &Volume) -> Result<Option<Usage>, StorageError> {
        let directory = self.place.open_volume(volume)?;
        let ask = || btrfs::quota_group(directory.as_fd(), btrfs::subvolume_id(directory.as_fd())?);
        let group = ask().map_err(|cause| self.place.volume_failed(volume, "measuring", cause))?;
        Ok(group.map(|group| Usage { used: group.referenced, exclusive: Some(group.exclusive), limit: group.limit }))
    }

    fn set_quota(&self, volume: &Volume, size: Option<Bytes>) -> Result<Enforcement, StorageError> {
        let directory = self.place.open_volume(volume)?;
        let set = || -> std::io::Result<()> {
            match size {
                // Counting costs every write something, so it is off until somebody asks for a size.
                Some(_) => btrfs::enable_quota(directory.as_fd())?,
                None if !btrfs::quota_enabled(directory.as_fd())? => return Ok(()),
                None => {}
            }
            btrfs::set_quota_limit(directory.as_fd(), btrfs::subvolume_id(directory.as_fd())?, size.map(|size| size.0))
        };
        set().map_err(|cause| self.place.volume_failed(volume, "limiting the size of", cause))?;
        Ok(Enforcement::Enforced)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn succession(&self) -> Option<&dyn Succession> {
        Some(self)
    }
}

impl Snapshots for BtrfsPool {
    fn commits(&self) -> bool {
        // The call writes out the volume's data and commits the file system's transaction, in which the snapshot comes to be.
        true
    }

    fn snapshot(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.clone_volume(&volume.origin(), &volume.snapshot(name), true)
    }

    fn restore(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.place.require_unmounted(volume)?;
        let source = self.place.open_volume(&volume.snapshot(name))?;
        let old = self.place.open_volume(volume)?;
        let scratch = self.place.scratch()?;
        let replaced = self.clone_deeply(source.as_fd(), &scratch, volume).and_then(|()| {
            let new = crate::place::open_directory(scratch.directory.as_fd(), &scratch.name);
            let new = new.map_err(|cause| self.place.volume_failed(volume, "opening", cause))?;
            self.inherit_limit(volume, old.as_fd(), new.as_fd())?;
            self.place.exchange(&scratch, volume)
        });
        drop(old);
        match replaced {
            Ok(()) => self.reclaim(volume, &scratch),
            Err(error) => {
                self.discard_quietly(&scratch);
                Err(error)
            }
        }
    }

    fn list(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        self.place.snapshots(volume)
    }
}

impl Images for BtrfsPool {
    fn ensure(&self, image: &Fingerprint, fill: Fill<'_>) -> Result<bool, StorageError> {
        let volume = Volume::image(image);
        self.unpacking.once(image, || {
            let made = if self.place.exists(&volume)? { false } else { self.create(&volume, fill).map(|()| true)? };
            let directory = self.place.open_volume(&volume)?;
            // Also for one that was made before: the server may have ended between the two steps.
            btrfs::set_read_only(directory.as_fd(), true).map_err(|cause| self.place.volume_failed(&volume, "closing", cause))?;
            Ok(made)
        })
    }

    fn clone_image(&self, image: &Fingerprint, volume: &Volume) -> Result<(), StorageError> {
        self.clone_volume(&Volume::image(image), volume, false)
    }
}
