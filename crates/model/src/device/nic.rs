//! `nic`: a network interface.

mod kind;
mod limits;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use kind::{IpvlanMode, NicParent, OverKind};
pub use limits::NicLimits;

use super::reader::Reader;
use super::{DeviceError, LATER};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::{BitRate, Bool, Int, Line};
use crate::keys::{LIVE, NEXT_START, row};
use crate::names::InterfaceName;

/// Keys of NIC devices.
pub const KEYS: &[Key] = &[
    row("host_name", Line, "", NEXT_START, Free, Yes, "Name of the interface on the host."),
    row("hwaddr", Line, "", NEXT_START, Free, Yes, "MAC address."),
    row("ipv4.address", Line, "", NEXT_START, Free, Yes, "IPv4 address to have, or `none`."),
    row("ipv4.routes", Line, "", LIVE, Free, LATER, "Routes on the host to the NIC."),
    row("ipv6.address", Line, "", NEXT_START, Free, Yes, "IPv6 address to have, or `none`."),
    row("ipv6.routes", Line, "", LIVE, Free, LATER, "Routes on the host to the NIC."),
    row("limits.egress", BitRate, "", LIVE, Free, Yes, "What may leave the instance in a second, such as `10Mbit`; more is dropped."),
    row("limits.ingress", BitRate, "", LIVE, Free, Yes, "What may reach the instance in a second, such as `10Mbit`; more waits."),
    row("limits.max", BitRate, "", LIVE, Free, Yes, "What may leave, and what may reach the instance in a second."),
    row(
        "limits.priority",
        Int(0, 4_294_967_295),
        "",
        LIVE,
        Free,
        Yes,
        "Priority that what leaves the instance has in the host's queues (`SO_PRIORITY`).",
    ),
    row("mode", Line, "l3s", NEXT_START, Free, Yes, "What an ipvlan link forwards by: `l2` or `l3s`."),
    row("mtu", Int(68, 65535), "", NEXT_START, Free, Yes, "Largest packet, in bytes."),
    row("name", Line, "", NEXT_START, Free, Yes, "Name of the interface inside."),
    row("network", Line, "", NEXT_START, Free, Yes, "The managed network."),
    row(
        "nictype",
        Line,
        "",
        NEXT_START,
        Free,
        Yes,
        "Kind of NIC, where no managed network is named: `bridged`, `macvlan`, `ipvlan`, `p2p` or `physical`.",
    ),
    row("parent", Line, "", NEXT_START, Free, Yes, "The host's bridge or interface, where no managed network is named."),
    row("queue.tx.length", Int(1, 1_000_000), "", NEXT_START, Free, Yes, "How many packets wait to be sent on either end."),
    row(
        "security.ipv4_filtering",
        Bool,
        "true",
        NEXT_START,
        Free,
        Yes,
        "Whether packets from other IPv4 addresses are dropped. What an absent key means is the server key instances.nic.filtering.",
    ),
    row("security.ipv6_filtering", Bool, "true", NEXT_START, Free, Yes, "Whether packets from other IPv6 addresses are dropped; as above."),
    row("security.mac_filtering", Bool, "true", NEXT_START, Free, Yes, "Whether packets from other MAC addresses are dropped; as above."),
    row("security.port_isolation", Bool, "false", NEXT_START, Free, Yes, "Whether isolated ports of one bridge cannot reach each other."),
    row("type", Line, "", NEXT_START, Free, Yes, "`nic`."),
    row("vlan", Line, "", NEXT_START, Free, LATER, "VLAN of untagged packets."),
    row("vlan.tagged", Line, "", NEXT_START, Free, LATER, "VLANs of tagged packets."),
];

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// What it is attached to.
    pub on: NicParent,
    /// How much it may carry.
    pub limits: NicLimits,
    /// How many packets wait to be sent on either end of its pair; the kernel's default if none.
    pub queue: Option<u32>,
    /// Its name inside; the device's name where not said.
    pub name: Option<InterfaceName>,
    /// Its name on the host, where the user chose one.
    pub host_name: Option<InterfaceName>,
    /// Its MAC address in lower case, where the user chose one.
    pub hwaddr: Option<String>,
    /// Its largest packet.
    pub mtu: Option<u32>,
    /// Whether it cannot reach other isolated ports of its bridge.
    pub isolated: bool,
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

