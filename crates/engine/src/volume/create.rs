//! Making an empty volume.

use std::os::fd::{AsFd, BorrowedFd};

use coffer_base::{Bytes, Undo, fault};
use coffer_model::gate::Origin;
use coffer_model::{Checked, ContentType, CustomVolume, Phase, Pool, Time, VolumeSnapshot};
use coffer_storage::{DriverKind, FillError, Pool as Driver, disk_file};
use rustix::fs::{Gid, Mode, Uid};
use uuid::Uuid;

use super::{CreateVolume, VolumePlace, check};
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

impl Engine {
    /// Makes an empty volume.
    ///
    /// # Errors
    /// If its pool does not exist, a key is refused, the name is taken, or the pool cannot make it.
    pub fn create_volume(&self, caller: &Caller, request: CreateVolume) -> Result<(), EngineError> {
        if request.content == ContentType::Iso {
            let what = "an ISO volume is made by importing an ISO image (storage volume import --type=iso)";
            return Err(EngineError::Refused(format!("storage volume {}: {what}", request.name())));
        }
        let pool = self.pool(&request.place.pool)?.pool;
        let driver = self.pool_driver(&pool.name)?;
        let checked = self.new_volume(&pool, &request)?;
        let place = request.place;
        let _claim = self.inner.volumes.claim(&place, "creating")?;
        let size = size_of(&checked);
        self.make_volume(&checked, &[], driver.as_ref(), &mut |driver| {
            let sized = (checked.content == ContentType::Filesystem).then(|| checked.config.parse("size")).flatten();
            driver.create_sized(&place.volume(), sized, &mut |top| fill(top, &checked, size))?;
            Ok(())
        })?;
        self.tell_volume(&place, "storage-volume-created", Some(caller));
        Ok(())
    }

    /// What is kept of a new volume, through the gate.
    pub(crate) fn new_volume(&self, pool: &Pool, request: &CreateVolume) -> Result<Checked<CustomVolume>, EngineError> {
        let driver: DriverKind = pool.driver.parse()?;
        if request.content != ContentType::Filesystem && !driver.holds_instances() {
            let what = format!("a pool of driver {} holds volumes of content type filesystem alone; use another pool", pool.driver);
            return Err(EngineError::Refused(format!("storage volume {}: {what}", request.name())));
        }
        let new = CustomVolume {
            pool: pool.name.clone(),
            project: request.place.key.project.clone(),
            name: request.name().clone(),
            description: request.description.clone(),
            config: coffer_storage::config::new_volume(driver, &pool.config, request.content, &request.config),
            content: request.content,
            created_at: Time::now(),
            phase: Phase::Creating,
            renamed_from: None,
        };
        let mut new = check(new, driver, None, Origin::Client)?.into_inner();
        if let Some(power) = self.pool_driver(&pool.name)?.keys() {
            power.check(&new.config)?;
        }
        new.config.set("volatile.uuid", Uuid::new_v4().to_string());
        check(new, driver, None, Origin::Server)
    }

    /// Records a volume, has `fill` make it and its snapshots in its pool, limits it and declares all of it whole. On failure
    /// nothing stays.
    pub(crate) fn make_volume(
        &self,
        new: &Checked<CustomVolume>,
        snapshots: &[VolumeSnapshot],
        driver: &dyn Driver,
        fill: &mut dyn FnMut(&dyn Driver) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("creating the volume", cause);
        let (store, place) = (&self.inner.store, VolumePlace::of(new));
        store.write(|tx| coffer_store::volume::insert(tx, new))?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a volume: {warning}"));
        undo.push(format!("forgetting volume {}", new.name), || {
            store.write(|tx| coffer_store::volume::delete(tx, &new.pool, &new.project, &new.name))
        });
        fault::point("volume.recorded").map_err(cut)?;
        if let Some(power) = driver.keys() {
            power.configure(&place.volume(), &new.config)?;
            undo.push(format!("forgetting the keys of volume {}", new.name), || {
                power.forget(&place.volume());
                Ok::<_, EngineError>(())
            });
        }
        fill(driver)?;
        undo.push(format!("removing volume {}", new.name), || super::delete::remove_from_pool(driver, &place.volume()));
        if new.content == ContentType::Filesystem {
            self.limit_volume(driver, new)?;
        }
        fault::point("volume.made").map_err(cut)?;
        store.write(|tx| {
            for snapshot in snapshots {
                coffer_store::volume_snapshot::insert(tx, new, snapshot)?;
            }
            coffer_store::volume::set_phase(tx, &new.pool, &new.project, &new.name, Phase::Ready)
        })?;
        undo.keep();
        // A copy brings snapshots that may expire.
        self.look_at_snapshots_again();
        Ok(())
    }

    /// Gives a volume of files the size that its configuration asks for.
    pub(super) fn limit_volume(&self, driver: &dyn Driver, volume: &CustomVolume) -> Result<(), EngineError> {
        let size = volume.config.parse::<Bytes>("size");
        let limited = driver.set_quota(&VolumePlace::of(volume).volume(), size)?;
        if let (Some(size), coffer_storage::Enforcement::Ignored(why)) = (size, limited) {
            tracing::warn!(volume = %volume.name, pool = %volume.pool, "its size {size} is not enforced: {why}");
        }
        Ok(())
    }
}

/// The size of a new disk.
fn size_of(volume: &CustomVolume) -> Bytes {
    volume.config.parse("size").unwrap_or(disk_file::DEFAULT_SIZE)
}

/// Puts into a new volume what it begins with.
fn fill(top: BorrowedFd<'_>, volume: &CustomVolume, size: Bytes) -> Result<(), FillError> {
    match volume.content {
        ContentType::Filesystem => {
            let id = |key: &str| volume.config.parse::<u32>(key);
            let (uid, gid) = (id("initial.uid").map(Uid::from_raw), id("initial.gid").map(Gid::from_raw));
            rustix::fs::fchown(top, uid, gid)?;
            if let Some(mode) = volume.config.get("initial.mode").and_then(|text| u32::from_str_radix(text, 8).ok()) {
                rustix::fs::fchmod(top.as_fd(), Mode::from_raw_mode(mode & 0o7777))?;
            }
        }
        ContentType::Block | ContentType::Iso => drop(disk_file::create(top, size)?),
    }
    Ok(())
}
