//! Storage pools and the volumes in them.

mod missing;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coffer_base::{Bytes, Undo, fault};
use coffer_model::device::{Device, DiskSource};
use coffer_model::{Config, IdMap, Instance, Pool, PoolName};
use coffer_storage::tree::Shift;
use coffer_storage::{DriverKind, Pool as Driver, PoolSpec, Resources, StorageError, Volume};
use coffer_store::Conn;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::EngineError;
use crate::events::Caller;
use crate::instance::resolve;
use crate::instance::start::Loaded;
use crate::request::PoolView;
use crate::{Engine, Precondition, used_by};

/// The pools that are open, one driver object each: it also holds the pool's locks; and those that should be.
#[derive(Default)]
pub(crate) struct Pools {
    open: Mutex<HashMap<PoolName, Arc<dyn Driver>>>,
    missing: Mutex<Missing>,
}

/// The pools that were made once and cannot be opened now.
#[derive(Default)]
struct Missing {
    names: BTreeSet<PoolName>,
    /// Whether a thread waits for them.
    watched: bool,
}

/// An instance's root, ready to start from.
pub(crate) struct MountedRoot {
    pub rootfs: OwnedFd,
    pub idmapped: bool,
}

impl Pools {
    /// Remembers the driver of a pool that was taken in.
    pub(crate) fn remember(&self, name: &PoolName, driver: Arc<dyn Driver>) {
        self.lock().entry(name.clone()).or_insert(driver);
    }

