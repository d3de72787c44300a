//! Devices: what an instance or profile asks for, as typed values. One file a kind, its keys' table first.

pub mod disk;
pub mod gpu;
pub mod hotplug;
pub mod nic;
pub mod none;
pub mod proxy;
mod reader;
pub mod unix;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::key::{self, KeyError, Support};
use crate::names::{DeviceName, PoolName};
use reader::Reader;

pub use disk::{Disk, DiskLimits, DiskOwner, DiskSource, Propagation};
pub use gpu::{CdiName, Gpu, GpuChoice};
pub use hotplug::{Hotplug, HotplugNodes};
pub use nic::{Address, IpvlanMode, Nic, NicLimits, NicParent, OverKind};
pub use proxy::{Endpoints, Proxy, Side};
pub use unix::{NodeAccess, NodeKind, NodeSource, UnixDevice};

/// Devices by name, as they are written: maps of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Devices(pub BTreeMap<DeviceName, Config>);

/// The kinds of device that this server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A directory, file or volume of the host.
    Disk,
    /// Graphics cards and other accelerators.
    Gpu,
    /// A network interface.
    Nic,
    /// Connections handed on.
    Proxy,
    /// A character device of the host.
    UnixChar,
    /// A block device of the host.
    UnixBlock,
    /// What the host's drivers make of a device by vendor and product.
    UnixHotplug,
    /// A USB device by vendor and product.
    Usb,
    /// Nothing: takes away a device of the same name that a profile gives.
    None,
}

/// One device, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// See [`Disk`].
    Disk(Disk),
    /// See [`Gpu`].
    Gpu(Gpu),
    /// See [`Nic`].
    Nic(Nic),
    /// See [`Proxy`].
    Proxy(Proxy),
    /// See [`Hotplug`].
    Hotplug(Hotplug),
    /// See [`UnixDevice`].
    Unix(UnixDevice),
    /// See [`DeviceKind::None`].
    None,
}

/// Why a device is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    /// A key is missing.
    #[error("device {device}: key {key:?} is missing{}", if *key == "type" { format!("; use type={}", kinds()) } else { String::new() })]
    Missing {
        /// The device.
        device: DeviceName,
        /// The key.
        key: &'static str,
    },
    /// The kind is known to the API, but this server does not do it.
    #[error("device {device}: devices of type {kind:?} are not supported: {why}")]
    Unsupported {
        /// The device.
        device: DeviceName,
        /// The kind.
        kind: String,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// The kind is not known.
    #[error("device {device}: unknown type {kind:?}")]
    UnknownKind {
        /// The device.
        device: DeviceName,
        /// The kind.
        kind: String,
    },
    /// A key is refused.
    #[error("device {device}")]
    Key {
        /// The device.
        device: DeviceName,
        /// Why.
        #[source]
        cause: KeyError,
    },
    /// A value is refused.
    #[error("device {device}: invalid value {value:?} for key {key:?}: {why}")]
    Value {
        /// The device.
        device: DeviceName,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// Keys do not go together.
    #[error("device {device}: {why}")]
    Combination {
        /// The device.
        device: DeviceName,
        /// What is wrong.
        why: String,
    },
}

/// Why a key that is known is refused for now.
const LATER: Support = Support::No("this server does not do it yet");

/// Kinds that other servers have and this one does not, each with the reason and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("infiniband", "its interface can be moved in only by a server that does nictype=physical, and this one does not yet"),
    ("pci", "PCI devices are passed to virtual machines, which this server does not run"),
    ("tpm", "it takes an emulator (swtpm) that this server does not run; pass the host's /dev/tpm0 with unix-char"),
];

/// The kinds that are supported, as a list for messages.
fn kinds() -> String {
    DeviceKind::ALL.map(DeviceKind::name).join(", ")
}

impl DeviceKind {
    /// All kinds, in the order of the manual.
    pub const ALL: [Self; 9] =
        [Self::Disk, Self::Gpu, Self::Nic, Self::Proxy, Self::UnixChar, Self::UnixBlock, Self::UnixHotplug, Self::Usb, Self::None];

