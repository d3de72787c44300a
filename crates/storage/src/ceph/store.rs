//! Volumes as RBD images with a file system on each: a copy or snapshot is a clone, which shares the data of what it was made from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coffer_base::Bytes;
use coffer_model::{Config, SnapshotName, VolumeKind};
use uuid::Uuid;

use super::cluster::Cluster;
use super::family::Family;
use super::give_back;
use crate::block::{self, FileSystem};
use crate::kind::DriverKind;
use crate::mounted::{Base, Clones, Devices, Fault, Info, Limits, Name, Source, Spelling, Store};
use crate::pool::Resources;

/// What images are called.
const SPELLING: Spelling = Spelling('_');

/// The images of a pool.
pub(super) struct CephStore {
    cluster: Arc<Cluster>,
    family: Family,
    /// Whether the OSD pool was made for this pool and goes with it.
    ours: bool,
    /// Which file system an image has, as far as this server has seen it.
    kinds: Mutex<BTreeMap<String, FileSystem>>,
}

impl CephStore {
    pub(super) fn new(cluster: Arc<Cluster>, ours: bool) -> Self {
        Self { family: Family::new(cluster.clone()), cluster, ours, kinds: Mutex::default() }
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<String, FileSystem>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rename_image(&self, from: &str, to: &str) -> Result<(), Fault> {
        // A device keeps the name that its image had when it was made.
        self.cluster.unmap(from)?;
        self.family.rename(from, to)?;
        let mut kinds = self.kinds();
        if let Some(kind) = kinds.remove(from) {
            kinds.insert(to.to_owned(), kind);
        }
        Ok(())
    }

    fn remove_image(&self, image: &str) -> Result<(), Fault> {
        self.cluster.unmap(image)?;
        self.family.remove(image)?;
        self.kinds().remove(image);
        Ok(())
    }

    /// Makes a clone that has an identity of its own before it has its name.
    fn clone_and_renew(&self, from: &str, frozen: bool, to: &str) -> Result<(), Fault> {
        let making = SPELLING.encode(&Name::scratch(format!("clone-{}", Uuid::new_v4())));
        let renew = || {
            let device = self.cluster.map(&making)?;
            if let Some(kind) = FileSystem::probe(&device)? {
                kind.renew(&device).map_err(Fault::Tool)?;
            }
            self.rename_image(&making, to)
        };
        self.family.clone(from, frozen, &making)?;
        // What cannot be removed now goes with the temporaries.
        renew().inspect_err(|_| drop(self.remove_image(&making)))
    }
}

/// Says whether a thing never changes once it is whole.
fn is_frozen(name: &Name) -> bool {
    let image = matches!(&name.base, Base::Volume(volume) if volume.kind() == VolumeKind::Image);
    image || name.snapshot.is_some()
}

impl Store for CephStore {
    fn driver(&self) -> DriverKind {
        DriverKind::Ceph
    }

    fn scan(&self) -> Result<Vec<(Name, Info)>, Fault> {
        let images = self.family.scan()?.into_iter();
        Ok(images.filter_map(|(name, size)| Some((SPELLING.decode(&name)?, Info { limit: Some(size), used: None }))).collect())
    }

    fn create(&self, name: &Name, config: &Config) -> Result<Info, Fault> {
        let kind = config.get("block.filesystem").and_then(FileSystem::named).unwrap_or(FileSystem::Ext4);
        let size = config.parse::<Bytes>("size").unwrap_or(block::DEFAULT_SIZE);
        if size < kind.least_size() {
            return Err(Fault::Refused(format!("{} needs at least {}", kind.as_str(), kind.least_size())));
        }
        let image = SPELLING.encode(name);
        self.family.create(&image, size)?;
        // It stays a device until what fills it is done.
        let made = self.cluster.map(&image).and_then(|device| kind.make(&device).map_err(Fault::Tool));
        if let Err(fault) = made {
            // What cannot be removed now goes with the temporaries.
            let _ = self.remove_image(&image);
            return Err(fault);
        }
        self.kinds().insert(image, kind);
        Ok(Info { limit: Some(size.0), used: None })
    }

