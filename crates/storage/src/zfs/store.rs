//! Volumes as datasets: a copy or snapshot is a clone, which shares the data of what it was made from.

use std::path::PathBuf;

use coffer_base::Bytes;
use coffer_base::run::RunError;
use coffer_model::{Config, SnapshotName};
use rustix::mount::MountAttrFlags;
use uuid::Uuid;

use super::dataset::{self, Root};
use super::ground::Ground;
use super::lineage::{self, DELETED};
use super::properties;
use crate::kind::DriverKind;
use crate::mounted::{Base, Clones, Fault, Info, Limits, Name, Quotas, Replication, Source, Spelling, Store};
use crate::pool::Resources;

/// What datasets are called below the pool's.
pub(super) const SPELLING: Spelling = Spelling('/');

/// The snapshot of something that never changes again, which all of its clones are made from.
pub(super) const READ_ONLY: &str = "readonly";

/// What the names of other snapshots begin with.
pub(super) const COPY: &str = "copy-";

/// The datasets of a pool.
pub(super) struct ZfsStore {
    pub(super) root: Root,
    pub(super) ground: Ground,
    /// Whether the ZFS pool is taken off the host when it is not used.
    pub(super) export: bool,
}

impl ZfsStore {
    /// Makes the datasets that structure the others, as far as they are missing.
    pub(super) fn lay_out(&self) -> Result<(), Fault> {
        let there = self.root.datasets()?;
        let missing = Spelling::kinds().chain([DELETED]).filter(|kind| !there.iter().any(|found| found.name == self.root.below(kind)));
        missing.into_iter().try_for_each(|kind| self.root.ensure_folder(kind))
    }

    pub(super) fn path(&self, name: &Name) -> String {
        self.root.below(&SPELLING.encode(name))
    }

    /// Refuses files with blocks that the ZFS pool does not take.
    pub(super) fn require_block(&self, key: &'static str, config: &Config) -> Result<(), Fault> {
        let Some(size) = config.parse::<Bytes>(key).filter(|size| *size > properties::ALWAYS_TAKEN) else { return Ok(()) };
        let most = properties::largest_block(self.root.has_large_blocks()?)?;
        if size <= most {
            return Ok(());
        }
        Err(Fault::key(key, format!("ZFS pool {} takes blocks of at most {most}", self.root.zpool())))
    }

    /// The snapshot to clone something from, or to send.
    pub(super) fn origin_of(&self, from: &Name) -> Result<String, Fault> {
        let path = self.path(from);
        if !is_frozen(from) {
            let origin = format!("{path}@{COPY}{}", Uuid::new_v4());
            return dataset::snapshot(&origin).map(|()| origin);
        }
        let origin = format!("{path}@{READ_ONLY}");
        let lineage = dataset::lineage(&path)?;
        if lineage.snapshots.iter().any(|(name, _)| *name == origin) {
            return Ok(origin);
        }
        // What it is itself a clone of has the same content, and then nothing has to be kept for it once it is removed. Only what was
        // received is other than that, and it has a state of its own.
        if let Some(origin) = lineage.origin {
            return Ok(origin);
        }
        match dataset::snapshot(&origin) {
            Err(Fault::Tool(RunError::Failed { stderr, .. })) if stderr.contains("already exists") => Ok(origin),
            made => made.map(|()| origin),
        }
    }
}

/// Says whether a thing never changes once it is whole.
pub(super) fn is_frozen(name: &Name) -> bool {
    let image = matches!(&name.base, Base::Volume(volume) if volume.kind() == coffer_model::VolumeKind::Image);
    image || name.snapshot.is_some()
}

impl Store for ZfsStore {
    fn driver(&self) -> DriverKind {
        DriverKind::Zfs
    }

    fn scan(&self) -> Result<Vec<(Name, Info)>, Fault> {
        let prefix = self.root.below("");
        let found = self.root.datasets()?.into_iter();
        let ours = found.filter_map(|found| {
            let name = SPELLING.decode(found.name.strip_prefix(&prefix)?)?;
            Some((name, Info { limit: found.limit, used: None }))
        });
        Ok(ours.collect())
    }

    fn create(&self, name: &Name, config: &Config) -> Result<Info, Fault> {
        let size: Option<Bytes> = config.parse("size");
        let mut properties = properties::limits(size, config);
        // A new one has no others.
        properties.retain(|property| !property.ends_with("=none"));
        properties.extend(properties::block_size(config));
        dataset::create(&self.path(name), &properties)?;
        Ok(Info { limit: size.map(|size| size.0), used: None })
    }