    /// The kind's name, as the key `type` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Gpu => "gpu",
            Self::Nic => "nic",
            Self::Proxy => "proxy",
            Self::UnixChar => "unix-char",
            Self::UnixBlock => "unix-block",
            Self::UnixHotplug => "unix-hotplug",
            Self::Usb => "usb",
            Self::None => "none",
        }
    }

    /// Reads the kind from a device's keys.
    ///
    /// # Errors
    /// If it is missing, unknown or not supported.
    pub fn of(device: &DeviceName, keys: &Config) -> Result<Self, DeviceError> {
        let kind = keys.get("type").ok_or_else(|| DeviceError::Missing { device: device.clone(), key: "type" })?;
        match Self::ALL.into_iter().find(|known| known.name() == kind) {
            Some(known) => Ok(known),
            None => Err(match REFUSED.iter().find(|(refused, _)| *refused == kind) {
                Some((_, why)) => DeviceError::Unsupported { device: device.clone(), kind: kind.into(), why },
                None => DeviceError::UnknownKind { device: device.clone(), kind: kind.into() },
            }),
        }
    }

    /// The table of this kind's keys.
    #[must_use]
    pub fn table(self) -> &'static [key::Key] {
        match self {
            Self::Disk => disk::KEYS,
            Self::Gpu => gpu::KEYS,
            Self::Nic => nic::KEYS,
            Self::Proxy => proxy::KEYS,
            Self::UnixChar | Self::UnixBlock => unix::KEYS,
            Self::UnixHotplug | Self::Usb => hotplug::KEYS,
            Self::None => none::KEYS,
        }
    }
}

impl Device {
    /// Reads a device from its keys.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn parse(name: &DeviceName, keys: &Config) -> Result<Self, DeviceError> {
        let kind = DeviceKind::of(name, keys)?;
        for (key, value) in keys.iter() {
            key::check("device", kind.table(), key, value).map_err(|cause| DeviceError::Key { device: name.clone(), cause })?;
        }
        let reader = Reader { device: name, keys };
        match kind {
            DeviceKind::Disk => disk::parse(&reader).map(Self::Disk),
            DeviceKind::Gpu => gpu::parse(&reader).map(Self::Gpu),
            DeviceKind::Nic => nic::parse(&reader).map(Self::Nic),
            DeviceKind::Proxy => proxy::parse(&reader).map(Self::Proxy),
            DeviceKind::UnixChar => unix::parse(&reader, NodeKind::Char).map(Self::Unix),
            DeviceKind::UnixBlock => unix::parse(&reader, NodeKind::Block).map(Self::Unix),
            DeviceKind::UnixHotplug => hotplug::parse(&reader, HotplugNodes::Drivers).map(Self::Hotplug),
            DeviceKind::Usb => hotplug::parse(&reader, HotplugNodes::Bus).map(Self::Hotplug),
            DeviceKind::None => Ok(Self::None),
        }
    }
}

impl Devices {
    /// Reads all devices.
    ///
    /// # Errors
    /// The first device that is refused.
    pub fn parse(&self) -> Result<BTreeMap<DeviceName, Device>, DeviceError> {
        self.0.iter().map(|(name, keys)| Ok((name.clone(), Device::parse(name, keys)?))).collect()
    }

    /// The root disk: the name and pool of the disk whose path is `/`.
    #[must_use]
    pub fn root(&self) -> Option<(&DeviceName, PoolName)> {
        self.0.iter().find_map(|(name, keys)| {
            let root = keys.get("type") == Some("disk") && keys.get("path") == Some("/") && keys.get("source").is_none();
            if root { Some((name, keys.get("pool")?.parse().ok()?)) } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what is said of a device `dev` with these keys.
    #[track_caller]
    pub(super) fn check(keys: &[(&str, &str)], expect: &str) {
        let config: Config = keys.iter().copied().collect();
        let got = match Device::parse(&"dev".parse().unwrap(), &config) {
            Ok(_) => "fine".to_owned(),
            Err(error) => coffer_base::chain(&error),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn kinds() {
        check(
            &[("type", "pci")],
            "device dev: devices of type \"pci\" are not supported: PCI devices are passed to virtual machines, which this server does not run",
        );
        check(&[("type", "floppy")], "device dev: unknown type \"floppy\"");
        check(&[], &format!("device dev: key \"type\" is missing; use type={}", super::kinds()));
    }
}
