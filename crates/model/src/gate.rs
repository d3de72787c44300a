//! The one gate: every write of an instance or profile passes here, and the store takes nothing that has not.
//!
//! What is checked is the effective, merged object: the instance's own configuration over its profiles'.

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::config::Config;
use crate::device::{Device, DeviceError, DiskSource};
use crate::entity::Profile;
use crate::filesystems;
use crate::instance::Instance;
use crate::key::{self, KeyError};
use crate::keys;
use crate::names::{DeviceName, InstanceName, PoolName, ProfileName};
use crate::volume::CustomVolume;

/// Proof that a value passed the gate. Only this module makes one.
#[derive(Debug, Clone)]
pub struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Checked<T> {
    /// Gives up the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Who asks for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client of the API; it may not change what the server remembers for itself.
    Client,
    /// The server.
    Server,
}

/// Why the gate refuses.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum GateError {
    /// A key of the configuration.
    #[error("{what}")]
    Key {
        /// The instance or profile.
        what: String,
        /// Why.
        #[source]
        cause: KeyError,
    },
    /// A device.
    #[error("{what}")]
    Device {
        /// The instance or profile.
        what: String,
        /// Why.
        #[source]
        cause: Box<DeviceError>,
    },
    /// A profile that does not exist.
    #[error("profile {0} does not exist")]
    NoProfile(ProfileName),
    /// The instance has no root disk.
    #[error(
        "instance {0} has no root disk; add a disk device with path=/ and a pool, or a profile that has one (coffer admin init makes one)"
    )]
    NoRoot(InstanceName),
    /// The instance has more than one root disk.
    #[error("instance {0} has more than one root disk")]
    ManyRoots(InstanceName),
    /// The root disk would move to another pool.
    #[error("instance {instance}: its root disk is in pool {pool}; moving it to another pool is not an update")]
    RootMoved {
        /// The instance.
        instance: InstanceName,
        /// Where it is.
        pool: PoolName,
    },
    /// Two devices want the same name or path inside.
    #[error("instance {instance}: devices {first} and {second} both want {what}")]
    Clash {
        /// The instance.
        instance: InstanceName,
        /// One device.
        first: DeviceName,
        /// The other.
        second: DeviceName,
        /// What both want.
        what: String,
    },
    /// A client changed a key that only the server sets.
    #[error("{what}: configuration key {key:?} is set by the server only")]
    Volatile {
        /// The instance or volume.
        what: String,
        /// The key.
        key: String,
    },
}

/// Checks an instance together with its profiles.
///
/// `before` is the instance as it was, for a change. `profiles` are the instance's profiles, in its order.
///
/// # Errors
/// See [`GateError`].
pub fn instance(new: Instance, profiles: &[Profile], before: Option<&Instance>, origin: Origin) -> Result<Checked<Instance>, GateError> {
    let what = || format!("instance {}", new.name);
    if let Some(missing) = new.profiles.iter().find(|name| !profiles.iter().any(|profile| profile.name == **name)) {
        return Err(GateError::NoProfile((*missing).clone()));
    }
    let config = new.expanded_config(profiles);
    for (key, value) in config.iter() {
        key::check("instance", keys::INSTANCE, key, value).map_err(|cause| GateError::Key { what: what(), cause })?;
    }
    mounted_once("instance", &what, &config)?;
    if origin == Origin::Client {
        volatile_untouched(&what, &new.config, before.map(|instance| &instance.config))?;
    }
    let expanded = new.expanded_devices(profiles);
    let devices = expanded.parse().map_err(|cause| GateError::Device { what: what(), cause: Box::new(cause) })?;
    roots(&new, &devices, before)?;
    clashes(&new.name, &devices)?;
    Ok(Checked(new))
}

