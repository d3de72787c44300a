//! A NIC on a bridge: what it will be (a plan, pure), made and taken away.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use coffer_model::device::{Address, Nic};
use coffer_model::{DeviceName, InstanceName, InterfaceName};
use coffer_sys::netlink::nftables::Nftables;
use coffer_sys::netlink::{NewVeth, RouteSocket};

use super::BridgeNetwork;
use crate::allocate::hash;
use crate::dnsmasq::Reservation;
use crate::error::{NetworkError, kernel};
use crate::firewall::{self, Ipv6Filter, PortFilter, Ports};
use crate::hwaddr::HwAddr;

/// What is known about a NIC before it is made.
#[derive(Debug, Clone)]
pub struct NicRequest<'a> {
    /// Whose it is: the instance's name as it stands on disk, with its project.
    pub owner: &'a str,
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
    /// The name of the other end until it is in the container.
    pub peer_name: String,
    /// Its hardware address.
    pub hwaddr: HwAddr,
    /// The largest packet; the kernel's default if none.
    pub mtu: Option<u32>,
    /// Addresses inside, with their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The way out inside, one a family at most.
    pub gateways: Vec<IpAddr>,
    /// What its port lets through.
    pub filter: PortFilter,
    /// What DHCP and DNS know of it.
    pub reservation: Reservation,
}

/// The bridge of somebody else that a NIC is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnBridge<'a> {
    /// The bridge; none for a NIC whose host end stands alone.
    pub parent: Option<&'a InterfaceName>,
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
            mtu: request.nic.mtu.or(self.config.mtu),
            filter: self.filter(request, ipv4, ipv6),
            ..bare_plan(request, ipv4, ipv6)
        })
    }

    /// Makes a planned NIC: filters, then the pair with one end on the bridge, then its name and lease.
    ///
    /// The other end is made in the network namespace `container` if given, else here, to be moved. If a step fails, nothing
    /// of it stays.
    ///
    /// # Errors
    /// If another instance has the same name on this network, or the kernel refuses; see [`NetworkError`].
    pub fn attach(&self, plan: &NicPlan, container: Option<BorrowedFd<'_>>) -> Result<(), NetworkError> {
        self.reservations().set(&plan.reservation)?;
        let ports = Ports::of(self.name.as_str());
        attach_port(&ports, self.name.as_str(), plan, container)
    }

    /// Takes away what [`BridgeNetwork::attach`] made, but for the pair of links: that goes with the container's network
    /// namespace, or by [`remove_link`]. The reservation stays, so that the NIC comes back to its address.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn detach(&self, plan: &NicPlan) -> Result<(), NetworkError> {
        detach_port(&Ports::of(self.name.as_str()), self.name.as_str(), plan)
    }

    /// Forgets a NIC that will not come back: its name and address are free again.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn forget(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        self.reservations().remove(reservation)
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

/// Decides everything about a NIC on somebody else's bridge, or on none: there we know only what the device says.
#[must_use]
pub fn plan_on_bridge(request: &NicRequest<'_>) -> NicPlan {
    let nic = request.nic;
    let (ipv4, ipv6) = (fixed(nic.ipv4), fixed(nic.ipv6));
    let v4 = nic.ipv4_filtering.unwrap_or(false);
    let v6 = nic.ipv6_filtering.unwrap_or(false);
    let ipv6_filter = || Ipv6Filter { addresses: ipv6.into_iter().chain(ipv6.map(|_| request.hwaddr.link_local())).collect(), strict: true };
    let filter = PortFilter {
        mac: v4 || v6 || nic.mac_filtering.unwrap_or(request.filtering),
        ipv4: v4.then(|| ipv4.into_iter().collect()),
        ipv6: v6.then(ipv6_filter),
    };
    NicPlan { filter, ..bare_plan(request, ipv4, ipv6) }
}

