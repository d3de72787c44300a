//! Volumes as logical volumes: thin ones, which share their data with their copies, or thick ones.

use std::path::PathBuf;

use coffer_base::Bytes;
use coffer_model::{Config, SnapshotName};

use super::ground::Ground;
use super::group::{Group, Stripes};
use super::names;
use crate::block::{self, FileSystem};
use crate::kind::DriverKind;
use crate::mounted::{Clones, Devices, Fault, Info, Limits, Name, Source, Store};
use crate::pool::Resources;

/// The logical volumes of a pool.
pub(super) struct LvmStore {
    pub(super) group: Group,
    /// The thin pool that they are in; thick ones have room of their own.
    pub(super) thin_pool: Option<String>,
    pub(super) ground: Ground,
}

impl LvmStore {
    /// The group, on a device that is there.
    fn group(&self) -> Result<Group, Fault> {
        let device = match &self.ground {
            Ground::File(file) => Some(file.attach()?),
            Ground::Device | Ground::Group => self.group.device.clone(),
        };
        Ok(Group { name: self.group.name.clone(), device })
    }

    /// The same with a thin pool, which is made unless it is there.
    pub(super) fn with_thin_pool(self, name: Option<String>, config: &Config) -> Result<Self, (Self, Fault)> {
        let make = |name: &String| {
            let group = self.group()?;
            let there = group.volumes()?.iter().any(|volume| volume.name == *name);
            let metadata = config.parse::<Bytes>("lvm.thinpool_metadata_size").filter(|size| size.0 > 0);
            if there { Ok(()) } else { group.create_thin_pool(name, metadata) }
        };
        match name.as_ref().map_or(Ok(()), make) {
            Ok(()) => Ok(Self { thin_pool: name, ..self }),
            Err(fault) => Err((self, fault)),
        }
    }

    /// Gives back what the pool is made of: the group, or what is the pool's in a group that is kept.
    pub(super) fn give_back(&self) -> Result<(), Fault> {
        let group = self.group()?;
        match &self.ground {
            Ground::File(file) => {
                group.destroy(&file.attach()?)?;
                Ok(file.remove()?)
            }
            Ground::Device => {
                let device = group.physical_volume()?;
                group.destroy(&device)
            }
            Ground::Group => {
                if let Some(pool) = &self.thin_pool {
                    group.remove(pool)?;
                }
                group.mark(false)
            }
        }
    }
}

impl Store for LvmStore {
    fn driver(&self) -> DriverKind {
        DriverKind::Lvm
    }

    fn scan(&self) -> Result<Vec<(Name, Info)>, Fault> {
        let volumes = self.group()?.volumes()?.into_iter();
        let ours = volumes.filter(|volume| volume.pool == self.thin_pool);
        Ok(ours.filter_map(|volume| Some((names::decode(&volume.name)?, Info { limit: Some(volume.size), used: None }))).collect())
    }

    fn create(&self, name: &Name, config: &Config) -> Result<Info, Fault> {
        let group = self.group()?;
        let kind = config.get("block.filesystem").and_then(FileSystem::named).unwrap_or(FileSystem::Ext4);
        let size = config.parse::<Bytes>("size").unwrap_or(block::DEFAULT_SIZE);
        if size < kind.least_size() {
            return Err(Fault::Refused(format!("{} needs at least {}", kind.as_str(), kind.least_size())));
        }
        let text = names::encode(name);
        let stripes = Stripes::of(config);
        group.create_volume(&text, size, self.thin_pool.as_deref(), &stripes)?;
        if let Err(error) = kind.make(&group.device_of(&text)) {
            // What cannot be removed now goes with the temporaries.
            let _ = group.remove(&text);
            return Err(Fault::Tool(error));
        }
        Ok(Info { limit: Some(block::size_of(&group.device_of(&text))?), used: None })
    }

    fn rename(&self, from: &Name, to: &Name, snapshots: &[SnapshotName]) -> Result<(), Fault> {
        let group = self.group()?;
        group.rename(&names::encode(from), &names::encode(to))?;
        for snapshot in snapshots {
            group.rename(&names::encode(&from.with_snapshot(snapshot)), &names::encode(&to.with_snapshot(snapshot)))?;
        }
        Ok(())
    }

    fn remove(&self, name: &Name) -> Result<(), Fault> {
        self.group()?.remove(&names::encode(name))
    }

    fn replace(&self, next: &Name, volume: &Name, scratch: &Name) -> Result<(), Fault> {
        let group = self.group()?;
        let [next, volume, scratch] = [next, volume, scratch].map(names::encode);
        group.rename(&volume, &scratch)?;
        if let Err(fault) = group.rename(&next, &volume) {
            // The first failure tells more than a second one would.
            let _ = group.rename(&scratch, &volume);
            return Err(fault);
        }
        group.remove(&scratch)
    }