/// Checks a profile on its own. The instances that use it are checked each with it by whoever changes it.
///
/// # Errors
/// See [`GateError`].
pub fn profile(new: Profile) -> Result<Checked<Profile>, GateError> {
    let what = || format!("profile {}", new.name);
    for (key, value) in new.config.iter() {
        let server_only = key.starts_with("volatile.") || key.starts_with("image.");
        let checked = if server_only {
            Err(KeyError::Unsupported { entity: "profile", key: key.to_owned(), why: "it belongs to one instance" })
        } else {
            key::check("profile", keys::INSTANCE, key, value).map(drop)
        };
        checked.map_err(|cause| GateError::Key { what: what(), cause })?;
    }
    mounted_once("profile", &what, &new.config)?;
    new.devices.parse().map_err(|cause| GateError::Device { what: what(), cause: Box::new(cause) })?;
    Ok(Checked(new))
}

/// Checks a user's volume against the table of its driver's keys.
///
/// `before` is the volume as it was, for a change.
///
/// # Errors
/// See [`GateError`].
pub fn volume(
    new: CustomVolume,
    table: &'static [key::Key],
    before: Option<&CustomVolume>,
    origin: Origin,
) -> Result<Checked<CustomVolume>, GateError> {
    let what = || format!("storage volume {}", new.name);
    for (key, value) in new.config.iter() {
        key::check("storage volume", table, key, value).map_err(|cause| GateError::Key { what: what(), cause })?;
    }
    if origin == Origin::Client {
        volatile_untouched(&what, &new.config, before.map(|volume| &volume.config))?;
    }
    Ok(Checked(new))
}

/// Refuses a file system that both the kernel and a program inside would have to mount.
fn mounted_once(entity: &'static str, what: &dyn Fn() -> String, config: &Config) -> Result<(), GateError> {
    const ALLOWED: &str = "security.syscalls.intercept.mount.allowed";
    const FUSE: &str = "security.syscalls.intercept.mount.fuse";
    let (allowed, fuse) = (config.get(ALLOWED).unwrap_or_default(), config.get(FUSE).unwrap_or_default());
    match filesystems::in_both(allowed, fuse) {
        Some(name) => {
            let why = format!("{name:?} is in {ALLOWED} too; leave it in one of them");
            Err(GateError::Key { what: what(), cause: KeyError::Value { entity, key: FUSE.into(), value: fuse.into(), why } })
        }
        None => Ok(()),
    }
}

/// Clients send back what they read, so unchanged and missing keys are fine; the server keeps missing ones.
fn volatile_untouched(what: &dyn Fn() -> String, new: &Config, old: Option<&Config>) -> Result<(), GateError> {
    let none = Config::default();
    let old = old.unwrap_or(&none);
    let touched = |key: &str, value: &str| key.starts_with("volatile.") && old.0.get(key).is_none_or(|was| was != value);
    match new.iter().find(|(key, value)| touched(key, value)) {
        Some((key, _)) => Err(GateError::Volatile { what: what(), key: key.to_owned() }),
        None => Ok(()),
    }
}

fn roots(new: &Instance, devices: &BTreeMap<DeviceName, Device>, before: Option<&Instance>) -> Result<(), GateError> {
    let mut pools = devices.values().filter_map(|device| match device {
        Device::Disk(disk) => match &disk.source {
            DiskSource::Root(pool) => Some(pool),
            DiskSource::Volume(..) | DiskSource::Host(_) | DiskSource::Memory => None,
        },
        Device::Gpu(_) | Device::Nic(_) | Device::Proxy(_) | Device::Hotplug(_) | Device::Unix(_) | Device::None => None,
    });
    let pool = pools.next().ok_or_else(|| GateError::NoRoot(new.name.clone()))?;
    if pools.next().is_some() {
        return Err(GateError::ManyRoots(new.name.clone()));
    }
    match before {
        Some(before) if before.pool != *pool => Err(GateError::RootMoved { instance: new.name.clone(), pool: before.pool.clone() }),
        _ => Ok(()),
    }
}