    /// Forgets the driver of a pool that is gone.
    pub(crate) fn forget(&self, name: &PoolName) {
        self.lock().remove(name);
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PoolName, Arc<dyn Driver>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Lists pools with their users.
    ///
    /// # Errors
    /// Only the store's.
    pub fn pools(&self) -> Result<Vec<PoolView>, EngineError> {
        Ok(self.inner.store.read(|conn| {
            let pools = coffer_store::pool::list(conn)?;
            pools.into_iter().map(|pool| self.pool_view(conn, pool)).collect()
        })?)
    }

    /// Reads one pool with its users.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn pool(&self, name: &PoolName) -> Result<PoolView, EngineError> {
        let found =
            self.inner.store.read(|conn| coffer_store::pool::get(conn, name)?.map(|pool| self.pool_view(conn, pool)).transpose())?;
        found.ok_or_else(|| EngineError::not_found("storage pool", name))
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// If the driver is unknown, a key is refused, the name is taken, or the driver cannot make it.
    pub fn create_pool(
        &self,
        caller: &Caller,
        name: PoolName,
        driver: &str,
        description: String,
        config: Config,
    ) -> Result<(), EngineError> {
        let kind: DriverKind = driver.parse()?;
        coffer_storage::config::check_pool(&name, kind, &config)?;
        let cut = |cause| EngineError::system("creating the pool", cause);
        let store = &self.inner.store;
        let recorded = Pool { name: name.clone(), description, driver: kind.to_string(), config: config.clone(), made: false };
        store.write(|tx| coffer_store::pool::insert(tx, &recorded))?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a pool: {warning}"));
        undo.push(format!("forgetting pool {name}"), || store.write(|tx| coffer_store::pool::delete(tx, &name)));
        fault::point("pool.recorded").map_err(cut)?;
        let mut spec = PoolSpec { name: name.clone(), driver: kind, config, state_dir: self.inner.settings.dir.clone() };
        let made: Arc<dyn Driver> = coffer_storage::create_pool(&mut spec, &|warning| tracing::warn!("{warning}"))?.into();
        undo.push(format!("removing pool {name}"), {
            let made = made.clone();
            move || made.delete()
        });
        fault::point("pool.made").map_err(cut)?;
        store.write(|tx| {
            coffer_store::pool::update(tx, &Pool { config: spec.config.clone(), ..recorded.clone() })?;
            coffer_store::pool::set_made(tx, &name, true)
        })?;
        undo.keep();
        self.inner.pools.lock().insert(name.clone(), made);
        self.tell_pool(&name, "storage-pool-created", caller);
        Ok(())
    }

    /// Replaces a pool's configuration.
    ///
    /// # Errors
    /// If it does not exist, changed since the client read it, or the driver refuses.
    pub fn update_pool(
        &self,
        caller: &Caller,
        name: &PoolName,
        description: String,
        config: Config,
        only_if: Precondition<'_, Pool>,
    ) -> Result<(), EngineError> {
        let now = self.pool(name)?.pool;
        if only_if.is_some_and(|check| !check(&now)) {
            return Err(EngineError::Changed { entity: "storage pool", name: name.to_string() });
        }
        let driver = self.pool_driver(name)?;
        coffer_storage::config::check_change(name, driver.driver(), &now.config, &config)?;
        driver.update(&config)?;
        self.inner.store.write(|tx| coffer_store::pool::update(tx, &Pool { description, config, ..now }))?;
        self.tell_pool(name, "storage-pool-updated", caller);
        Ok(())
    }

    /// Deletes a pool that nobody uses.
    ///
    /// # Errors
    /// If it does not exist or is in use.
    pub fn delete_pool(&self, caller: &Caller, name: &PoolName) -> Result<(), EngineError> {
        let view = self.pool(name)?;
        let users: Vec<String> = view.used_by.into_iter().filter(|url| !url.starts_with("/1.0/images/")).collect();
        if !users.is_empty() {
            return Err(EngineError::InUse { entity: "storage pool", name: name.to_string(), users: users.join(", ") });
        }
        match self.pool_driver(name) {
            Ok(driver) => driver.delete()?,
            // A pool that was never made has nothing to remove.
            Err(_) if !view.pool.made => {}
            Err(error) => return Err(error),
        }
        self.inner.pools.lock().remove(name);
        self.inner.store.write(|tx| coffer_store::pool::delete(tx, name))?;
        self.inner.pools.missing().names.remove(name);
        self.forget_warnings(&missing::url(name), None);
        self.tell_pool(name, "storage-pool-deleted", caller);
        Ok(())
    }

    /// Space and inodes of a pool.
    ///
    /// # Errors
    /// If it does not exist or is not there just now.
    pub fn pool_resources(&self, name: &PoolName) -> Result<Resources, EngineError> {
        Ok(self.pool_driver(name)?.resources()?)
    }

    /// The driver of a pool that is open. One that is not there, or went away since, is tried again.
    pub(crate) fn pool_driver(&self, name: &PoolName) -> Result<Arc<dyn Driver>, EngineError> {
        let open = self.inner.pools.lock().get(name).cloned();
        match open {
            Some(driver) if driver.answers() => return Ok(driver),
            Some(_) => self.inner.pools.forget(name),
            None => {}
        }
        let pool = self.inner.store.read(|conn| coffer_store::pool::get(conn, name))?;
        let pool = pool.ok_or_else(|| EngineError::not_found("storage pool", name))?;
        self.open_pool(&pool)
    }

    /// Opens a pool that was made before. A failure is remembered, and the pool waited for.
    pub(crate) fn open_pool(&self, pool: &Pool) -> Result<Arc<dyn Driver>, EngineError> {
        let opened = self.open_recorded(pool);
        match &opened {
            Ok(_) => self.find_pool(&pool.name),
            Err(error) if pool.made => self.miss_pool(&pool.name, error),
            Err(_) => {}
        }
        opened
    }

    fn open_recorded(&self, pool: &Pool) -> Result<Arc<dyn Driver>, EngineError> {
        let spec = self.spec_of(pool)?;
        let volumes = self.inner.store.read(|conn| coffer_store::volume::list(conn, Some(&pool.name), None))?;
        // Two that open at once must end up with the same object: it holds the pool's locks.
        let mut open = self.inner.pools.lock();
        if let Some(driver) = open.get(&pool.name) {
            return Ok(driver.clone());
        }
        let driver: Arc<dyn Driver> = coffer_storage::open_pool(&spec)?.into();
        if let Some(power) = driver.keys() {
            volumes.iter().for_each(|volume| power.learn(&Volume::of_key(&volume.key()), &volume.config));
        }
        // Nobody works on a pool that was not open.
        match driver.clear_temporaries() {
            Ok(0) => {}
            Ok(count) => tracing::info!(pool = %pool.name, "removed {count} things that were left half made"),
            Err(error) => tracing::error!(pool = %pool.name, "removing what was left half made: {}", coffer_base::chain(&error)),
        }
        open.insert(pool.name.clone(), driver.clone());
        drop(open);
        if pool.made {
            self.settle_volumes(driver.as_ref(), &pool.name);
        }
        Ok(driver)
    }

    /// What a pool is opened from.
    fn spec_of(&self, pool: &Pool) -> Result<PoolSpec, EngineError> {
        Ok(PoolSpec {
            name: pool.name.clone(),
            driver: pool.driver.parse()?,
            config: pool.config.clone(),
            state_dir: self.inner.settings.dir.clone(),
        })
    }

    /// The drivers of all pools that are there.
    pub(crate) fn all_pool_drivers(&self) -> Result<Vec<Arc<dyn Driver>>, EngineError> {
        let pools = self.inner.store.read(coffer_store::pool::list)?;
        Ok(pools.iter().filter_map(|pool| self.pool_driver(&pool.name).ok()).collect())
    }

    /// Takes all open pools off the host's file tree.
    pub(crate) fn close_pools(&self) {
        for (name, driver) in self.inner.pools.lock().drain() {
            if let Err(error) = driver.unmount() {
                tracing::warn!(pool = %name, "unmounting it: {}", coffer_base::chain(&error));
            }
        }
    }

    /// Mounts an instance's volume and opens its root directory.
    pub(crate) fn mount_root(&self, pool: &Arc<dyn Driver>, loaded: &Loaded) -> Result<MountedRoot, EngineError> {
        let volume = Volume::instance(&loaded.instance.project, &loaded.instance.name);
        let directory = pool.mount(&volume)?;
        let rootfs = open_rootfs(&directory, &loaded.instance)?;
        Ok(MountedRoot { rootfs, idmapped: !loaded.instance.config.0.contains_key(SHIFTED) })
    }

    /// Mounts an instance's root for it to run from, or for its file server. Where the pool's mounts cannot map ids later, they
    /// are mapped already.
    pub(crate) fn root_to_run(&self, pool: &Arc<dyn Driver>, loaded: &Loaded, ids: Option<IdMap>) -> Result<MountedRoot, EngineError> {
        let Some(power) = pool.mapped() else { return self.mount_root(pool, loaded) };
        let volume = Volume::instance(&loaded.instance.project, &loaded.instance.name);
        let failed = |cause| EngineError::system(format!("instance {}: making a user namespace for its root", loaded.instance.name), cause);
        let namespace = |map| self.inner.nursery.user_namespace(&resolve::id_map(map, &loaded.config));
        let namespace = ids.map(namespace).transpose().map_err(failed)?;
        let rootfs = power.mount_root(&volume, namespace.as_ref().map(AsFd::as_fd))?;
        Ok(MountedRoot { rootfs, idmapped: false })
    }

    /// Gives the files of a root the host's ids of its instance, for file systems that know no idmapped mounts.
    pub(crate) fn shift_root(&self, instance: &Instance) -> Result<(), EngineError> {
        let loaded = self.load(&instance.project, &instance.name)?;
        if loaded.config.flag("security.protection.shift", false) {
            return Err(EngineError::Refused(format!(
                "instance {}: its pool's file system knows no idmapped mounts, and security.protection.shift keeps its files from being changed",
                instance.name
            )));
        }
        if loaded.config.get("raw.idmap").is_some() {
            return Err(EngineError::Refused(format!(
                "instance {}: its pool's file system knows no idmapped mounts, which raw.idmap needs",
                instance.name
            )));
        }
        let Some(map) = loaded.instance.id_map() else { return Ok(()) };
        tracing::warn!(instance = %instance.name, "the file system of pool {} knows no idmapped mounts: changing the owners of its files", instance.pool);
        self.shift(&loaded.instance, Shift::In(map))?;
        self.remember_shift(instance, Some(map))
    }

    /// Brings a root whose files were shifted in line with the map that the instance is about to have.
    pub(crate) fn settle_root(&self, pool: &Arc<dyn Driver>, loaded: &Loaded, map: Option<IdMap>) -> Result<(), EngineError> {
        let instance = &loaded.instance;
        let Some(now) = instance.config.get(SHIFTED).and_then(IdMap::from_volatile) else { return Ok(()) };
        if Some(now) == map {
            return Ok(());
        }
        tracing::info!(instance = %instance.name, "its ids changed: changing the owners of its files in pool {}", pool.name());
        self.shift(instance, Shift::Out(now))?;
        if let Some(map) = map {
            self.shift(instance, Shift::In(map))?;
        }
        self.remember_shift(instance, map)
    }

    fn shift(&self, instance: &Instance, shift: Shift) -> Result<(), EngineError> {
        let directory = self.pool_driver(&instance.pool)?.mount(&Volume::instance(&instance.project, &instance.name))?;
        let rootfs = open_rootfs(&directory, instance)?;
        coffer_storage::tree::shift(rootfs.as_fd(), shift).map_err(|error| {
            EngineError::Refused(format!("instance {}: changing the owners of its files: {}", instance.name, coffer_base::chain(&error)))
        })
    }

    fn remember_shift(&self, instance: &Instance, map: Option<IdMap>) -> Result<(), EngineError> {
        let text = map.map(IdMap::to_volatile);
        let keys = [(SHIFTED, text.as_deref())];
        self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys))?;
        Ok(())
    }

    /// Ends the use of a stopped instance's volume.
    pub(crate) fn unmount_root(&self, instance: &Instance) -> Result<(), EngineError> {
        let volume = Volume::instance(&instance.project, &instance.name);
        match self.pool_driver(&instance.pool)?.unmount_volume(&volume) {
            Ok(()) | Err(StorageError::NoVolume { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a new volume the size that its root disk asks for.
    pub(crate) fn set_root_size(&self, pool: &dyn Driver, loaded: &Loaded) -> Result<(), EngineError> {
        let Some(size) = loaded.root_size()? else { return Ok(()) };
        let volume = Volume::instance(&loaded.instance.project, &loaded.instance.name);
        if let coffer_storage::Enforcement::Ignored(why) = pool.set_quota(&volume, Some(size))? {
            tracing::warn!(instance = %loaded.instance.name, "size {size} of its root disk is not enforced: {why}");
        }
        Ok(())
    }

    /// Changes the size of an instance's root.
    pub(crate) fn resize_root(&self, instance: &Instance, size: Option<Bytes>) -> Result<(), EngineError> {
        let volume = Volume::instance(&instance.project, &instance.name);
        self.pool_driver(&instance.pool)?.set_quota(&volume, size)?;
        Ok(())
    }

    fn pool_view(&self, conn: &Conn, pool: Pool) -> Result<PoolView, coffer_store::StoreError> {
        let mut used_by = used_by::urls(&coffer_store::usage::of_pool(conn, &pool.name)?);
        used_by.extend(coffer_store::volume::list(conn, Some(&pool.name), None)?.iter().map(used_by::volume_url));
        let driver = self.inner.pools.lock().get(&pool.name).cloned().filter(|driver| driver.answers());
        if let Some(driver) = driver.as_ref().filter(|driver| driver.images().is_some()) {
            let images = coffer_store::image::list(conn, None)?;
            let here = images.iter().filter(|image| driver.exists(&Volume::image(&image.fingerprint)).unwrap_or(false));
            used_by.extend(here.map(|image| used_by::url("images", &image.project, image.fingerprint.as_str())));
        }
        let status = match (pool.made, driver.is_some()) {
            (false, _) => "Pending",
            (true, true) => "Created",
            (true, false) => "Unavailable",
        };
        Ok(PoolView { pool, used_by, status })
    }

    fn tell_pool(&self, name: &PoolName, action: &'static str, caller: &Caller) {
        self.events().lifecycle(None, action, format!("/1.0/storage-pools/{name}"), Some(caller));
    }
}

impl Loaded {
    /// The size that the root disk asks for.
    pub(crate) fn root_size(&self) -> Result<Option<Bytes>, EngineError> {
        let root = |device: Device| match device {
            Device::Disk(disk) if matches!(disk.source, DiskSource::Root(_)) => disk.size,
            Device::Disk(_) | Device::Gpu(_) | Device::Nic(_) | Device::Proxy(_) | Device::Hotplug(_) | Device::Unix(_) | Device::None => {
                None
            }
        };
        Ok(self.devices()?.into_values().find_map(root))
    }
}

/// The id map that the files on disk were given, where mounts cannot map ids; absent, they have the ids inside.
pub(crate) const SHIFTED: &str = "volatile.last_state.idmap";

fn open_rootfs(directory: &OwnedFd, instance: &Instance) -> Result<OwnedFd, EngineError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    coffer_sys::path::openat2(directory, "rootfs", flags, Mode::empty(), resolve)
        .map_err(|cause| EngineError::system(format!("instance {}: opening its root directory", instance.name), cause))
}
