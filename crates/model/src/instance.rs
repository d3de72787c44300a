//! Instances as they are kept, and what profiles make of them.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::device::Devices;
use crate::entity::Profile;
use crate::names::{InstanceName, PoolName, ProfileName, ProjectName};
use crate::{IdMap, Time};

/// An instance: what the user asked for and what the server remembers of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The project it is in.
    pub project: ProjectName,
    /// Its name within the project.
    pub name: InstanceName,
    /// Its architecture by the kernel's name: `x86_64`.
    pub architecture: String,
    /// Free text.
    pub description: String,
    /// Whether it is deleted when it stops.
    pub ephemeral: bool,
    /// Profiles, the later over the earlier.
    pub profiles: Vec<ProfileName>,
    /// Its own configuration, over its profiles'.
    pub config: Config,
    /// Its own devices, over its profiles'.
    pub devices: Devices,
    /// The pool its root volume is in.
    pub pool: PoolName,
    /// When it was created.
    pub created_at: Time,
    /// When it was last started; `None` if never.
    pub last_used_at: Option<Time>,
    /// How far its creation or deletion is.
    pub phase: Phase,
}

/// How far an instance's creation or deletion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its volume is being made. After a crash the server removes it.
    Creating,
    /// It is whole.
    Ready,
    /// It is being deleted. After a crash the server finishes that.
    Deleting,
}

impl Instance {
    /// The configuration that counts: the profiles' keys in order, and the instance's own over them.
    #[must_use]
    pub fn expanded_config(&self, profiles: &[Profile]) -> Config {
        expanded_config(&self.config, profiles)
    }

    /// The devices that count: a device of the instance replaces the profiles' of the same name as a whole.
    #[must_use]
    pub fn expanded_devices(&self, profiles: &[Profile]) -> Devices {
        expanded_devices(&self.devices, profiles)
    }

    /// The instance's name on disk and in cgroups: `NAME`, or `PROJECT_NAME` outside the default project.
    #[must_use]
    pub fn key(&self) -> String {
        self.project.prefix(self.name.as_str())
    }

    /// The id map that it has or last had.
    #[must_use]
    pub fn id_map(&self) -> Option<IdMap> {
        self.config.get("volatile.idmap.next").and_then(IdMap::from_volatile)
    }
}

/// The profiles' keys in order, and `own` over them.
pub(crate) fn expanded_config(own: &Config, profiles: &[Profile]) -> Config {
    let mut config = Config::default();
    for profile in profiles {
        config.merge(&profile.config);
    }
    config.merge(own);
    config
}

/// The profiles' devices, each replaced as a whole by one of the same name in `own`.
pub(crate) fn expanded_devices(own: &Devices, profiles: &[Profile]) -> Devices {
    let mut devices = Devices::default();
    for source in profiles.iter().map(|profile| &profile.devices).chain([own]) {
        devices.0.extend(source.0.iter().map(|(name, keys)| (name.clone(), keys.clone())));
    }
    devices
}
