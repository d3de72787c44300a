//! The links of a container or of the host as they are now: read by netlink, from outside.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coffer_sys::netlink::{Address, Counters, Link, Namespace, News, RouteSocket, Scope, link_index};

use crate::hwaddr::HwAddr;

/// A link as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub hwaddr: Option<HwAddr>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// How it reaches others.
    pub reach: Reach,
    /// What kind of interface it is.
    pub kind: LinkKind,
    /// Traffic so far.
    pub counters: Counters,
    /// Its addresses.
    pub addresses: Vec<LinkAddress>,
    /// For a container's veth: its other end on the host.
    pub host_name: Option<String>,
    /// For a bridge: its settings.
    pub bridge: Option<BridgeState>,
}

/// How a link reaches others; the words are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// `loopback`
    Loopback,
    /// `point-to-point`
    PointToPoint,
    /// `broadcast`
    Broadcast,
    /// `unknown`
    Unknown,
}

/// What kind of interface a link is; the words are those of the wire's network types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// `loopback`
    Loopback,
    /// `bridge`
    Bridge,
    /// `bond`
    Bond,
    /// `vlan`
    Vlan,
    /// A veth pair's end, which no list of networks shows.
    Veth,
    /// `physical`
    Physical,
    /// `unknown`
    Unknown,
}

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
    /// How far it is valid: `global`, `link` or `local` on the wire.
    pub scope: Scope,
}

/// A bridge's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeState {
    /// Identity, as `8000.00163ecf68da`.
    pub id: String,
    /// Whether the spanning tree protocol is on.
    pub stp: bool,
    /// Forward delay, in hundredths of a second.
    pub forward_delay: u32,
    /// The VLAN of untagged frames; 0 where VLANs are not told apart.
    pub vlan_default: u16,
    /// Whether VLANs are told apart.
    pub vlan_filtering: bool,
    /// Names of its ports, sorted.
    pub upper_devices: Vec<String>,
}

impl Reach {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::PointToPoint => "point-to-point",
            Self::Broadcast => "broadcast",
            Self::Unknown => "unknown",
        }
    }
}

impl LinkKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Bridge => "bridge",
            Self::Bond => "bond",
            Self::Vlan => "vlan",
            Self::Physical => "physical",
            Self::Veth | Self::Unknown => "unknown",
        }
    }
}

impl LinkAddress {
    /// The family's word on the wire.
    #[must_use]
    pub fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "inet" } else { "inet6" }
    }

    /// The scope's word on the wire.
    #[must_use]
    pub fn scope_word(&self) -> &'static str {
        match self.scope {
            Scope::Global | Scope::Site => "global",
            Scope::Link => "link",
            Scope::Host => "local",
        }
    }
}

/// Reads the links of containers without entering their network namespaces. Keep one for many containers.
#[derive(Debug, Default)]
pub struct Inspector {
    /// Opened when first needed.
    routes: Option<RouteSocket>,
    /// Names of the host's links by number, read when first needed.
    names: Arc<Mutex<HashMap<u32, String>>>,
    /// Our own namespace's number, if it has one.
    own: Option<i32>,
}

impl Inspector {
    /// Another one for another thread: what is read of the host is read once for both.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { routes: None, names: self.names.clone(), own: self.own }
    }

    /// Lists the links in the network namespace behind `namespace` (`/proc/PID/ns/net`, say).
    ///
    /// # Errors
    /// `EBADF` if the descriptor is no network namespace; `EMFILE`; what the kernel reports.
    pub fn links_in(&mut self, namespace: BorrowedFd<'_>) -> io::Result<Vec<LinkState>> {
        let routes = self.routes()?;
        let id = routes.namespace_id(namespace)?;
        let links = routes.links(Namespace::Id(id))?;
        let addresses = routes.addresses(Namespace::Id(id))?;
        let mut states = Vec::with_capacity(links.len());
        for link in links {
            let host_name = self.host_end(&link)?;
            states.push(LinkState { host_name, ..state(&link, &addresses) });
        }
        Ok(states)
    }

    fn routes(&mut self) -> io::Result<&mut RouteSocket> {
        if self.routes.is_none() {
            self.routes = Some(RouteSocket::open()?);
        }
        Ok(self.routes.as_mut().expect("opened just now"))
    }

    /// Finds the name of a veth's other end, if that is in our namespace.
    fn host_end(&mut self, link: &Link) -> io::Result<Option<String>> {
        let (Some(peer), Some(namespace), Some("veth")) = (link.peer, link.peer_namespace, link.kind.as_deref()) else { return Ok(None) };
        if self.own != Some(namespace) {
            // Our number may have been given just now, by the kernel answering about this very link.
            let own = std::fs::File::open("/proc/self/ns/net")?;
            self.own = Some(self.routes()?.namespace_id(std::os::fd::AsFd::as_fd(&own))?);
        }
        if self.own != Some(namespace) {
            return Ok(None);
        }
        let names = self.names.clone();
        // Whoever comes second waits for the first one's reading.
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains_key(&peer) {
            let links = self.routes()?.links(Namespace::Own)?;
            *names = links.into_iter().map(|link| (link.index, link.name)).collect();
        }
        Ok(names.get(&peer).cloned())
    }
}

