//! Changing a volume's description and configuration, also while instances use it.

use std::os::fd::AsFd;

use coffer_base::{Bytes, Undo};
use coffer_model::gate::Origin;
use coffer_model::{Config, ContentType, CustomVolume};
use coffer_storage::{Pool as Driver, disk_file};

use super::{VolumeChange, VolumePlace, check};
use crate::error::EngineError;
use crate::events::Caller;
use crate::{Engine, Precondition};

/// Keys that say how instances see the files: they hold for all that use the volume.
const OF_THE_MOUNT: [&str; 2] = ["security.shifted", "security.unmapped"];

impl Engine {
    /// Replaces a volume's writable part. A changed size takes effect at once.
    ///
    /// # Errors
    /// If there is no such volume, it changed since the client read it, a key is refused, or a disk would shrink.
    pub fn update_volume(
        &self,
        caller: &Caller,
        place: &VolumePlace,
        change: VolumeChange,
        only_if: Precondition<'_, CustomVolume>,
    ) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim(place, "changing")?;
        let now = self.custom_volume(place)?;
        if only_if.is_some_and(|check| !check(&now)) {
            return Err(EngineError::Changed { entity: "storage volume", name: now.name.to_string() });
        }
        let mut config: Config = now.config.iter().filter(|(key, _)| key.starts_with("volatile.")).collect();
        config.merge(&change.config);
        config.0.retain(|_, value| !value.is_empty());
        // What cannot change need not be said again.
        for (key, value) in coffer_storage::config::fixed(&now.config).filter(|(key, _)| change.config.get(key).is_none()) {
            config.set(key, value);
        }
        let new = CustomVolume { description: change.description, config, ..now.clone() };
        let new = check(new, self.pool(&place.pool)?.pool.driver.parse()?, Some(&now), Origin::Client)?;
        if OF_THE_MOUNT.iter().any(|key| now.config.flag(key, false) != new.config.flag(key, false)) {
            self.refuse_running_users(place, "mapped in another way")?;
        }
        // What is said about a volume can change while its pool is gone, but not what it is.
        let driver = (now.config != new.config).then(|| self.pool_driver(&place.pool)).transpose()?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a change: {warning}"));
        if let Some(power) = driver.as_ref().and_then(|driver| driver.keys()) {
            power.check(&new.config)?;
            power.configure(&place.volume(), &new.config)?;
            undo.push(format!("changing volume {} back", new.name), || power.configure(&place.volume(), &now.config));
        }
        if let Some(driver) = driver.as_ref().filter(|_| now.config.get("size") != new.config.get("size")) {
            self.resize_volume(driver.as_ref(), &new)?;
        }
        self.inner.store.write(|tx| coffer_store::volume::update(tx, &new))?;
        undo.keep();
        self.schedule_may_have_changed(&new.config);
        self.tell_volume(place, "storage-volume-updated", Some(caller));
        Ok(())
    }

    fn resize_volume(&self, driver: &dyn Driver, new: &CustomVolume) -> Result<(), EngineError> {
        match new.content {
            ContentType::Filesystem => self.limit_volume(driver, new),
            ContentType::Block => grow(driver, new),
            ContentType::Iso => {
                Err(EngineError::Refused(format!("storage volume {}: an ISO image has the size that it came with", new.name)))
            }
        }
    }
}

/// Gives a disk a larger size.
fn grow(driver: &dyn Driver, new: &CustomVolume) -> Result<(), EngineError> {
    let doing = |cause| EngineError::system(format!("storage volume {}: changing its size", new.name), cause);
    let top = driver.mount(&VolumePlace::of(new).volume())?;
    let now = disk_file::size(top.as_fd()).map_err(doing)?;
    let size = new.config.parse::<Bytes>("size").unwrap_or(now);
    if size < now {
        let what = format!("storage volume {}: a disk of {now} cannot shrink to {size}: what is on it would be cut off", new.name);
        return Err(EngineError::Refused(what));
    }
    disk_file::grow(top.as_fd(), size).map_err(doing)
}
