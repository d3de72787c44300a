//! Devices: what an instance or profile asks for, as typed values.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use coffer_base::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::key::{self, KeyError};
use crate::keys;
use crate::names::{DeviceName, InterfaceName, NetworkName, PoolName, VolumeName};

/// Devices by name, as they are written: maps of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Devices(pub BTreeMap<DeviceName, Config>);

/// The kinds of device that the API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A directory, file or volume of the host.
    Disk,
    /// A network interface.
    Nic,
    /// Nothing: takes away a device of the same name that a profile gives.
    None,
}

/// One device, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// See [`Disk`].
    Disk(Disk),
    /// See [`Nic`].
    Nic(Nic),
    /// See [`DeviceKind::None`].
    None,
}

/// A disk: the instance's root, a volume, or a path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where it appears inside, absolute.
    pub path: String,
    /// What it is.
    pub source: DiskSource,
    /// Whether writing is refused.
    pub readonly: bool,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// Whether a missing source keeps the instance from starting.
    pub required: bool,
    /// Whether ids are mapped as the instance's own.
    pub shift: bool,
    /// The root disk's size.
    pub size: Option<Bytes>,
}

/// Where a disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// The instance's own volume in a pool.
    Root(PoolName),
    /// A custom volume of a pool.
    Volume(PoolName, VolumeName),
    /// An absolute path of the host.
    Host(String),
}

/// A network interface on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The managed network or the host's bridge it is on.
    pub on: NicParent,
    /// Its name inside; the device's name where not said.
    pub name: Option<InterfaceName>,
    /// Its name on the host, where the user chose one.
    pub host_name: Option<InterfaceName>,
    /// Its MAC address in lower case, where the user chose one.
    pub hwaddr: Option<String>,
    /// Its largest packet.
    pub mtu: Option<u32>,
    /// The IPv4 address it is to have.
    pub ipv4: Address<Ipv4Addr>,
    /// The IPv6 address it is to have.
    pub ipv6: Address<Ipv6Addr>,
    /// Whether other MAC addresses are dropped; `None` leaves it to the server.
    pub mac_filtering: Option<bool>,
    /// Whether other IPv4 addresses are dropped.
    pub ipv4_filtering: Option<bool>,
    /// Whether other IPv6 addresses are dropped.
    pub ipv6_filtering: Option<bool>,
}

/// What a NIC is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicParent {
    /// A network of this server.
    Network(NetworkName),
    /// A bridge that somebody else manages.
    Bridge(InterfaceName),
}

/// How a NIC comes to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<A> {
    /// The network chooses.
    Auto,
    /// None at all.
    None,
    /// This one.
    Fixed(A),
}

/// Why a device is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    /// A key is missing.
    #[error("device {device}: key {key:?} is missing{}", if *key == "type" { "; use type=disk, nic or none" } else { "" })]
    Missing {
        /// The device.
        device: DeviceName,
        /// The key.
        key: &'static str,
    },
    /// The kind is known to the API, but this server does not do it.
    #[error("device {device}: devices of type {kind:?} are not supported yet; disk, nic and none are")]
    Unsupported {
        /// The device.
        device: DeviceName,
        /// The kind.
        kind: String,
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
        why: &'static str,
    },
}

const LATER: &[&str] = &["gpu", "infiniband", "pci", "proxy", "tpm", "unix-block", "unix-char", "unix-hotplug", "usb"];

impl DeviceKind {
    /// Reads the kind from a device's keys.
    ///
    /// # Errors
    /// If it is missing, unknown or not supported.
    pub fn of(device: &DeviceName, keys: &Config) -> Result<Self, DeviceError> {
        match keys.get("type") {
            Some("disk") => Ok(Self::Disk),
            Some("nic") => Ok(Self::Nic),
            Some("none") => Ok(Self::None),
            Some(kind) if LATER.contains(&kind) => Err(DeviceError::Unsupported { device: device.clone(), kind: kind.into() }),
            Some(kind) => Err(DeviceError::UnknownKind { device: device.clone(), kind: kind.into() }),
            None => Err(DeviceError::Missing { device: device.clone(), key: "type" }),
        }
    }