/// Those of some of the host's links that are still there after a while. A container's end of a pair takes the host's end with it,
/// but the kernel does that a moment after the last process has ended.
///
/// # Errors
/// What the kernel reports.
pub fn that_stay(mut names: Vec<String>, patience: Duration) -> io::Result<Vec<String>> {
    // Listening comes before looking: what goes in between is told.
    let news = News::of_links()?;
    let deadline = Instant::now() + patience;
    loop {
        let mut there = Vec::new();
        for name in names {
            if link_index(&name)?.is_some() {
                there.push(name);
            }
        }
        names = there;
        let left = deadline.saturating_duration_since(Instant::now());
        if names.is_empty() || left.is_zero() || !news.wait(left)? {
            return Ok(names);
        }
    }
}

/// Describes one of the host's links; none if there is no such link.
///
/// # Errors
/// What the kernel reports.
pub fn host_link(name: &str) -> io::Result<Option<LinkState>> {
    let mut routes = RouteSocket::open()?;
    let Some(link) = routes.link(name)? else { return Ok(None) };
    let addresses = routes.addresses(Namespace::Own)?;
    let mut state = state(&link, &addresses);
    if let Some(bridge) = &mut state.bridge {
        let ports = routes.links(Namespace::Own)?.into_iter().filter(|port| port.master == Some(link.index));
        bridge.upper_devices = ports.map(|port| port.name).collect();
        bridge.upper_devices.sort();
    }
    Ok(Some(state))
}

/// Lists the host's links but for the ends of veth pairs.
///
/// # Errors
/// What the kernel reports.
pub fn host_links() -> io::Result<Vec<LinkState>> {
    let mut routes = RouteSocket::open()?;
    let links = routes.links(Namespace::Own)?;
    let addresses = routes.addresses(Namespace::Own)?;
    Ok(links.iter().map(|link| state(link, &addresses)).filter(|link| link.kind != LinkKind::Veth).collect())
}

/// Lists the networks that the host has addresses in or routes to, but for the default route: what a new network must avoid.
///
/// # Errors
/// What the kernel reports.
pub fn host_networks() -> io::Result<Vec<ipnet::IpNet>> {
    let mut routes = RouteSocket::open()?;
    let addresses = routes.addresses(Namespace::Own)?.into_iter().map(|address| (address.address, address.prefix));
    let networks = routes.routes()?.into_iter().map(|route| (route.to.address, route.to.prefix));
    let all = addresses.chain(networks).filter(|&(_, prefix)| prefix > 0);
    Ok(all.filter_map(|(address, prefix)| ipnet::IpNet::new(address, prefix).ok()).map(|net| net.trunc()).collect())
}

fn state(link: &Link, addresses: &[Address]) -> LinkState {
    let own = addresses.iter().filter(|address| address.index == link.index);
    let hwaddr = link.hwaddr.and_then(HwAddr::new);
    LinkState {
        name: link.name.clone(),
        hwaddr,
        mtu: link.mtu,
        up: link.is_up(),
        reach: reach(link),
        kind: kind(link),
        counters: link.counters,
        addresses: own.map(|address| LinkAddress { address: address.address, prefix: address.prefix, scope: address.scope }).collect(),
        host_name: None,
        bridge: link.bridge.as_ref().map(bridge_state),
    }
}

fn bridge_state(facts: &coffer_sys::netlink::BridgeFacts) -> BridgeState {
    let [a, b, c, d, e, f, g, h] = facts.id;
    BridgeState {
        id: format!("{a:02x}{b:02x}.{c:02x}{d:02x}{e:02x}{f:02x}{g:02x}{h:02x}"),
        stp: facts.stp,
        forward_delay: facts.forward_delay,
        vlan_default: if facts.vlan_filtering { facts.vlan_default } else { 0 },
        vlan_filtering: facts.vlan_filtering,
        upper_devices: Vec::new(),
    }
}

fn reach(link: &Link) -> Reach {
    if link.is_loopback() {
        Reach::Loopback
    } else if link.is_point_to_point() {
        Reach::PointToPoint
    } else if link.is_broadcast() {
        Reach::Broadcast
    } else {
        Reach::Unknown
    }
}

fn kind(link: &Link) -> LinkKind {
    match link.kind.as_deref() {
        _ if link.is_loopback() => LinkKind::Loopback,
        Some("bridge") => LinkKind::Bridge,
        Some("bond") => LinkKind::Bond,
        Some("vlan") => LinkKind::Vlan,
        Some("veth") => LinkKind::Veth,
        Some(_) => LinkKind::Unknown,
        None => LinkKind::Physical,
    }
}