    fn rename(&self, from: &Name, to: &Name, snapshots: &[SnapshotName]) -> Result<(), Fault> {
        dataset::rename(&self.path(from), &self.path(to))?;
        for snapshot in snapshots {
            dataset::rename(&self.path(&from.with_snapshot(snapshot)), &self.path(&to.with_snapshot(snapshot)))?;
        }
        Ok(())
    }

    fn remove(&self, name: &Name) -> Result<(), Fault> {
        lineage::remove(&self.root, &self.path(name))
    }

    fn replace(&self, next: &Name, volume: &Name, scratch: &Name) -> Result<(), Fault> {
        let [next, volume, scratch] = [next, volume, scratch].map(|name| self.path(name));
        dataset::rename(&volume, &scratch)?;
        if let Err(fault) = dataset::rename(&next, &volume) {
            // The first failure tells more than a second one would.
            let _ = dataset::rename(&scratch, &volume);
            return Err(fault);
        }
        let from_replaced = dataset::lineage(&volume)?.origin.is_some_and(|origin| origin.starts_with(&format!("{scratch}@")));
        if from_replaced {
            // Else the old state had to be kept as long as the new one; where a quota forbids this, it is.
            let _ = dataset::promote(&volume);
        }
        lineage::remove(&self.root, &scratch)
    }

    fn check(&self, keys: &Config) -> Result<(), Fault> {
        self.require_block("zfs.blocksize", keys)
    }

    fn configure(&self, name: &Name, before: &Config, after: &Config, limit: Option<Bytes>) -> Result<(), Fault> {
        let path = self.path(name);
        let (old, new) = (properties::block_size(before), properties::block_size(after));
        if new.is_empty() && !old.is_empty() {
            dataset::unset(&path, properties::BLOCK_SIZE)?;
        } else if new != old {
            dataset::set(&path, &new)?;
        }
        if properties::limits(limit, before) != properties::limits(limit, after) {
            dataset::set(&path, &properties::limits(limit, after))?;
        }
        Ok(())
    }

    fn attach(&self, name: &Name, _config: &Config) -> Result<Source, Fault> {
        let device = PathBuf::from(self.path(name));
        Ok(Source { file_system: "zfs", device, options: Vec::new(), attributes: MountAttrFlags::MOUNT_ATTR_NOATIME })
    }

    fn detach(&self, _name: &Name) -> Result<(), Fault> {
        // A dataset is there without being attached.
        Ok(())
    }

    fn limits(&self) -> Limits<'_> {
        Limits::Quotas(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        Some(self)
    }

    fn replication(&self) -> Option<&dyn Replication> {
        Some(self)
    }

    fn copies_share(&self, config: &Config) -> bool {
        config.flag("zfs.clone_copy", true)
    }

    fn resources(&self) -> Result<Resources, Fault> {
        let (used, free) = self.root.room()?;
        Ok(Resources { space_total: used + free, space_used: used, inodes_total: 0, inodes_used: 0 })
    }

    fn update(&self, config: &Config) -> Result<(), Fault> {
        self.require_block("volume.zfs.blocksize", config)?;
        match (&self.ground, config.parse::<Bytes>("size")) {
            (Ground::File(file), Some(size)) => super::ground::grow(file, size, &self.root),
            _ => Ok(()),
        }
    }

    fn tidy(&self) -> Result<usize, Fault> {
        lineage::tidy(&self.root)
    }

    fn close(&self) -> Result<(), Fault> {
        match self.ground {
            Ground::File(_) | Ground::Device if self.export => dataset::export_pool(self.root.zpool()),
            Ground::File(_) | Ground::Device | Ground::Dataset => Ok(()),
        }
    }

    fn destroy(&self) -> Result<(), Fault> {
        self.ground.give_back(&self.root)
    }
}

impl Quotas for ZfsStore {
    fn limit(&self, name: &Name, size: Option<Bytes>, config: &Config) -> Result<(), Fault> {
        dataset::set(&self.path(name), &properties::limits(size, config))
    }
}

impl Clones for ZfsStore {
    fn clone_thing(&self, from: &Name, to: &Name, config: &Config) -> Result<(), Fault> {
        let origin = self.origin_of(from)?;
        dataset::clone(&origin, &self.path(to), &properties::block_size(config)).inspect_err(|_| {
            // What was kept for the clone alone; if something else was cloned from it, it stays.
            let _ = lineage::release(&self.root, &origin);
        })
    }
}