    fn rename(&self, from: &Name, to: &Name, snapshots: &[SnapshotName]) -> Result<(), Fault> {
        self.rename_image(&SPELLING.encode(from), &SPELLING.encode(to))?;
        for snapshot in snapshots {
            self.rename_image(&SPELLING.encode(&from.with_snapshot(snapshot)), &SPELLING.encode(&to.with_snapshot(snapshot)))?;
        }
        Ok(())
    }

    fn remove(&self, name: &Name) -> Result<(), Fault> {
        self.remove_image(&SPELLING.encode(name))
    }

    fn replace(&self, next: &Name, volume: &Name, scratch: &Name) -> Result<(), Fault> {
        let [next, volume, scratch] = [next, volume, scratch].map(|name| SPELLING.encode(name));
        self.rename_image(&volume, &scratch)?;
        if let Err(fault) = self.rename_image(&next, &volume) {
            // The first failure tells more than a second one would.
            let _ = self.rename_image(&scratch, &volume);
            return Err(fault);
        }
        self.remove_image(&scratch)
    }

    fn check(&self, keys: &Config) -> Result<(), Fault> {
        block::check_volume(keys)
    }

    fn attach(&self, name: &Name, config: &Config) -> Result<Source, Fault> {
        let image = SPELLING.encode(name);
        let device = self.cluster.map(&image)?;
        let kind =
            FileSystem::probe(&device)?.ok_or_else(|| Fault::Refused("there is no file system on it that this server knows".into()))?;
        self.kinds().insert(image, kind);
        let (mut options, attributes) = block::parse(kind, config.get("block.mount_options"));
        if kind == FileSystem::Ext4 {
            // What was never written reads as zeros: writing them would only take room.
            options.push(("noinit_itable".into(), None));
        }
        Ok(Source { file_system: kind.as_str(), device, options, attributes })
    }

    fn detach(&self, name: &Name) -> Result<(), Fault> {
        self.cluster.unmap(&SPELLING.encode(name))
    }

    fn limits(&self) -> Limits<'_> {
        Limits::Devices(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        Some(self)
    }

    fn copies_share(&self, config: &Config) -> bool {
        config.flag("ceph.rbd.clone_copy", true)
    }

    fn tidy(&self) -> Result<usize, Fault> {
        self.family.tidy()
    }

    fn resources(&self) -> Result<Resources, Fault> {
        let (used, free) = self.cluster.room()?;
        Ok(Resources { space_total: used + free, space_used: used, inodes_total: 0, inodes_used: 0 })
    }

    fn answers(&self) -> bool {
        self.cluster.answered_lately() || self.cluster.room().is_ok()
    }

    fn update(&self, _config: &Config) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&self) -> Result<(), Fault> {
        // The cluster is there with or without us.
        Ok(())
    }

    fn destroy(&self) -> Result<(), Fault> {
        give_back(&self.cluster, self.ours)
    }
}

impl Devices for CephStore {
    fn resize(&self, name: &Name, size: Bytes) -> Result<u64, Fault> {
        self.family.resize(&SPELLING.encode(name), size).map(|()| size.0)
    }
}

impl Clones for CephStore {
    fn clone_thing(&self, from: &Name, to: &Name, _config: &Config) -> Result<(), Fault> {
        let (image, target) = (SPELLING.encode(from), SPELLING.encode(to));
        let kind = self.kinds().get(&image).copied();
        match kind {
            Some(FileSystem::Ext4 | FileSystem::Xfs) => self.family.clone(&image, is_frozen(from), &target)?,
            // A btrfs must not be seen beside its origin until it has another identity; what is not known may be one.
            Some(FileSystem::Btrfs) | None => self.clone_and_renew(&image, is_frozen(from), &target)?,
        }
        if let Some(kind) = kind {
            self.kinds().insert(target, kind);
        }
        Ok(())
    }
}
