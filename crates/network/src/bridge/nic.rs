//! A NIC on a bridge: what it will be (a plan, pure), made and taken away.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use coffer_model::device::{Address, Nic, NicLimits, NicParent};
use coffer_model::{DeviceName, InstanceName, InterfaceName, ProjectName};
use coffer_sys::netlink::{NewVeth, RouteSocket, link_index};

use super::BridgeNetwork;
use crate::dnsmasq::Reservation;
use crate::error::{NetworkError, kernel};
use crate::firewall::{self, Firewall, Ipv6Filter, PortFilter, Ports};
use crate::hwaddr::HwAddr;

/// What is known about a NIC before it is made.
#[derive(Debug, Clone)]
pub struct NicRequest<'a> {
    /// The instance's project.
    pub project: &'a ProjectName,
    /// The instance's name.
    pub instance: &'a InstanceName,
    /// The device's name.
    pub device: &'a DeviceName,
    /// What the device asks for.
    pub nic: &'a Nic,
    /// Its hardware address, chosen once and kept.
    pub hwaddr: HwAddr,
    /// The name of its end on the host.
    pub host_name: &'a InterfaceName,
    /// The IPv4 address that was chosen for it, if the network gives one; a fixed one of the device goes before it.
    pub ipv4: Option<Ipv4Addr>,
    /// Whether its port is filtered where the device does not say.
    pub filtering: bool,
}

/// Everything about a NIC, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicPlan {
    /// The name of its end on the host.
    pub host_name: InterfaceName,
    /// The bridge that this end is a port of; none for a NIC whose host end stands alone.
    pub bridge: Option<String>,
    /// Its hardware address.
    pub hwaddr: HwAddr,
    /// The largest packet; the kernel's default if none.
    pub mtu: Option<u32>,
    /// Addresses inside, with their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The way out inside, one a family at most.
    pub gateways: Vec<IpAddr>,
    /// How many packets wait to be sent on either end; the kernel's default if none.
    pub queue: Option<u32>,
    /// How much it may carry.
    pub limits: NicLimits,
    /// Whether it cannot reach other isolated ports of its bridge.
    pub isolated: bool,
    /// What its port lets through.
    pub filter: PortFilter,
    /// What DHCP and DNS know of it.
    pub reservation: Reservation,
}

/// Where the other end of a NIC's pair of links is made.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a> {
    /// The container's network namespace.
    pub namespace: BorrowedFd<'a>,
    /// The link's name in there.
    pub name: &'a str,
}

impl BridgeNetwork {
    /// Decides everything about a NIC. Changes nothing.
    ///
    /// # Errors
    /// If a fixed address is not in the network or is the bridge's own.
    pub fn plan(&self, request: &NicRequest<'_>) -> Result<NicPlan, NetworkError> {
        let ipv4 = self.ipv4_of(request)?;
        let ipv6 = self.ipv6_of(request)?;
        let (v4, v6) = (self.config.ipv4.as_ref(), self.config.ipv6.as_ref());
        let addresses = [
            ipv4.zip(v4).map(|(address, v4)| (IpAddr::V4(address), v4.address.prefix_len())),
            ipv6.zip(v6).map(|(address, v6)| (IpAddr::V6(address), v6.address.prefix_len())),
        ];
        let gateway4 = v4.and_then(|v4| v4.dhcp.as_ref().map_or_else(|| v4.outside.routed.then(|| v4.address.addr()), |dhcp| dhcp.gateway));
        let gateway6 = v6.filter(|v6| v6.outside.routed).map(|v6| v6.address.addr());
        let gateways = [ipv4.and(gateway4).map(IpAddr::V4), ipv6.and(gateway6).map(IpAddr::V6)];
        Ok(NicPlan {
            addresses: addresses.into_iter().flatten().collect(),
            gateways: gateways.into_iter().flatten().collect(),
            bridge: Some(self.name.to_string()),
            mtu: request.nic.mtu.or(self.config.mtu),
            filter: self.filter(request, ipv4, ipv6),
            ..bare_plan(request, ipv4, ipv6)
        })
    }

    /// Prepares a planned NIC: its name and lease, and filters on its port, which does not exist yet. The pair of links is then
    /// made by [`make_link`] or by whoever else holds the container's network namespace.
    ///
    /// # Errors
    /// If another instance has the same name on this network, or the kernel refuses; see [`NetworkError`].
    pub fn prepare(&self, plan: &NicPlan) -> Result<(), NetworkError> {
        self.reservations().set(&plan.reservation)?;
        add_filter(&self.firewall, self.name.as_str(), plan)
    }

    /// Prepares a planned NIC and makes its pair of links. If a step fails, no link and no filter stays.
    ///
    /// # Errors
    /// As [`BridgeNetwork::prepare`] and [`make_link`].
    pub fn attach(&self, plan: &NicPlan, inside: Inside<'_>) -> Result<(), NetworkError> {
        self.prepare(plan)?;
        make_link(plan, inside).inspect_err(|_| {
            // The first error is what the user needs; filters on a port that does not exist do no harm.
            let _ = self.detach(plan);
        })
    }

