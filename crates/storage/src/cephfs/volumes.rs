//! Volumes as directories, and what Ceph does for them: snapshots, limits, counts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use coffer_base::{Bytes, Progress};
use coffer_model::{Config, PoolName, SnapshotName, VolumeKind};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::connection::Connection;
use super::limit;
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::place::{self, Place, Scratch, open_directory, rename_new};
use crate::pool::{Enforcement, Fill, Found, Images, Pool, Resources, Snapshots, Usage};
use crate::tree::{self, TreeError};
use crate::volume::Volume;

/// What a volume's content is called in its directory.
const DATA: &str = "data";

/// Where Ceph keeps the snapshots of a directory, unseen in listings. Source: Ceph's documentation, CephFS snapshots.
const KEPT: &str = ".snap";

/// What a content is called in the scratch directory that made room for another one: the volume's name comes after it. After a
/// kill between two steps it tells where it belongs.
const REPLACED: &str = "replaced_";

/// A pool in a Ceph cluster's own file system.
pub(super) struct CephfsPool {
    pub(super) place: Place,
    pub(super) connection: Connection,
    /// Whether its directory was made for it and goes with it.
    pub(super) made: bool,
}

impl CephfsPool {
    /// Opens a volume's content. A snapshot is Ceph's own, or was brought as a copy and stands where a `dir` pool has it.
    fn content(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        let failed = |cause| self.place.missing_or(volume, "opening", cause);
        if let Some(name) = volume.snapshot_name() {
            match self.kept(&volume.origin()).map(|kept| open_directory(kept.as_fd(), &format!("{name}/{DATA}"))) {
                Ok(Ok(content)) => return Ok(content),
                Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(Err(error)) => return Err(failed(error)),
                Err(StorageError::NoVolume { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let holder = self.place.open_volume(volume)?;
        open_directory(holder.as_fd(), DATA).map_err(failed)
    }

    /// Opens the directory of Ceph's own snapshots of a volume.
    fn kept(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        let holder = self.place.open_volume(volume)?;
        open_directory(holder.as_fd(), KEPT).map_err(|cause| self.place.volume_failed(volume, "looking for the snapshots of", cause))
    }

    /// The names of Ceph's own snapshots of a volume. Those that begin with an underline are of a directory above.
    fn kept_names(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        let kept = match self.kept(volume) {
            Err(StorageError::NoVolume { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let failed = |cause| self.place.volume_failed(volume, "listing the snapshots of", cause);
        let names = place::names(kept.as_fd()).map_err(failed)?;
        Ok(names.iter().filter_map(|name| name.to_str().filter(|name| !name.starts_with('_'))?.parse().ok()).collect())
    }

    fn is_kept(&self, volume: &Volume) -> Result<bool, StorageError> {
        match volume.snapshot_name() {
            Some(name) => Ok(self.kept_names(&volume.origin())?.contains(name)),
            None => Ok(false),
        }
    }

    fn require_free(&self, volume: &Volume) -> Result<(), StorageError> {
        if self.exists(volume)? {
            return Err(StorageError::VolumeExists { pool: self.place.pool.clone(), volume: volume.clone() });
        }
        Ok(())
    }

    fn require_no_snapshots(&self, volume: &Volume) -> Result<(), StorageError> {
        match Snapshots::list(self, volume)?.first() {
            Some(snapshot) if volume.snapshot_name().is_none() => {
                let snapshot = snapshot.to_string();
                Err(StorageError::HasSnapshots { pool: self.place.pool.clone(), volume: volume.clone(), snapshot })
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, volume: &Volume, doing: &'static str, why: &str) -> StorageError {
        StorageError::VolumeRefused { pool: self.place.pool.clone(), volume: volume.clone(), doing, why: why.into() }
    }

    fn require_custom(&self, volume: &Volume) -> Result<(), StorageError> {
        if volume.kind() == VolumeKind::Custom {
            return Ok(());
        }
        Err(self.refuse(volume, "creating", "a pool of driver cephfs holds users' volumes alone: use another pool for instances"))
    }

    /// Refuses a name that Ceph has a use of its own for.
    fn require_name(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        if name.as_str().starts_with('_') {
            return Err(self.refuse(volume, "snapshotting", "Ceph takes no names of snapshots that begin with an underline"));
        }
        Ok(())
    }

    /// Makes a volume's directory in the scratch directory; takes it back if `fill` fails.
    fn prepare(&self, volume: &Volume, fill: Fill<'_>) -> Result<Scratch, StorageError> {
        let scratch = self.place.scratch()?;
        let make = || -> io::Result<OwnedFd> {
            rustix::fs::mkdirat(&scratch.directory, scratch.name.as_str(), Mode::RWXU)?;
            let holder = open_directory(scratch.directory.as_fd(), &scratch.name)?;
            rustix::fs::mkdirat(&holder, DATA, Mode::RWXU)?;
            let data = open_directory(holder.as_fd(), DATA)?;
            place::begin_top(volume, data.as_fd())?;
            Ok(data)
        };
        let filled = make().map_err(|cause| self.place.volume_failed(volume, "creating", cause)).and_then(|data| {
            fill(data.as_fd()).map_err(|cause| self.place.fill_failed(volume, cause))?;
            place::close_top(volume, data.as_fd()).map_err(|cause| self.place.volume_failed(volume, "closing", cause))
        });
        if let Err(error) = filled {
            // What cannot be taken back now goes with the temporaries.
            let _ = discard(&scratch);
            return Err(error);
        }
        Ok(scratch)
    }

    fn duplicate(&self, from: &Volume, to: &Volume, progress: &Progress) -> Result<(), StorageError> {
        self.require_free(to)?;
        let source = self.content(from)?;
        self.create(to, &mut |target| Ok(tree::copy(source.as_fd(), target, progress)?))
    }

    fn reclaim(&self, volume: &Volume, scratch: &Scratch) -> Result<(), StorageError> {
        discard(scratch).map_err(|cause| StorageError::Reclaim { pool: self.place.pool.clone(), volume: volume.clone(), cause })
    }

    /// Lets a prepared content take the place of a volume's, whose snapshots stay. Says where the old one is.
    fn replace(&self, volume: &Volume, prepared: &Scratch) -> Result<Scratch, StorageError> {
        let failed = |cause| self.place.missing_or(volume, "replacing", cause);
        let holder = self.place.open_volume(volume)?;
        let next = open_directory(prepared.directory.as_fd(), &prepared.name).map_err(failed)?;
        let old = Scratch { name: format!("{REPLACED}{}", volume.directory()), ..self.place.scratch()? };
        // The volume has a content: what is left here is of a restore that could not free all.
        self.reclaim(volume, &old)?;
        rename_new(holder.as_fd(), DATA, old.directory.as_fd(), &old.name).map_err(|errno| failed(errno.into()))?;
        if let Err(errno) = rename_new(next.as_fd(), DATA, holder.as_fd(), DATA) {
            // The first failure tells more than a second one would; then the next start of the server puts it back.
            let _ = rename_new(old.directory.as_fd(), &old.name, holder.as_fd(), DATA);
            return Err(failed(errno.into()));
        }
        Ok(old)
    }

    /// Puts a content back that a kill came across while it made room for another one; false if another one is there.
    fn put_back(&self, scratch: &OwnedFd, name: &str) -> Result<bool, StorageError> {
        let volume = name.strip_prefix(REPLACED).and_then(|directory| Volume::parse(VolumeKind::Custom, directory));
        let Some(volume) = volume else { return Ok(false) };
        let holder = match self.place.open_volume(&volume) {
            Err(StorageError::NoVolume { .. }) => return Ok(false),
            other => other?,
        };
        match rename_new(scratch.as_fd(), name, holder.as_fd(), DATA) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.place.volume_failed(&volume, "putting back", errno.into())),
        }
    }
}

fn discard(scratch: &Scratch) -> Result<(), TreeError> {
    tree::remove(scratch.directory.as_fd(), scratch.name.as_ref())
}

impl Pool for CephfsPool {
    fn name(&self) -> &PoolName {
        &self.place.pool
    }

    fn driver(&self) -> DriverKind {
        DriverKind::Cephfs
    }

    fn path(&self) -> &Path {
        &self.place.path
    }

    fn resources(&self) -> Result<Resources, StorageError> {
        self.place.resources()
    }

    fn update(&self, _config: &Config) -> Result<(), StorageError> {
        // No key of this driver has an effect on what is mounted.
        Ok(())
    }

    fn unmount(&self) -> Result<(), StorageError> {
        self.place.unmount()
    }

    fn delete(&self) -> Result<(), StorageError> {
        self.place.require_empty()?;
        self.place.remove_layout()?;
        self.unmount()?;
        if self.made {
            self.connection.remove_directory(&self.place)?;
        }
        self.place.remove_directory()
    }

    fn list(&self) -> Result<Vec<Found>, StorageError> {
        let mut found = self.place.list()?;
        let mut kept = Vec::new();
        for volume in found.iter().filter_map(|found| match found {
            Found::Volume(volume) if volume.snapshot_name().is_none() => Some(volume),
            Found::Volume(_) | Found::Foreign(_) => None,
        }) {
            kept.extend(self.kept_names(volume)?.iter().map(|name| Found::Volume(volume.snapshot(name))));
        }
        found.extend(kept);
        Ok(found)
    }

    fn clear_temporaries(&self) -> Result<usize, StorageError> {
        let (directory, names) = self.place.temporaries()?;
        for name in &names {
            if name.to_str().is_some_and(|name| name.starts_with(REPLACED)) && self.put_back(&directory, &name.to_string_lossy())? {
                continue;
            }
            let removed = tree::remove(directory.as_fd(), name);
            removed.map_err(|cause| StorageError::PoolTree { pool: self.place.pool.clone(), doing: "clearing temporaries of", cause })?;
        }
        Ok(names.len())
    }

    fn create(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError> {
        self.require_custom(volume)?;
        self.require_free(volume)?;
        let scratch = self.prepare(volume, fill)?;
        self.place.publish(&scratch, volume).inspect_err(|_| {
            let _ = discard(&scratch);
            self.place.tidy_snapshots(volume);
        })
    }

    fn copy(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError> {
        self.require_free(to)?;
        let mut made: Vec<Volume> = Vec::new();
        let pairs = snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name))).chain([(from.clone(), to.clone())]);
        for (from, to) in pairs {
            if let Err(error) = self.duplicate(&from, &to, progress) {
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
        let (Some(name), true) = (to.snapshot_name(), self.is_kept(from)?) else { return self.place.rename(from, to) };
        self.require_name(to, name)?;
        self.require_free(to)?;
        let kept = self.kept(&from.origin())?;
        let old = from.snapshot_name().map_or("", SnapshotName::as_str);
        let renamed = rustix::fs::renameat(&kept, old, &kept, name.as_str());
        renamed.map_err(|errno| self.place.missing_or(from, "renaming", errno.into()))
    }

    fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        self.require_no_snapshots(volume)?;
        self.place.require_unmounted(volume)?;
        if self.is_kept(volume)? {
            let name = volume.snapshot_name().map_or("", SnapshotName::as_str);
            let removed = rustix::fs::unlinkat(self.kept(&volume.origin())?, name, AtFlags::REMOVEDIR);
            return removed.map_err(|errno| self.place.missing_or(volume, "removing", errno.into()));
        }
        let scratch = self.place.withdraw(volume)?;
        if volume.snapshot_name().is_some() {
            self.place.tidy_snapshots(volume);
        }
        self.reclaim(volume, &scratch)
    }

    fn exists(&self, volume: &Volume) -> Result<bool, StorageError> {
        Ok(self.is_kept(volume)? || self.place.exists(volume)?)
    }

    fn mount(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.content(volume)
    }

    fn unmount_volume(&self, _volume: &Volume) -> Result<(), StorageError> {
        // A directory is always there.
        Ok(())
    }

    fn usage(&self, volume: &Volume) -> Result<Option<Usage>, StorageError> {
        let content = self.content(volume)?;
        limit::usage(content.as_fd()).map(Some).map_err(|cause| self.place.volume_failed(volume, "measuring", cause))
    }

    fn set_quota(&self, volume: &Volume, size: Option<Bytes>) -> Result<Enforcement, StorageError> {
        let content = self.content(volume)?;
        let set = limit::set(content.as_fd(), size);
        set.map(|()| Enforcement::Enforced).map_err(|cause| self.place.volume_failed(volume, "setting the size of", cause))
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn Images> {
        None
    }
}

impl Snapshots for CephfsPool {
    fn snapshot(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        let kept = self.kept(volume)?;
        self.require_name(volume, name)?;
        let snapshot = volume.snapshot(name);
        self.require_free(&snapshot)?;
        let made = rustix::fs::mkdirat(&kept, name.as_str(), Mode::RWXU);
        made.map_err(|errno| self.place.volume_failed(&snapshot, "creating", errno.into()))
    }

    fn restore(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.place.require_unmounted(volume)?;
        let old = self.content(volume)?;
        let source = self.content(&volume.snapshot(name))?;
        let prepared = self.prepare(volume, &mut |target| {
            limit::inherit(old.as_fd(), target)?;
            Ok(tree::copy(source.as_fd(), target, &Progress::default())?)
        })?;
        drop(old);
        let replaced = self.replace(volume, &prepared);
        // It is empty now, or was not used.
        let discarded = discard(&prepared);
        self.reclaim(volume, &replaced?)?;
        discarded.map_err(|cause| StorageError::Reclaim { pool: self.place.pool.clone(), volume: volume.clone(), cause })
    }

    fn list(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        let mut names = self.place.snapshots(volume)?;
        names.extend(self.kept_names(volume)?);
        names.sort();
        Ok(names)
    }
}
