//! The server's own configuration and what it says of its surroundings.

use std::collections::BTreeMap;

use coffer_model::{Config, Expiry, key, keys};
use coffer_storage::DriverKind;

use crate::error::EngineError;
use crate::events::Caller;
use crate::{Engine, Precondition, host, trust};

/// What the server says of itself and its host.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `Linux`.
    pub kernel: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// The kernel's architecture.
    pub kernel_architecture: String,
    /// Architectures whose programs run here.
    pub architectures: Vec<String>,
    /// The distribution's name.
    pub os_name: String,
    /// The distribution's version.
    pub os_version: String,
    /// The host's name.
    pub server_name: String,
    /// Drivers of the pools there are, with their versions.
    pub storage: Vec<(String, String)>,
    /// Drivers that this host can use, with their versions.
    pub storage_supported: Vec<(String, String)>,
    /// `nftables`.
    pub firewall: String,
    /// What the kernel can do.
    pub kernel_features: BTreeMap<&'static str, bool>,
    /// The daemon's process.
    pub server_pid: u32,
}

impl Engine {
    /// The server's configuration.
    ///
    /// # Errors
    /// Only the store's.
    pub fn server_config(&self) -> Result<Config, EngineError> {
        Ok(shown(self.inner.store.read(coffer_store::server::get)?))
    }

    /// Replaces the server's configuration.
    ///
    /// # Errors
    /// If a key is refused or the configuration changed since the client read it.
    pub fn update_server_config(&self, caller: &Caller, config: Config, only_if: Precondition<'_, Config>) -> Result<(), EngineError> {
        let mut config: Config = config.0.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        for (name, value) in config.iter() {
            key::check("server", keys::SERVER, name, value)?;
        }
        check_values(&config)?;
        let new_password = config.get(PASSWORD).filter(|password| *password != KEPT_PASSWORD).map(trust::hash_password).transpose()?;
        self.inner.store.try_write(|tx| {
            let now = coffer_store::server::get(tx)?;
            if only_if.is_some_and(|check| !check(&shown(now.clone()))) {
                return Err(EngineError::Changed { entity: "server configuration", name: String::new() });
            }
            if config.get(PASSWORD).is_some() {
                let kept = || now.get(PASSWORD).map(str::to_owned);
                match new_password.clone().or_else(kept) {
                    Some(hashed) => config.set(PASSWORD, hashed),
                    None => drop(config.0.remove(PASSWORD)),
                }
            }
            Ok(coffer_store::server::set(tx, &config)?)
        })?;
        self.inner.images_configured.notify_one();
        self.events().lifecycle(None, "config-updated", "/1.0".into(), Some(caller));
        Ok(())
    }

    /// What the server says of itself and its host.
    ///
    /// # Errors
    /// Only the store's.
    pub fn environment(&self) -> Result<Environment, EngineError> {
        let kernel = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let pools = self.inner.store.read(coffer_store::pool::list)?;
        let mut used: Vec<(String, String)> = pools.into_iter().map(|pool| (pool.driver, DRIVER_VERSION.to_owned())).collect();
        used.sort();
        used.dedup();
        let architecture = text(kernel.machine());
        let architectures = if architecture == "x86_64" { vec![architecture.clone(), "i686".into()] } else { vec![architecture.clone()] };
        Ok(Environment {
            kernel: text(kernel.sysname()),
            kernel_version: text(kernel.release()),
            kernel_architecture: architecture,
            architectures,
            os_name: host::field("/etc/os-release", "NAME").unwrap_or_default(),
            os_version: host::field("/etc/os-release", "VERSION_ID").unwrap_or_default(),
            server_name: text(kernel.nodename()),
            storage: used,
            storage_supported: supported_storage(),
            firewall: "nftables".into(),
            kernel_features: kernel_features(self.inner.confinement.is_on()),
            server_pid: std::process::id(),
        })
    }
}

/// The key whose value nobody reads back.
const PASSWORD: &str = "core.trust_password";

/// What it reads back as; a client that sends this back leaves it as it is.
const KEPT_PASSWORD: &str = "true";

/// The configuration as it is told to others.
fn shown(mut config: Config) -> Config {
    if config.get(PASSWORD).is_some() {
        config.set(PASSWORD, KEPT_PASSWORD);
    }
    config
}

/// What a key's type does not say.
fn check_values(config: &Config) -> Result<(), EngineError> {
    let refuse = |key: &str, why: &dyn std::fmt::Display| EngineError::Refused(format!("server configuration key {key:?}: {why}"));
    if let Some(text) = config.get("core.remote_token_expiry") {
        text.parse::<Expiry>().map_err(|error| refuse("core.remote_token_expiry", &error))?;
    }
    if let Some(list) = config.get("images.trusted") {
        crate::image::servers::check_trusted(list)?;
    }
    let signers = crate::image::servers::signers(config)?;
    if signers.required && signers.keys.is_empty() {
        return Err(refuse("images.require_signature", &"no image could be fetched: set images.trusted_keys too"));
    }
    if let Some(text) = config.get("images.default_architecture") {
        text.parse::<coffer_base::Architecture>().map_err(|error| refuse("images.default_architecture", &error))?;
    }
    let key = |name: &str| config.get(name).unwrap_or_default();
    coffer_web::Proxies::new(key("core.proxy_http"), key("core.proxy_https"), "").map_err(|error| refuse("core.proxy_http", &error))?;
    Ok(())
}

/// The drivers are ours and have the server's version.
const DRIVER_VERSION: &str = env!("CARGO_PKG_VERSION");

fn supported_storage() -> Vec<(String, String)> {
    let here = DriverKind::ALL.into_iter().filter(|kind| kind.available());
    here.map(|kind| (kind.to_string(), DRIVER_VERSION.to_owned())).collect()
}

/// What clients ask the kernel for by these names. All but AppArmor are in every kernel that this server runs on (5.15 and
/// later); that is said to be there where instances get profiles.
fn kernel_features(apparmor: bool) -> BTreeMap<&'static str, bool> {
    BTreeMap::from([
        ("apparmor", apparmor),
        ("idmapped_mounts", true),
        ("netnsid_getifaddrs", true),
        ("seccomp_listener", true),
        ("seccomp_listener_continue", true),
        ("shiftfs", false),
        ("uevent_injection", true),
        ("unpriv_fscaps", true),
    ])
}