    /// Takes away a NIC's filters. Its pair of links goes with the container's network namespace, or by [`remove_link`]. The
    /// reservation stays, so that the NIC comes back to its address.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn detach(&self, plan: &NicPlan) -> Result<(), NetworkError> {
        remove_filter(&self.firewall, self.name.as_str(), plan)
    }

    /// Forgets a NIC that will not come back: its name and addresses are free again.
    ///
    /// # Errors
    /// If a file cannot be removed, or the kernel refuses.
    pub fn forget(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        self.reservations().remove(reservation)?;
        let Some(address) = reservation.ipv6 else { return Ok(()) };
        let hwaddr = reservation.hwaddr;
        let addresses = [hwaddr.link_local(), hwaddr.eui64(address), address];
        self.firewall.with(&self.name, |nftables| {
            let released = Ports::of(self.name.as_str()).release(nftables, hwaddr, &addresses);
            released.map_err(kernel(&self.name, "emptying its filters"))
        })
    }

    fn ipv4_of(&self, request: &NicRequest<'_>) -> Result<Option<Ipv4Addr>, NetworkError> {
        let outside = |address| NetworkError::AddressOutside { network: self.name.clone(), address: IpAddr::V4(address) };
        let net = self.config.ipv4.as_ref().map(|v4| v4.address);
        match (request.nic.ipv4, net) {
            (Address::None, _) | (Address::Auto, None) => Ok(None),
            (Address::Auto, Some(_)) => Ok(request.ipv4),
            (Address::Fixed(address), Some(net)) if net.contains(&address) && address != net.addr() => Ok(Some(address)),
            (Address::Fixed(address), _) => Err(outside(address)),
        }
    }

    fn ipv6_of(&self, request: &NicRequest<'_>) -> Result<Option<Ipv6Addr>, NetworkError> {
        let outside = |address| NetworkError::AddressOutside { network: self.name.clone(), address: IpAddr::V6(address) };
        let net = self.config.ipv6.as_ref().map(|v6| v6.address);
        match (request.nic.ipv6, net) {
            (Address::None, _) | (Address::Auto, None) => Ok(None),
            (Address::Auto, Some(net)) => Ok(Some(request.hwaddr.eui64(net.network()))),
            (Address::Fixed(address), Some(net)) if net.contains(&address) && address != net.addr() => Ok(Some(address)),
            (Address::Fixed(address), _) => Err(outside(address)),
        }
    }

    /// What the port lets through. Where the device does not say, what the network gives is what is guarded: a network
    /// without IPv4, say, is a plain wire for it.
    fn filter(&self, request: &NicRequest<'_>, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> PortFilter {
        let nic = request.nic;
        let default = request.filtering && nic.mac_filtering != Some(false);
        let known4 = ipv4.is_some() || nic.ipv4 == Address::None;
        let known6 = ipv6.is_some() || nic.ipv6 == Address::None;
        let v4 = nic.ipv4_filtering.unwrap_or(default && known4);
        let v6 = nic.ipv6_filtering.unwrap_or(default && known6);
        let ipv6_filter = || {
            let Some(address) = ipv6 else { return Ipv6Filter { addresses: Vec::new(), strict: true } };
            let mut addresses = vec![request.hwaddr.link_local(), request.hwaddr.eui64(address)];
            if !addresses.contains(&address) {
                addresses.push(address);
            }
            Ipv6Filter { addresses, strict: nic.ipv6_filtering == Some(true) }
        };
        PortFilter {
            mac: v4 || v6 || nic.mac_filtering.unwrap_or(request.filtering),
            ipv4: v4.then(|| ipv4.into_iter().collect()),
            ipv6: v6.then(ipv6_filter),
        }
    }
}

/// Decides everything about a NIC on somebody else's bridge: there we know only what the device says.
#[must_use]
pub fn plan_on_bridge(request: &NicRequest<'_>) -> NicPlan {
    let nic = request.nic;
    let (ipv4, ipv6) = (fixed(nic.ipv4), fixed(nic.ipv6));
    let v4 = nic.ipv4_filtering.unwrap_or(false);
    let v6 = nic.ipv6_filtering.unwrap_or(false);
    let ipv6_filter =
        || Ipv6Filter { addresses: ipv6.into_iter().chain(ipv6.map(|_| request.hwaddr.link_local())).collect(), strict: true };
    let filter = PortFilter {
        mac: v4 || v6 || nic.mac_filtering.unwrap_or(request.filtering),
        ipv4: v4.then(|| ipv4.into_iter().collect()),
        ipv6: v6.then(ipv6_filter),
    };
    let bridge = match &nic.on {
        NicParent::Bridge(parent) => Some(parent.to_string()),
        NicParent::Network(_) | NicParent::PointToPoint | NicParent::Over(..) | NicParent::Physical(_) => None,
    };
    NicPlan { bridge, filter, ..bare_plan(request, ipv4, ipv6) }
}