fn clashes(instance: &InstanceName, devices: &BTreeMap<DeviceName, Device>) -> Result<(), GateError> {
    let mut wants: BTreeMap<String, &DeviceName> = BTreeMap::new();
    for (name, device) in devices {
        let want = match device {
            Device::Disk(disk) => format!("path {}", disk.path),
            Device::Nic(nic) => format!("interface {}", nic.name.as_ref().map_or(name.as_str(), AsRef::as_ref)),
            Device::Unix(node) => format!("path {}", node.path),
            Device::Gpu(_) | Device::Proxy(_) | Device::Hotplug(_) | Device::None => continue,
        };
        if let Some(first) = wants.insert(want.clone(), name) {
            return Err(GateError::Clash { instance: instance.clone(), first: first.clone(), second: name.clone(), what: want });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Devices;
    use crate::instance::Phase;
    use crate::{ProjectName, Time};

    fn web() -> Instance {
        Instance {
            project: ProjectName::default_project(),
            name: "web".parse().unwrap(),
            architecture: "x86_64".into(),
            description: String::new(),
            ephemeral: false,
            profiles: vec![ProfileName::default_profile()],
            config: Config::default(),
            devices: Devices::default(),
            pool: "default".parse().unwrap(),
            created_at: Time::UNIX_EPOCH,
            last_used_at: None,
            phase: Phase::Ready,
        }
    }

    fn default_profile() -> Profile {
        let root = [("type", "disk"), ("path", "/"), ("pool", "default")].into_iter().collect();
        Profile {
            project: ProjectName::default_project(),
            name: ProfileName::default_profile(),
            description: String::new(),
            config: Config::default(),
            devices: Devices([("root".parse().unwrap(), root)].into()),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Instance, &mut Profile), expect: &str) {
        let (before, mut new, mut profile) = (web(), web(), default_profile());
        change(&mut new, &mut profile);
        let got = match instance(new, &[profile], Some(&before), Origin::Client) {
            Ok(_) => "fine".to_owned(),
            Err(error) => coffer_base::chain(&error),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn the_merged_object_is_what_counts() {
        check(|_, _| (), "fine");
        check(
            |_, profile| profile.config.set("limits.cpu", "many"),
            "instance web: invalid value \"many\" for instance configuration key \"limits.cpu\": it must be a number of CPUs or a set such as 0-3,6",
        );
        check(
            |_, profile| profile.devices.0.clear(),
            "instance web has no root disk; add a disk device with path=/ and a pool, or a profile that has one (coffer admin init makes one)",
        );
        check(
            |new, profile| {
                new.config.set("security.syscalls.intercept.mount.fuse", "ext4=fuse2fs");
                profile.config.set("security.syscalls.intercept.mount.allowed", "xfs,ext4");
            },
            "instance web: invalid value \"ext4=fuse2fs\" for instance configuration key \"security.syscalls.intercept.mount.fuse\": \"ext4\" is in security.syscalls.intercept.mount.allowed too; leave it in one of them",
        );
        check(|_, profile| profile.name = "other".parse().unwrap(), "profile default does not exist");
    }

    #[test]
    fn clients_do_not_change_what_the_server_remembers() {
        check(|new, _| new.config.set("volatile.uuid", "x"), "instance web: configuration key \"volatile.uuid\" is set by the server only");
    }

    #[test]
    fn the_root_stays_in_its_pool() {
        check(
            |_, profile| profile.devices.0.values_mut().for_each(|keys| keys.set("pool", "other")),
            "instance web: its root disk is in pool default; moving it to another pool is not an update",
        );
    }

    #[test]
    fn two_devices_cannot_have_one_place() {
        let disk = || [("type", "disk"), ("path", "/src/"), ("source", "/a")].into_iter().collect::<Config>();
        check(
            |new, _| {
                new.devices.0.insert("a".parse().unwrap(), disk());
                new.devices.0.insert("b".parse().unwrap(), disk());
            },
            "instance web: devices a and b both want path /src",
        );
    }
}
