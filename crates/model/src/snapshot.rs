//! Snapshots of instances: what an instance was at a moment.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::config::Config;
use crate::device::Devices;
use crate::entity::Profile;
use crate::instance::{Instance, Phase, expanded_config, expanded_devices};
use crate::names::{ProfileName, SnapshotName};

/// What an instance was at a moment; the state of its root volume is kept in the pool under the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSnapshot {
    /// Its name among the instance's snapshots.
    pub name: SnapshotName,
    /// The instance's architecture.
    pub architecture: String,
    /// Whether the instance was to be deleted when it stopped.
    pub ephemeral: bool,
    /// The instance's profiles; one that was deleted since is missing.
    pub profiles: Vec<ProfileName>,
    /// The instance's own configuration.
    pub config: Config,
    /// The instance's own devices.
    pub devices: Devices,
    /// When it was taken.
    pub created_at: Time,
    /// When it is deleted by itself; `None` if never.
    pub expires_at: Option<Time>,
    /// When the instance had last been started; `None` if never.
    pub last_used_at: Option<Time>,
    /// How far its creation or deletion is.
    pub phase: Phase,
    /// While it is being renamed: what the volume may still be called.
    pub renamed_from: Option<SnapshotName>,
}

/// Keys of the server's own that tell about the files of the root: they go back together with these.
const OF_THE_FILES: [&str; 5] = [
    "volatile.apply_template",
    "volatile.base_image",
    "volatile.cloud-init.instance-id",
    "volatile.last_state.idmap",
    "volatile.refreshed_from",
];

impl InstanceSnapshot {
    /// Keeps what an instance is now.
    #[must_use]
    pub fn of(instance: &Instance, name: SnapshotName, created_at: Time, expires_at: Option<Time>) -> Self {
        Self {
            name,
            architecture: instance.architecture.clone(),
            ephemeral: instance.ephemeral,
            profiles: instance.profiles.clone(),
            config: instance.config.clone(),
            devices: instance.devices.clone(),
            created_at,
            expires_at,
            last_used_at: instance.last_used_at,
            phase: Phase::Creating,
            renamed_from: None,
        }
    }

    /// The configuration that counted, with the profiles as they are now.
    #[must_use]
    pub fn expanded_config(&self, profiles: &[Profile]) -> Config {
        expanded_config(&self.config, profiles)
    }

    /// The devices that counted, with the profiles as they are now.
    #[must_use]
    pub fn expanded_devices(&self, profiles: &[Profile]) -> Devices {
        expanded_devices(&self.devices, profiles)
    }

    /// The instance as it was, with all that snapshots do not keep taken from what it is now.
    #[must_use]
    pub fn as_instance(&self, now: &Instance) -> Instance {
        Instance {
            architecture: self.architecture.clone(),
            ephemeral: self.ephemeral,
            profiles: self.profiles.clone(),
            config: self.config.clone(),
            devices: self.devices.clone(),
            last_used_at: self.last_used_at,
            ..now.clone()
        }
    }

    /// The instance as it is to be after a restore: what the user set as it was, what the server remembers as it is now,
    /// except for what tells about the files. NICs that are gone since get back the MAC addresses they had.
    #[must_use]
    pub fn restored(&self, now: &Instance) -> Instance {
        let goes_back = |key: &str| !is_volatile(key) || OF_THE_FILES.contains(&key) || key.ends_with(".hwaddr");
        let stays = |key: &str| is_volatile(key) && !OF_THE_FILES.contains(&key);
        let mut config: Config = self.config.iter().filter(|(key, _)| goes_back(key)).collect();
        config.merge(&now.config.iter().filter(|(key, _)| stays(key)).collect());
        Instance { config, last_used_at: now.last_used_at, ..self.as_instance(now) }
    }
}

fn is_volatile(key: &str) -> bool {
    key.starts_with("volatile.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ProjectName;

    fn web(config: &[(&str, &str)]) -> Instance {
        Instance {
            project: ProjectName::default_project(),
            name: "web".parse().unwrap(),
            architecture: "x86_64".into(),
            description: "now".into(),
            ephemeral: false,
            profiles: Vec::new(),
            config: config.iter().copied().collect(),
            devices: Devices::default(),
            pool: "default".parse().unwrap(),
            created_at: Time::UNIX_EPOCH,
            last_used_at: None,
            phase: Phase::Ready,
        }
    }

    #[test]
    fn a_restore_takes_back_what_the_user_set_and_what_tells_about_the_files() {
        let then = web(&[
            ("limits.cpu", "1"),
            ("volatile.eth0.hwaddr", "00:16:3e:00:00:01"),
            ("volatile.base_image", "aaaa"),
            ("volatile.last_state.power", "RUNNING"),
        ]);
        let now = web(&[
            ("limits.memory", "1GiB"),
            ("volatile.eth0.hwaddr", "00:16:3e:00:00:02"),
            ("volatile.base_image", "bbbb"),
            ("volatile.last_state.idmap", "[]"),
        ]);
        let snapshot = InstanceSnapshot::of(&then, "one".parse().unwrap(), Time::UNIX_EPOCH, None);
        let restored = snapshot.restored(&now);
        let expect = [("limits.cpu", "1"), ("volatile.base_image", "aaaa"), ("volatile.eth0.hwaddr", "00:16:3e:00:00:02")];
        assert_eq!(restored.config, expect.into_iter().collect());
        assert_eq!(restored.description, "now");
    }
}
