//! A bridge network's configuration: from keys and text to values that are valid, and the choice of automatic addresses.

mod auto;
mod keys;
mod raw;
mod value;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use coffer_model::key::{KeyError, check};
use coffer_model::{Config, InterfaceName};
use ipnet::{Ipv4Net, Ipv6Net};

pub use auto::{AutoError, fill_auto, fill_new};
pub use keys::BRIDGE;
pub use value::{Domain, Expiry};

use crate::hwaddr::HwAddr;

/// What is configured, for messages.
const ENTITY: &str = "network";

/// A bridge network's configuration, valid and with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The bridge's hardware address, where the user chose one.
    pub hwaddr: Option<HwAddr>,
    /// The largest packet in bytes; the kernel's 1500 if none.
    pub mtu: Option<u32>,
    /// Interfaces of the host that are ports of the bridge.
    pub external_interfaces: Vec<InterfaceName>,
    /// IPv4, if the network has it.
    pub ipv4: Option<Ipv4>,
    /// IPv6, if the network has it.
    pub ipv6: Option<Ipv6>,
    /// Names.
    pub dns: Dns,
    /// Further lines for dnsmasq, checked.
    pub raw_dnsmasq: String,
}

/// What is the same for both families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside<A> {
    /// Whether packets to the outside take the host's address.
    pub nat: bool,
    /// The address they take; the outgoing interface's if none.
    pub nat_address: Option<A>,
    /// Whether other translation rules go first.
    pub nat_after: bool,
    /// Whether packets are forwarded between the bridge and the outside at all.
    pub routed: bool,
    /// Whether forwarding rules are made.
    pub firewall: bool,
}

/// IPv4 on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv4 {
    /// The bridge's address and network.
    pub address: Ipv4Net,
    /// The way out.
    pub outside: Outside<Ipv4Addr>,
    /// DHCP, if instances are given addresses.
    pub dhcp: Option<Dhcp4>,
    /// Further networks behind the bridge.
    pub routes: Vec<Ipv4Net>,
}

/// DHCP for IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp4 {
    /// How long a lease is valid.
    pub expiry: Expiry,
    /// The router that instances are told of.
    pub gateway: Option<Ipv4Addr>,
    /// Where addresses are chosen from; never empty.
    pub ranges: Vec<RangeInclusive<Ipv4Addr>>,
}

/// IPv6 on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6 {
    /// The bridge's address and network, a /64.
    pub address: Ipv6Net,
    /// The way out.
    pub outside: Outside<Ipv6Addr>,
    /// How far DHCPv6 goes.
    pub dhcp: Dhcp6,
    /// Further networks behind the bridge.
    pub routes: Vec<Ipv6Net>,
}

/// How far DHCPv6 goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dhcp6 {
    /// Router advertisements only.
    Off,
    /// Name server and domain; instances make their addresses themselves.
    Stateless,
    /// Addresses too.
    Stateful {
        /// How long a lease is valid.
        expiry: Expiry,
        /// Where addresses are chosen from; never empty.
        ranges: Vec<RangeInclusive<Ipv6Addr>>,
    },
}

/// Names on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Which names are answered for.
    pub mode: DnsMode,
    /// The domain of the instances' names.
    pub domain: Domain,
    /// Domains that instances look names up in.
    pub search: Vec<Domain>,
}

/// Which names are answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsMode {
    /// None: questions are only passed on.
    None,
    /// The instances' names.
    Managed,
    /// The instances' names, and those that DHCP clients choose for themselves where they are free.
    Dynamic,
}

/// Why a network's configuration is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A key is unknown or not supported, or its value is not of its type.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A value does not fit.
    #[error("invalid value {value:?} for network configuration key {key:?}: {why}")]
    Value {
        /// The key.
        key: String,
        /// The value, cut after 100 characters.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key needs another one.
    #[error("network configuration key {key:?} needs {needs}")]
    Needs {
        /// The key.
        key: &'static str,
        /// What it needs.
        needs: &'static str,
    },
}

impl BridgeConfig {
    /// Reads a bridge network's configuration. `auto` addresses must have been filled in; an absent address means none.
    ///
    /// # Errors
    /// An unknown or unsupported key, a value that does not fit its key, keys that do not fit together.
    pub fn parse(config: &Config) -> Result<Self, ConfigError> {
        check_keys(config)?;
        let ipv4 = value::ipv4(config)?;
        let ipv6 = value::ipv6(config)?;
        let mtu = config.parse("bridge.mtu");
        if mtu.is_some_and(|mtu: u32| mtu < 1280) && ipv6.is_some() {
            return Err(value::refuse(config, "bridge.mtu", "IPv6 needs at least 1280; set ipv6.address to none or the MTU higher"));
        }
        Ok(Self {
            hwaddr: value::read(config, "bridge.hwaddr", |text| text.parse::<HwAddr>().map_err(|error| error.to_string()))?,
            mtu,
            external_interfaces: value::list(config, "bridge.external_interfaces", |text| {
                text.parse::<InterfaceName>().map_err(|error| error.to_string())
            })?,
            ipv4,
            ipv6,
            dns: value::dns(config)?,
            raw_dnsmasq: raw::checked(config)?,
        })
    }

    /// Says whether no packet may leave for the outside, in either family.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        let v4 = self.ipv4.as_ref().is_some_and(|v4| v4.outside.routed);
        let v6 = self.ipv6.as_ref().is_some_and(|v6| v6.outside.routed);
        !v4 && !v6
    }

    /// The bridge's addresses with their prefixes.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
        let v4 = self.ipv4.iter().map(|v4| (IpAddr::V4(v4.address.addr()), v4.address.prefix_len()));
        let v6 = self.ipv6.iter().map(|v6| (IpAddr::V6(v6.address.addr()), v6.address.prefix_len()));
        v4.chain(v6)
    }

    /// Further networks behind the bridge.
    pub fn routes(&self) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
        let v4 = self.ipv4.iter().flat_map(|v4| &v4.routes).map(|net| (IpAddr::V4(net.network()), net.prefix_len()));
        let v6 = self.ipv6.iter().flat_map(|v6| &v6.routes).map(|net| (IpAddr::V6(net.network()), net.prefix_len()));
        v4.chain(v6)
    }
}

/// Checks every key against the table: known, supported, value of its type.
///
/// # Errors
/// The first key that is refused.
pub fn check_keys(config: &Config) -> Result<(), ConfigError> {
    for (key, value) in config.iter() {
        check(ENTITY, BRIDGE, key, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
