//! The first use of a fresh daemon: a pool and a bridge of its own choice, so that `launch` works without any setup.

use std::sync::PoisonError;

use coffer_model::{Config, Profile, ProfileName, ProjectName};

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::request::CreateInstance;

/// The name of the pool that is made.
const POOL: &str = "default";
/// The name of the bridge that is made.
const BRIDGE: &str = "cofferbr0";

impl Engine {
    /// Makes a pool and a bridge if nobody has set anything up and the new instance counts on the default profile.
    /// Answers what it chose, in sentences; nothing where there was nothing to do.
    pub(crate) fn first_use(&self, request: &CreateInstance) -> Result<Vec<String>, EngineError> {
        let default_only = request.profiles.as_ref().is_none_or(|profiles| *profiles == [ProfileName::default_profile()]);
        if !request.project.is_default() || !default_only || request.devices.root().is_some() {
            return Ok(Vec::new());
        }
        let _one_at_a_time = self.inner.first_use.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = self.profile(&request.project, &ProfileName::default_profile())?.profile;
        let pools = self.inner.store.read(coffer_store::pool::list)?;
        if !profile.devices.0.is_empty() || !pools.is_empty() {
            return Ok(Vec::new());
        }
        let server = Caller { username: "coffer".into(), protocol: "internal", address: String::new() };
        let mut said = vec![self.first_pool(&server)?];
        let (bridge, sentence) = self.first_bridge(&server);
        said.push(sentence);
        self.update_profile(&server, with_devices(profile, bridge)?, None)?;
        Ok(said)
    }

    /// A btrfs pool where this host can have one, else one of layers, else a plain directory.
    fn first_pool(&self, caller: &Caller) -> Result<String, EngineError> {
        let supported = self.environment()?.storage_supported;
        let btrfs = supported.iter().any(|(name, _)| name == "btrfs") && coffer_base::run::installed("mkfs.btrfs");
        if btrfs {
            match self.create_pool(caller, POOL.to_owned().try_into()?, "btrfs", String::new(), Config::default()) {
                Ok(()) => return Ok(format!("made storage pool {POOL} (btrfs, in a file that grows as it is filled)")),
                Err(error) => tracing::warn!("making a btrfs pool: {}; taking layers in a directory instead", coffer_base::chain(&error)),
            }
        }
        if supported.iter().any(|(name, _)| name == "overlay") {
            match self.create_pool(caller, POOL.to_owned().try_into()?, "overlay", String::new(), Config::default()) {
                Ok(()) => return Ok(format!("made storage pool {POOL} (overlay: thin layers over images, in a directory)")),
                Err(error) => tracing::warn!("making an overlay pool: {}; taking a plain directory instead", coffer_base::chain(&error)),
            }
        }
        self.create_pool(caller, POOL.to_owned().try_into()?, "dir", String::new(), Config::default())?;
        Ok(format!("made storage pool {POOL} (a directory)"))
    }

    /// A bridge with private addresses. An instance is better off without a network than not at all.
    fn first_bridge(&self, caller: &Caller) -> (bool, String) {
        let project = ProjectName::default_project();
        let made = BRIDGE.parse().map_err(EngineError::from).and_then(|name: coffer_model::NetworkName| {
            if self.network(&project, BRIDGE).is_ok_and(|view| view.managed.is_some()) {
                return Ok(());
            }
            self.create_network(caller, &project, name, "bridge", String::new(), Config::default())
        });
        match made {
            Ok(()) => (true, format!("made network {BRIDGE} (a bridge with private addresses, NAT, DHCP and DNS)")),
            Err(error) => {
                tracing::warn!("making bridge {BRIDGE}: {}", coffer_base::chain(&error));
                (false, format!("made no network: {}", coffer_base::chain(&error)))
            }
        }
    }
}

fn with_devices(mut profile: Profile, bridge: bool) -> Result<Profile, EngineError> {
    let root = [("type", "disk"), ("path", "/"), ("pool", POOL)].into_iter().collect();
    profile.devices.0.insert("root".parse()?, root);
    if bridge {
        let nic = [("type", "nic"), ("name", "eth0"), ("network", BRIDGE)].into_iter().collect();
        profile.devices.0.insert("eth0".parse()?, nic);
    }
    Ok(profile)
}