impl Nic {
    /// Says whether another NIC is the same link: all but its limits, which can change while it is used.
    #[must_use]
    pub fn same_link(&self, other: &Self) -> bool {
        *self == Self { limits: self.limits, ..other.clone() }
    }
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

/// Reads a NIC.
pub(super) fn parse(reader: &Reader<'_>) -> Result<Nic, DeviceError> {
    Ok(Nic {
        on: kind::parse(reader)?,
        limits: limits::parse(reader)?,
        queue: reader.keys.parse("queue.tx.length"),
        name: reader.name("name")?,
        host_name: reader.name("host_name")?,
        hwaddr: reader.keys.get("hwaddr").map(|text| hwaddr(reader, text)).transpose()?,
        mtu: reader.keys.parse("mtu"),
        isolated: reader.keys.flag("security.port_isolation", false),
        ipv4: address(reader, "ipv4.address")?,
        ipv6: address(reader, "ipv6.address")?,
        mac_filtering: filtering(reader, "security.mac_filtering"),
        ipv4_filtering: filtering(reader, "security.ipv4_filtering"),
        ipv6_filtering: filtering(reader, "security.ipv6_filtering"),
    })
}

fn filtering(reader: &Reader<'_>, key: &str) -> Option<bool> {
    reader.keys.get(key).map(|_| reader.keys.flag(key, false))
}

fn address<A: std::str::FromStr>(reader: &Reader<'_>, key: &'static str) -> Result<Address<A>, DeviceError> {
    match reader.keys.get(key) {
        None | Some("auto") => Ok(Address::Auto),
        Some("none") => Ok(Address::None),
        Some(text) => text.parse().map(Address::Fixed).map_err(|_| reader.value(key, text, "it must be an address, auto or none")),
    }
}

fn hwaddr(reader: &Reader<'_>, text: &str) -> Result<String, DeviceError> {
    let parts: Vec<&str> = text.split(':').collect();
    let bytes: Option<Vec<u8>> = parts.iter().map(|part| if part.len() == 2 { u8::from_str_radix(part, 16).ok() } else { None }).collect();
    match bytes {
        Some(bytes) if bytes.len() == 6 && bytes[0] & 1 == 0 && bytes.iter().any(|&byte| byte != 0) => Ok(text.to_ascii_lowercase()),
        _ => Err(reader.value("hwaddr", text, "it must be a unicast MAC address such as 00:16:3e:12:34:56")),
    }
}

#[cfg(test)]
mod tests {
    use crate::device::tests::check;

    #[test]
    fn nics() {
        check(&[("type", "nic"), ("network", "cofferbr0")], "fine");
        check(&[("type", "nic"), ("nictype", "bridged"), ("parent", "br0")], "fine");
        check(&[("type", "nic")], "device dev: key \"network\" is missing");
        check(&[("type", "nic"), ("nictype", "macvlan"), ("parent", "eth0")], "fine");
        check(&[("type", "nic"), ("nictype", "ipvlan"), ("parent", "eth0"), ("mode", "l2")], "fine");
        check(&[("type", "nic"), ("nictype", "physical"), ("parent", "eth1"), ("mtu", "1400")], "fine");
        check(&[("type", "nic"), ("nictype", "p2p"), ("limits.max", "10Mbit"), ("host_name", "mine0")], "fine");
        check(&[("type", "nic"), ("nictype", "macvlan")], "device dev: key \"parent\" is missing");
        check(
            &[("type", "nic"), ("nictype", "macvlan"), ("parent", "eth0"), ("limits.max", "1Mbit")],
            "device dev: key \"limits.max\" has no meaning for nictype=macvlan",
        );
        check(
            &[("type", "nic"), ("network", "br0"), ("limits.max", "1Mbit"), ("limits.egress", "1Mbit")],
            "device dev: limits.max is both directions: it excludes limits.ingress and limits.egress",
        );
        check(
            &[("type", "nic"), ("nictype", "sriov"), ("parent", "eth0")],
            "device dev: invalid value \"sriov\" for key \"nictype\": it takes an interface that splits itself; move one of its functions in with \
             nictype=physical",
        );
        check(
            &[("type", "nic"), ("network", "br0"), ("hwaddr", "01:00:00:00:00:01")],
            "device dev: invalid value \"01:00:00:00:00:01\" for key \"hwaddr\": it must be a unicast MAC address such as 00:16:3e:12:34:56",
        );
    }
}