/// Makes a planned NIC on somebody else's bridge, or on none.
///
/// # Errors
/// If the bridge does not exist, or the kernel or `nft` refuses.
pub fn attach_to_bridge(on: OnBridge<'_>, plan: &NicPlan, container: Option<BorrowedFd<'_>>) -> Result<(), NetworkError> {
    let Some(parent) = on.parent else { return make_veth(plan, None, container) };
    let ports = Ports::of(parent.as_str());
    if !plan.filter.is_empty() {
        let rules = ports.rules(None);
        let mut nftables = Nftables::open().map_err(kernel(parent, "opening nftables"))?;
        if !rules.loaded(&mut nftables).map_err(kernel(parent, "reading its rules"))? {
            let loaded = firewall::load(&[&rules]);
            loaded.map_err(|cause| NetworkError::Program { network: parent.to_string(), doing: "loading filters", cause })?;
        }
    }
    attach_port(&ports, parent.as_str(), plan, container)
}

/// Takes away what [`attach_to_bridge`] made, but for the pair of links; with the last NIC go the filters too.
///
/// # Errors
/// If the kernel or `nft` refuses.
pub fn detach_from_bridge(on: OnBridge<'_>, plan: &NicPlan) -> Result<(), NetworkError> {
    let Some(parent) = on.parent else { return Ok(()) };
    if plan.filter.is_empty() {
        return Ok(());
    }
    let ports = Ports::of(parent.as_str());
    detach_port(&ports, parent.as_str(), plan)?;
    let mut nftables = Nftables::open().map_err(kernel(parent, "opening nftables"))?;
    if ports.is_unused(&mut nftables).map_err(kernel(parent, "reading its filters"))? {
        let unloaded = firewall::unload(&[(ports.rules(None).family, ports.rules(None).table)]);
        unloaded.map_err(|cause| NetworkError::Program { network: parent.to_string(), doing: "removing filters", cause })?;
    }
    Ok(())
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

fn bare_plan(request: &NicRequest<'_>, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> NicPlan {
    NicPlan {
        host_name: request.host_name.clone(),
        peer_name: format!("peer{:08x}", hash(request.host_name.as_str().as_bytes()) as u32),
        hwaddr: request.hwaddr,
        mtu: request.nic.mtu,
        addresses: Vec::new(),
        gateways: Vec::new(),
        filter: PortFilter::default(),
        reservation: Reservation {
            owner: request.owner.to_owned(),
            device: request.device.clone(),
            name: request.instance.clone(),
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

/// Filters first: the port is judged from its first frame on.
fn attach_port(ports: &Ports, bridge: &str, plan: &NicPlan, container: Option<BorrowedFd<'_>>) -> Result<(), NetworkError> {
    let mut nftables = None;
    if !plan.filter.is_empty() {
        let open = nftables.insert(Nftables::open().map_err(kernel(bridge, "opening nftables"))?);
        ports.add(open, plan.host_name.as_str(), plan.hwaddr, &plan.filter).map_err(kernel(bridge, "filling its filters"))?;
    }
    make_veth(plan, Some(bridge), container).inspect_err(|_| {
        if let Some(open) = &mut nftables {
            // The first error is what the user needs; a port that does not exist passes nothing.
            let _ = ports.remove(open, plan.host_name.as_str(), plan.hwaddr, &plan.filter);
        }
    })
}

fn detach_port(ports: &Ports, bridge: &str, plan: &NicPlan) -> Result<(), NetworkError> {
    if plan.filter.is_empty() {
        return Ok(());
    }
    let mut nftables = Nftables::open().map_err(kernel(bridge, "opening nftables"))?;
    ports.remove(&mut nftables, plan.host_name.as_str(), plan.hwaddr, &plan.filter).map_err(kernel(bridge, "emptying its filters"))
}

fn make_veth(plan: &NicPlan, bridge: Option<&str>, container: Option<BorrowedFd<'_>>) -> Result<(), NetworkError> {
    let name = plan.host_name.as_str();
    let mut routes = RouteSocket::open().map_err(kernel(name, "opening netlink"))?;
    let master = match bridge {
        Some(bridge) => {
            let found = coffer_sys::netlink::link_index(bridge).map_err(kernel(bridge, "looking for the bridge"))?;
            Some(found.ok_or_else(|| kernel(bridge, "looking for the bridge")(io::ErrorKind::NotFound.into()))?)
        }
        None => None,
    };
    let veth = NewVeth {
        name,
        peer: &plan.peer_name,
        peer_hwaddr: plan.hwaddr.bytes(),
        mtu: plan.mtu,
        master,
        isolated: false,
        peer_namespace: container,
    };
    routes.add_veth(&veth).map_err(kernel(name, "making the pair of interfaces"))
}