/// Prepares a planned NIC on somebody else's bridge: filters on its port.
///
/// # Errors
/// If the kernel or `nft` refuses.
pub fn prepare_on_bridge(firewall: &Firewall, plan: &NicPlan) -> Result<(), NetworkError> {
    let Some(bridge) = plan.bridge.as_deref().filter(|_| !plan.filter.is_empty()) else { return Ok(()) };
    let rules = Ports::of(bridge).rules(None);
    if !firewall.with(bridge, |nftables| rules.loaded(nftables).map_err(kernel(bridge, "reading its rules")))? {
        let loaded = firewall::load(&[&rules]);
        loaded.map_err(|cause| NetworkError::Program { network: bridge.to_owned(), doing: "loading filters", cause })?;
    }
    add_filter(firewall, bridge, plan)
}

/// Takes away what [`prepare_on_bridge`] made; with the last NIC go the filters' rules too.
///
/// # Errors
/// If the kernel or `nft` refuses.
pub fn detach_from_bridge(firewall: &Firewall, plan: &NicPlan) -> Result<(), NetworkError> {
    let Some(bridge) = plan.bridge.as_deref().filter(|_| !plan.filter.is_empty()) else { return Ok(()) };
    remove_filter(firewall, bridge, plan)?;
    let ports = Ports::of(bridge);
    if firewall.with(bridge, |nftables| ports.is_unused(nftables).map_err(kernel(bridge, "reading its filters")))? {
        let unloaded = firewall::unload(&[(ports.rules(None).family, ports.rules(None).table)]);
        unloaded.map_err(|cause| NetworkError::Program { network: bridge.to_owned(), doing: "removing filters", cause })?;
    }
    Ok(())
}

/// Makes a NIC's pair of links: one end here, on its bridge and switched on, the other in the container under its name there,
/// with its hardware address, still switched off. This takes 0.4 ms; a pair made here whose one end is then moved takes 20.
///
/// # Errors
/// If the bridge does not exist, a name is taken, or the kernel refuses.
pub fn make_link(plan: &NicPlan, inside: Inside<'_>) -> Result<(), NetworkError> {
    let name = plan.host_name.as_str();
    let mut routes = RouteSocket::open().map_err(kernel(name, "opening netlink"))?;
    let master = plan.bridge.as_deref().map(bridge_index).transpose()?;
    let veth = NewVeth {
        name,
        peer: inside.name,
        peer_hwaddr: plan.hwaddr.bytes(),
        mtu: plan.mtu,
        queue: plan.queue,
        master,
        isolated: plan.isolated,
        peer_namespace: Some(inside.namespace),
    };
    routes.add_veth(&veth).map_err(kernel(name, "making the pair of interfaces"))
}

/// Removes a NIC's pair of links. The kernel takes some 25 ms for it: keep it off the way of a request, and leave it to the
/// end of the container's network namespace where that is near.
///
/// # Errors
/// If the kernel refuses, but not if it is gone.
pub fn remove_link(host_name: &InterfaceName) -> Result<(), NetworkError> {
    let mut routes = RouteSocket::open().map_err(kernel(host_name, "opening netlink"))?;
    routes.delete_link(host_name.as_str()).map_err(kernel(host_name, "removing the interface"))
}

fn bridge_index(bridge: &str) -> Result<u32, NetworkError> {
    let found = link_index(bridge).map_err(kernel(bridge, "looking for the bridge"))?;
    found.ok_or_else(|| kernel(bridge, "looking for the bridge")(io::ErrorKind::NotFound.into()))
}

fn bare_plan(request: &NicRequest<'_>, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> NicPlan {
    NicPlan {
        host_name: request.host_name.clone(),
        bridge: None,
        hwaddr: request.hwaddr,
        mtu: request.nic.mtu,
        queue: request.nic.queue,
        limits: request.nic.limits,
        isolated: request.nic.isolated,
        addresses: Vec::new(),
        gateways: Vec::new(),
        filter: PortFilter::default(),
        reservation: Reservation {
            project: request.project.clone(),
            name: request.instance.clone(),
            device: request.device.clone(),
            hwaddr: request.hwaddr,
            ipv4,
            ipv6,
        },
    }
}

fn fixed<A>(address: Address<A>) -> Option<A> {
    match address {
        Address::Fixed(address) => Some(address),
        Address::Auto | Address::None => None,
    }
}

fn add_filter(firewall: &Firewall, bridge: &str, plan: &NicPlan) -> Result<(), NetworkError> {
    if plan.filter.is_empty() {
        return Ok(());
    }
    firewall.with(bridge, |nftables| {
        let added = Ports::of(bridge).add(nftables, plan.host_name.as_str(), plan.hwaddr, &plan.filter);
        added.map_err(kernel(bridge, "filling its filters"))
    })
}

fn remove_filter(firewall: &Firewall, bridge: &str, plan: &NicPlan) -> Result<(), NetworkError> {
    if plan.filter.is_empty() {
        return Ok(());
    }
    firewall.with(bridge, |nftables| {
        let removed = Ports::of(bridge).remove(nftables, plan.host_name.as_str(), plan.hwaddr, &plan.filter);
        removed.map_err(kernel(bridge, "emptying its filters"))
    })
}