    fn check(&self, keys: &Config) -> Result<(), Fault> {
        block::check_volume(keys)?;
        let Some(key) = ["lvm.stripes", "lvm.stripes.size"].into_iter().find(|key| keys.get(key).is_some()) else { return Ok(()) };
        if self.thin_pool.is_some() {
            return Err(Fault::key(key, "volumes of a thin pool are spread as that is: it is for pools with lvm.use_thinpool=false"));
        }
        let group = self.group()?.look()?;
        let stripes = Stripes::of(keys);
        if let Some(count) = stripes.count.filter(|count| *count as usize > group.devices) {
            let why = format!("volume group {} is on fewer devices than {count}: it has {}", self.group.name, group.devices);
            return Err(Fault::key("lvm.stripes", why));
        }
        match stripes.size {
            Some(size) if size.0 > group.extent => {
                let why =
                    format!("volume group {} is made of pieces of {}, and a stripe is no larger", self.group.name, Bytes(group.extent));
                Err(Fault::key("lvm.stripes.size", why))
            }
            _ => Ok(()),
        }
    }

    fn attach(&self, name: &Name, config: &Config) -> Result<Source, Fault> {
        let device = self.group()?.device_of(&names::encode(name));
        if !device.exists() {
            return Err(Fault::Missing);
        }
        let kind =
            FileSystem::probe(&device)?.ok_or_else(|| Fault::Refused("there is no file system on it that this server knows".into()))?;
        let (mut options, attributes) = block::parse(kind, config.get("block.mount_options"));
        if kind == FileSystem::Ext4 && self.thin_pool.is_some() {
            // A thin volume reads as zeros where nothing was written: writing them would only take room.
            options.push(("noinit_itable".into(), None));
        }
        Ok(Source { file_system: kind.as_str(), device, options, attributes })
    }

    fn detach(&self, _name: &Name) -> Result<(), Fault> {
        // Volumes stay visible as long as the pool is open.
        Ok(())
    }

    fn limits(&self) -> Limits<'_> {
        Limits::Devices(self)
    }

    fn clones(&self) -> Option<&dyn Clones> {
        self.thin_pool.is_some().then_some(self as &dyn Clones)
    }

    fn resources(&self) -> Result<Resources, Fault> {
        let group = self.group()?;
        let (space_total, space_used) = match &self.thin_pool {
            Some(pool) => {
                let pool = group.volume(pool)?;
                (pool.size, (pool.size as f64 * pool.percent.unwrap_or_default() / 100.0) as u64)
            }
            None => {
                let group = group.look()?;
                (group.size, group.size.saturating_sub(group.free))
            }
        };
        Ok(Resources { space_total, space_used, inodes_total: 0, inodes_used: 0 })
    }

    fn update(&self, config: &Config) -> Result<(), Fault> {
        if let (Ground::File(file), Some(size)) = (&self.ground, config.parse::<Bytes>("size"))
            && file.grow(size)?
        {
            self.group()?.grow(&file.attach()?, self.thin_pool.as_deref())?;
        }
        Ok(())
    }

    fn close(&self) -> Result<(), Fault> {
        match self.ground {
            // Others may use volumes of a group that is not ours alone.
            Ground::Group => Ok(()),
            Ground::Device => self.group()?.activate(false),
            Ground::File(ref file) => {
                self.group()?.activate(false)?;
                file.release();
                Ok(())
            }
        }
    }

    fn destroy(&self) -> Result<(), Fault> {
        self.give_back()
    }
}

impl Devices for LvmStore {
    fn resize(&self, name: &Name, size: Bytes) -> Result<u64, Fault> {
        self.group()?.resize(&names::encode(name), size)
    }
}

impl Clones for LvmStore {
    fn clone_thing(&self, from: &Name, to: &Name, _config: &Config) -> Result<(), Fault> {
        let group = self.group()?;
        let [from, to] = [from, to].map(names::encode);
        let device: PathBuf = group.device_of(&from);
        if FileSystem::probe(&device)? != Some(FileSystem::Btrfs) {
            return group.snapshot(&from, &to);
        }
        // Until it has an identity of its own it must not be seen beside its origin.
        let making = names::encode(&Name::scratch(format!("clone-{to}")));
        group.snapshot(&from, &making)?;
        let made = FileSystem::Btrfs.renew(&group.device_of(&making)).map_err(Fault::Tool).and_then(|()| group.rename(&making, &to));
        made.inspect_err(|_| drop(group.remove(&making)))
    }
}
