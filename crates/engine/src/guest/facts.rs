//! What an instance may know of itself, and the one thing that it may say.

use std::collections::BTreeMap;

use coffer_model::{Config, Fingerprint};

use super::Guest;
use crate::Engine;
use crate::error::EngineError;
use crate::image::ExportedFile;
use crate::instance::start::Loaded;

/// Whether an instance has said that it is ready.
pub(crate) const READY: &str = "volatile.last_state.ready";

/// Whether a key is for the instance to read.
pub(super) fn is_told(key: &str) -> bool {
    key.starts_with("user.") || key.starts_with("cloud-init.")
}

impl Engine {
    /// Whether the guest API answers an instance. The key can be changed while it runs.
    ///
    /// # Errors
    /// If the instance is gone.
    pub fn guest_may_ask(&self, guest: &Guest) -> Result<bool, EngineError> {
        Ok(self.guest(guest)?.config.flag("security.devlxd", true))
    }

    /// The keys that an instance may read, with their values.
    ///
    /// # Errors
    /// If the instance is gone.
    pub fn guest_config(&self, guest: &Guest) -> Result<BTreeMap<String, String>, EngineError> {
        let config = self.guest(guest)?.config;
        Ok(config.0.into_iter().filter(|(key, _)| is_told(key)).collect())
    }

    /// One key that an instance may read.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] if it is not for the instance; if it is not set.
    pub fn guest_key(&self, guest: &Guest, key: &str) -> Result<String, EngineError> {
        if !is_told(key) {
            return Err(EngineError::Forbidden(format!("key {key:?} is not for instances to read: only user.* and cloud-init.* are")));
        }
        let value = self.guest(guest)?.config.get(key).map(ToOwned::to_owned);
        value.ok_or_else(|| EngineError::not_found("configuration key", key))
    }

    /// The devices of an instance, with the MAC addresses that were chosen for its NICs.
    ///
    /// # Errors
    /// If the instance is gone.
    pub fn guest_devices(&self, guest: &Guest) -> Result<BTreeMap<String, BTreeMap<String, String>>, EngineError> {
        let Loaded { instance, profiles, .. } = self.guest(guest)?;
        let complete = |name: String, mut keys: Config| {
            let chosen = instance.config.get(&format!("volatile.{name}.hwaddr"));
            if let Some(hwaddr) = chosen.filter(|_| keys.get("type") == Some("nic") && keys.get("hwaddr").is_none()) {
                keys.set("hwaddr", hwaddr);
            }
            (name, keys.0)
        };
        Ok(instance.expanded_devices(&profiles).0.into_iter().map(|(name, keys)| complete(name.to_string(), keys)).collect())
    }

    /// cloud-init's meta data, as YAML.
    ///
    /// # Errors
    /// If the instance is gone.
    pub fn guest_meta_data(&self, guest: &Guest) -> Result<String, EngineError> {
        let loaded = self.guest(guest)?;
        let name = loaded.instance.name.as_str();
        let id = loaded.config.get(crate::instance::cloud_init::INSTANCE_ID).unwrap_or(name);
        let more = loaded.config.get("user.meta-data").unwrap_or_default();
        Ok(format!("#cloud-config\ninstance-id: {id}\nlocal-hostname: {name}\n{more}"))
    }

    /// Whether an instance has said that it is ready.
    #[must_use]
    pub fn guest_is_ready(&self, guest: &Guest) -> bool {
        self.inner.cells.is_ready(&guest.project, &guest.name)
    }

    /// Takes note that an instance is ready, or is not.
    ///
    /// # Errors
    /// If the instance is gone.
    pub fn guest_says_ready(&self, guest: &Guest, ready: bool) -> Result<(), EngineError> {
        let instance = self.guest(guest)?.instance;
        let cell = self.inner.cells.get(&guest.project, &guest.name);
        let before = cell.change(|live| std::mem::replace(&mut live.ready, ready));
        self.inner.store.write(|tx| {
            let text = ready.then_some("true");
            coffer_store::instance::set_volatile(tx, &guest.project, &guest.name, &[(READY, text)])
        })?;
        if ready && !before {
            self.lifecycle(&instance, "instance-ready", None);
        }
        Ok(())
    }

    /// The files of an image for an instance: public ones and those that are here as a cache, by their whole fingerprint.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] if the instance may have no images; if there is no such image for it.
    pub fn guest_image(&self, guest: &Guest, fingerprint: &str) -> Result<Vec<ExportedFile>, EngineError> {
        let loaded = self.guest(guest)?;
        if !loaded.config.flag("security.devlxd.images", false) {
            return Err(EngineError::Forbidden("images are not for this instance: security.devlxd.images is off".into()));
        }
        let unknown = || EngineError::not_found("image", fingerprint);
        let whole: Fingerprint = fingerprint.parse().map_err(|_| unknown())?;
        let image = self.find_image(&guest.project, whole.as_str()).map_err(|_| unknown())?;
        if !image.public && !image.cached {
            return Err(unknown());
        }
        self.export_image(&guest.project, whole.as_str())
    }

    fn guest(&self, guest: &Guest) -> Result<Loaded, EngineError> {
        self.load(&guest.project, &guest.name)
    }
}
