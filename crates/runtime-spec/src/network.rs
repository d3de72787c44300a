//! Network interfaces of a spec.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A link of the instance: one of the host that moves in, or a new pair with one end on either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Nic {
    /// The link's name in the monitor's network namespace; of a pair, the name of the end that stays there.
    pub host_name: String,
    /// Its name inside.
    pub name: String,
    /// Makes a pair of virtual links instead of moving one in: creating the far end inside is some 20 ms quicker.
    #[serde(default)]
    pub veth: Option<Veth>,
    /// Makes a link over one of the monitor's network namespace instead of moving one in; `host-name` is that one's.
    #[serde(default)]
    pub over: Option<Over>,
    /// Hardware address, `00:16:3e:…`; kept as it is unless said.
    #[serde(default)]
    pub hwaddr: Option<String>,
    /// Largest packet in bytes; kept as it is unless said.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Addresses set before init runs. Duplicate address detection is left out for them.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// Routes set before init runs, in this order.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The link is set up before init runs.
    #[serde(default = "yes")]
    pub up: bool,
    /// The link belongs to the host and goes back under `host-name` when the instance ends; else it ends with it.
    #[serde(default)]
    pub give_back: bool,
}

/// A pair of virtual links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Veth {
    /// The bridge that the end outside becomes a port of; absent: it stands alone.
    pub bridge: Option<String>,
    /// Isolated ports of one bridge cannot reach each other.
    pub isolated: bool,
    /// How many packets wait to be sent on either end.
    pub queue: Option<u32>,
    /// How much it may carry.
    pub limits: Option<LinkLimits>,
}

/// How much a pair of links may carry; held at the end outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LinkLimits {
    /// Bytes a second that may go in; more waits.
    pub ingress: Option<u64>,
    /// Bytes a second that may come out; more is dropped.
    pub egress: Option<u64>,
    /// The priority of what comes out, in the host's queues.
    pub priority: Option<u32>,
    /// The table of nftables that holds what comes out; it is made where it is missing.
    pub table: String,
}

/// A link over another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Over {
    /// The link below.
    pub parent: String,
    /// How it shares that.
    pub kind: OverKind,
}

/// How a link shares another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverKind {
    /// By a hardware address of its own.
    Macvlan,
    /// By Ethernet addresses, with the parent's.
    IpvlanL2,
    /// By IP addresses, through the host's filters.
    IpvlanL3s,
}

/// An address with the length of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Bits of its network: 0 to 32 or 128.
    pub prefix: u8,
}

/// A route through the interface that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// Destination network; absent for the default route of the gateway's family.
    #[serde(default)]
    pub destination: Option<Address>,
    /// The next router; absent for a network that is on the link.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

fn yes() -> bool {
    true
}
