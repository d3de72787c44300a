//! What a NIC is: on which network of this server, or of which kind over what of the host.

use super::super::DeviceError;
use super::super::reader::Reader;
use crate::names::{InterfaceName, NetworkName};

/// What a NIC is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicParent {
    /// A network of this server.
    Network(NetworkName),
    /// A bridge that somebody else manages.
    Bridge(InterfaceName),
    /// A link of its own over an interface of the host.
    Over(InterfaceName, OverKind),
    /// The host's interface itself, which moves into the instance while that runs.
    Physical(InterfaceName),
    /// The host alone: one end of a pair here, the other inside.
    PointToPoint,
}

/// How a link shares an interface of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverKind {
    /// With a hardware address of its own; its kind's links reach each other, but not the host.
    Macvlan,
    /// With the interface's hardware address.
    Ipvlan(IpvlanMode),
}

/// What an ipvlan link forwards by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanMode {
    /// Ethernet addresses: `l2`.
    L2,
    /// IP addresses, through the host's filters: `l3s`.
    L3s,
}

/// Kinds that other servers have, each with the reason why this one has them not.
const REFUSED: &[(&str, &str)] = &[
    ("ovn", "it takes Open Virtual Network, which this server does not run"),
    ("routed", "this server does not do it yet; p2p with ipv4.routes on the host, or macvlan, are"),
    ("sriov", "it takes an interface that splits itself; move one of its functions in with nictype=physical"),
];

/// Keys that all kinds have.
const COMMON: &[&str] = &["nictype", "parent", "name", "hwaddr", "mtu"];
/// Keys of a pair of links whose one end is the host's.
const PAIR: &[&str] = &["host_name", "limits.egress", "limits.ingress", "limits.max", "limits.priority", "queue.tx.length"];

/// Reads what a NIC is.
pub(super) fn parse(reader: &Reader<'_>) -> Result<NicParent, DeviceError> {
    let network: Option<NetworkName> = reader.name("network")?;
    let parent: Option<InterfaceName> = reader.name("parent")?;
    let kind = reader.keys.get("nictype");
    if let Some(network) = network {
        return match (parent, kind) {
            (None, None) => bridged(reader).map(|()| NicParent::Network(network)),
            _ => Err(reader.combination("network excludes nictype and parent")),
        };
    }
    let Some(kind) = kind else { return Err(reader.missing("network")) };
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == kind) {
        return Err(reader.value("nictype", kind, why));
    }
    let with = |more: &[&str]| reader.only(&[COMMON, more].concat(), &format!("nictype={kind}"));
    let needed = || parent.clone().ok_or_else(|| reader.missing("parent"));
    match kind {
        "bridged" => bridged(reader).and_then(|()| needed()).map(NicParent::Bridge),
        "macvlan" => with(&[]).and_then(|()| needed()).map(|parent| NicParent::Over(parent, OverKind::Macvlan)),
        "ipvlan" => {
            with(&["mode"])?;
            if reader.keys.get("hwaddr").is_some() {
                return Err(reader.combination("key \"hwaddr\" has no meaning for nictype=ipvlan: it has its parent's"));
            }
            let mode = match reader.keys.get("mode") {
                None | Some("l3s") => IpvlanMode::L3s,
                Some("l2") => IpvlanMode::L2,
                Some(other) => return Err(reader.value("mode", other, "it must be l2 or l3s")),
            };
            Ok(NicParent::Over(needed()?, OverKind::Ipvlan(mode)))
        }
        "physical" => with(&[]).and_then(|()| needed()).map(NicParent::Physical),
        "p2p" => {
            with(PAIR)?;
            match parent {
                None => Ok(NicParent::PointToPoint),
                Some(_) => Err(reader.combination("key \"parent\" has no meaning for nictype=p2p")),
            }
        }
        other => Err(reader.value("nictype", other, "it must be bridged, macvlan, ipvlan, p2p or physical")),
    }
}

fn bridged(reader: &Reader<'_>) -> Result<(), DeviceError> {
    match reader.keys.get("mode") {
        None => Ok(()),
        Some(_) => Err(reader.combination("key \"mode\" has no meaning for a bridged NIC")),
    }
}