    /// The table of this kind's keys.
    #[must_use]
    pub fn table(self) -> &'static [key::Key] {
        match self {
            Self::Disk => keys::DISK,
            Self::Nic => keys::NIC,
            Self::None => keys::NONE,
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
            DeviceKind::Disk => reader.disk().map(Self::Disk),
            DeviceKind::Nic => reader.nic().map(Self::Nic),
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

struct Reader<'a> {
    device: &'a DeviceName,
    keys: &'a Config,
}

impl Reader<'_> {
    fn disk(&self) -> Result<Disk, DeviceError> {
        let path = self.keys.get("path").ok_or(DeviceError::Missing { device: self.device.clone(), key: "path" })?;
        if path != "/" && (!path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".")) {
            return Err(self.value("path", path, "it must be absolute, without . and .."));
        }
        let pool: Option<PoolName> = self.name("pool")?;
        let source = match (path, self.keys.get("source"), pool) {
            ("/", None, Some(pool)) => DiskSource::Root(pool),
            ("/", None, None) => return Err(DeviceError::Missing { device: self.device.clone(), key: "pool" }),
            ("/", Some(_), _) => return Err(self.combination("a root disk has no source")),
            (_, None, _) => return Err(DeviceError::Missing { device: self.device.clone(), key: "source" }),
            (_, Some(_), Some(pool)) => {
                let volume: Option<VolumeName> = self.name("source")?;
                DiskSource::Volume(pool, volume.ok_or(DeviceError::Missing { device: self.device.clone(), key: "source" })?)
            }
            (_, Some(source), None) => self.host_source(source)?,
        };
        Ok(Disk {
            path: path.to_owned(),
            source,
            readonly: self.keys.flag("readonly", false),
            recursive: self.keys.flag("recursive", false),
            required: self.keys.flag("required", true),
            shift: self.keys.flag("shift", false),
            size: self.keys.parse("size"),
        })
    }

    fn host_source(&self, source: &str) -> Result<DiskSource, DeviceError> {
        match source.split_once(':') {
            Some((kind @ ("ceph" | "cephfs" | "tmpfs" | "tmpfs-overlay" | "cloud-init"), _)) => {
                Err(self.value("source", source, &format!("{kind} sources are not supported yet")))
            }
            _ if source.starts_with('/') => Ok(DiskSource::Host(source.to_owned())),
            _ => Err(self.value("source", source, "it must be an absolute path of the host, or a volume together with a pool")),
        }
    }

    fn nic(&self) -> Result<Nic, DeviceError> {
        let network: Option<NetworkName> = self.name("network")?;
        let parent: Option<InterfaceName> = self.name("parent")?;
        let on = match (network, parent, self.keys.get("nictype")) {
            (Some(network), None, None) => NicParent::Network(network),
            (Some(_), _, _) => return Err(self.combination("network excludes nictype and parent")),
            (None, Some(parent), Some("bridged")) => NicParent::Bridge(parent),
            (None, None, Some(_)) => return Err(DeviceError::Missing { device: self.device.clone(), key: "parent" }),
            (None, _, _) => return Err(DeviceError::Missing { device: self.device.clone(), key: "network" }),
        };
        Ok(Nic {
            on,
            name: self.name("name")?,
            host_name: self.name("host_name")?,
            hwaddr: self.keys.get("hwaddr").map(|text| self.hwaddr(text)).transpose()?,
            mtu: self.keys.parse("mtu"),
            ipv4: self.address("ipv4.address")?,
            ipv6: self.address("ipv6.address")?,
            mac_filtering: self.filtering("security.mac_filtering"),
            ipv4_filtering: self.filtering("security.ipv4_filtering"),
            ipv6_filtering: self.filtering("security.ipv6_filtering"),
        })
    }

    fn filtering(&self, key: &str) -> Option<bool> {
        self.keys.get(key).map(|_| self.keys.flag(key, false))
    }

    fn address<A: std::str::FromStr>(&self, key: &'static str) -> Result<Address<A>, DeviceError> {
        match self.keys.get(key) {
            None | Some("auto") => Ok(Address::Auto),
            Some("none") => Ok(Address::None),
            Some(text) => text.parse().map(Address::Fixed).map_err(|_| self.value(key, text, "it must be an address, auto or none")),
        }
    }

    fn hwaddr(&self, text: &str) -> Result<String, DeviceError> {
        let parts: Vec<&str> = text.split(':').collect();
        let bytes: Option<Vec<u8>> =
            parts.iter().map(|part| if part.len() == 2 { u8::from_str_radix(part, 16).ok() } else { None }).collect();
        match bytes {
            Some(bytes) if bytes.len() == 6 && bytes[0] & 1 == 0 && bytes.iter().any(|&byte| byte != 0) => Ok(text.to_ascii_lowercase()),
            _ => Err(self.value("hwaddr", text, "it must be a unicast MAC address such as 00:16:3e:12:34:56")),
        }
    }

    fn name<N: std::str::FromStr<Err = crate::NameError>>(&self, key: &'static str) -> Result<Option<N>, DeviceError> {
        self.keys.get(key).map(|text| text.parse().map_err(|error: crate::NameError| self.value(key, text, error.why))).transpose()
    }

    fn value(&self, key: &'static str, value: &str, why: &str) -> DeviceError {
        DeviceError::Value { device: self.device.clone(), key, value: value.to_owned(), why: why.to_owned() }
    }

    fn combination(&self, why: &'static str) -> DeviceError {
        DeviceError::Combination { device: self.device.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[(&str, &str)], expect: &str) {
        let config: Config = keys.iter().copied().collect();
        let got = match Device::parse(&"dev".parse().unwrap(), &config) {
            Ok(_) => "fine".to_owned(),
            Err(error) => coffer_base::chain(&error),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn disks() {
        check(&[("type", "disk"), ("path", "/"), ("pool", "default")], "fine");
        check(&[("type", "disk"), ("path", "/src"), ("source", "/home/me")], "fine");
        check(&[("type", "disk"), ("path", "/")], "device dev: key \"pool\" is missing");
        check(
            &[("type", "disk"), ("path", "/a/../b"), ("source", "/x")],
            "device dev: invalid value \"/a/../b\" for key \"path\": it must be absolute, without . and ..",
        );
        check(
            &[("type", "disk"), ("path", "/a"), ("source", "x")],
            "device dev: invalid value \"x\" for key \"source\": it must be an absolute path of the host, or a volume together with a pool",
        );
        check(
            &[("type", "disk"), ("path", "/a"), ("source", "/x"), ("pth", "y")],
            "device dev: unknown device configuration key \"pth\"; did you mean \"path\"?",
        );
    }

    #[test]
    fn nics() {
        check(&[("type", "nic"), ("network", "cofferbr0")], "fine");
        check(&[("type", "nic"), ("nictype", "bridged"), ("parent", "br0")], "fine");
        check(&[("type", "nic")], "device dev: key \"network\" is missing");
        check(
            &[("type", "nic"), ("network", "br0"), ("hwaddr", "01:00:00:00:00:01")],
            "device dev: invalid value \"01:00:00:00:00:01\" for key \"hwaddr\": it must be a unicast MAC address such as 00:16:3e:12:34:56",
        );
    }

    #[test]
    fn kinds() {
        check(&[("type", "gpu")], "device dev: devices of type \"gpu\" are not supported yet; disk, nic and none are");
        check(&[("type", "floppy")], "device dev: unknown type \"floppy\"");
        check(&[], "device dev: key \"type\" is missing; use type=disk, nic or none");
    }
}
