//! The walk that makes the kernel hold what the configuration says: step by step, each repeatable.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coffer_sys::netlink::{Destination, Link, LinkChange, Namespace, NewBridge, RouteSocket, Scope};

use super::{BridgeNetwork, NicPlan, Occupants, Warnings, sysctl};
use crate::config::BridgeConfig;
use crate::dnsmasq::{Dnsmasq, reachable};
use crate::error::{NetworkError, file, kernel};
use crate::firewall::{self, Ports, routing_rules};

impl BridgeNetwork {
    /// The walk: every step is repeatable, and each stands on the ones before it.
    pub(super) fn ensure(&self, occupants: Option<Occupants<'_>>) -> Result<Warnings, NetworkError> {
        let mut routes = RouteSocket::open().map_err(kernel(&self.name, "opening netlink"))?;
        self.ensure_files()?;
        let link = self.ensure_link(&mut routes)?;
        // Rules first, so that nothing passes before it is judged.
        let running = occupants.map(|occupants| occupants.running);
        self.ensure_rules(running)?;
        self.ensure_addresses(&mut routes, &link)?;
        self.ensure_forwarding(&mut routes)?;
        self.ensure_ports(&mut routes, &link, running.unwrap_or_default())?;
        if let Some(Occupants { running, stopped }) = occupants {
            let reservations: Vec<_> = running.iter().map(|nic| &nic.reservation).chain(stopped).cloned().collect();
            self.reservations().reconcile(&reservations)?;
        }
        self.ensure_dnsmasq()?;
        self.warnings()
    }

    fn ensure_files(&self) -> Result<(), NetworkError> {
        // dnsmasq runs as somebody else and reads what is in here; only we write.
        for (dir, mode) in [(self.files.dir().to_owned(), 0o711), (self.files.hosts(), 0o755), (self.files.names(), 0o755)] {
            make_dir(&dir, mode).map_err(file("making", dir))?;
        }
        Ok(())
    }

    fn ensure_link(&self, routes: &mut RouteSocket) -> Result<Link, NetworkError> {
        let name = self.name.as_str();
        let link = match self.link(routes)? {
            Some(link) => link,
            None => {
                let bridge = NewBridge { name, hwaddr: self.hwaddr.bytes(), mtu: self.config.mtu };
                routes.add_bridge(&bridge).map_err(kernel(name, "making the bridge"))?;
                self.link(routes)?.ok_or_else(|| gone(name))?
            }
        };
        let hwaddr = (link.hwaddr != Some(self.hwaddr.bytes())).then(|| self.hwaddr.bytes());
        let mtu = self.config.mtu.filter(|&mtu| mtu != link.mtu);
        if hwaddr.is_some() || mtu.is_some() {
            let change = LinkChange { hwaddr, mtu, ..LinkChange::default() };
            routes.change_link(link.index, &change).map_err(kernel(name, "setting the bridge's address and MTU"))?;
        }
        sysctl::bridge_ipv6(name, self.config.ipv6.is_some())?;
        Ok(link)
    }

    fn ensure_addresses(&self, routes: &mut RouteSocket, link: &Link) -> Result<(), NetworkError> {
        let wanted: Vec<(IpAddr, u8)> = self.config.addresses().collect();
        let present = routes.addresses(Namespace::Own).map_err(kernel(&self.name, "reading addresses"))?;
        let present = present.into_iter().filter(|address| address.index == link.index && address.scope != Scope::Link);
        let present: Vec<(IpAddr, u8)> = present.map(|address| (address.address, address.prefix)).collect();
        for &(address, prefix) in present.iter().filter(|address| !wanted.contains(address)) {
            routes.delete_address(link.index, address, prefix).map_err(kernel(&self.name, "removing an address"))?;
        }
        for &(address, prefix) in wanted.iter().filter(|address| !present.contains(address)) {
            routes.add_address(link.index, address, prefix).map_err(kernel(&self.name, "setting an address"))?;
        }
        if !link.is_up() {
            let up = LinkChange { up: Some(true), ..LinkChange::default() };
            routes.change_link(link.index, &up).map_err(kernel(&self.name, "switching the bridge on"))?;
        }
        self.ensure_routes(routes, link)
    }

    fn ensure_routes(&self, routes: &mut RouteSocket, link: &Link) -> Result<(), NetworkError> {
        let wanted: Vec<(IpAddr, u8)> = self.config.routes().collect();
        let own: Vec<(IpAddr, u8)> = [
            self.config.ipv4.as_ref().map(|v4| (IpAddr::V4(v4.address.network()), v4.address.prefix_len())),
            self.config.ipv6.as_ref().map(|v6| (IpAddr::V6(v6.address.network()), v6.address.prefix_len())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let present = routes.routes().map_err(kernel(&self.name, "reading routes"))?;
        let present: Vec<_> = present.into_iter().filter(|route| route.index == Some(link.index) && route.gateway.is_none()).collect();
        for route in &present {
            let to = (route.to.address, route.to.prefix);
            let kept = wanted.contains(&to) || own.contains(&to) || is_link_local(to.0);
            if !kept {
                routes.delete_route(route.to, None, link.index).map_err(kernel(&self.name, "removing a route"))?;
            }
        }
        for (address, prefix) in wanted {
            let to = Destination { address, prefix };
            if !present.iter().any(|route| route.to == to) {
                routes.add_route(to, None, link.index).map_err(kernel(&self.name, "adding a route"))?;
            }
        }
        Ok(())
    }

    fn ensure_forwarding(&self, routes: &mut RouteSocket) -> Result<(), NetworkError> {
        if self.config.ipv4.as_ref().is_some_and(|v4| v4.outside.routed) {
            sysctl::forward_ipv4()?;
        }
        if self.config.ipv6.as_ref().is_some_and(|v6| v6.outside.routed) {
            let links = routes.links(Namespace::Own).map_err(kernel(&self.name, "reading interfaces"))?;
            let ports = links.into_iter().filter(|link| link.master.is_some()).map(|link| link.name).collect::<Vec<_>>();
            sysctl::forward_ipv6(&ports)?;
        }
        Ok(())
    }

    fn ensure_rules(&self, nics: Option<&[NicPlan]>) -> Result<(), NetworkError> {
        let ports = Ports::of(self.name.as_str());
        let all = [routing_rules(self.name.as_str(), &self.config), ports.rules(self.config.ipv6.as_ref().map(|v6| v6.address))];
        let mut missing = Vec::new();
        for rules in &all {
            let loaded = |nftables: &mut _| rules.loaded(nftables).map_err(kernel(&self.name, "reading its rules"));
            if !self.firewall.with(&self.name, loaded)? {
                missing.push(rules);
            }
        }
        if !missing.is_empty() {
            let loaded = firewall::load(&missing);
            loaded.map_err(|cause| NetworkError::Program { network: self.name.to_string(), doing: "loading its rules", cause })?;
        }
        let own = self.own_ipv6();
        self.firewall.with(&self.name, |nftables| {
            let filled = match nics {
                Some(nics) => {
                    let nics: Vec<_> = nics.iter().map(|nic| (nic.host_name.as_str(), nic.hwaddr, &nic.filter)).collect();
                    ports.reconcile(nftables, &nics, &own)
                }
                None => ports.reserve(nftables, &own),
            };
            filled.map_err(kernel(&self.name, "filling its filters"))
        })
    }

    /// The bridge's IPv6 addresses, which nobody else may claim.
    fn own_ipv6(&self) -> Vec<Ipv6Addr> {
        let v6 = self.config.ipv6.iter();
        v6.flat_map(|v6| [v6.address.addr(), self.hwaddr.link_local()]).collect()
    }

    /// Puts NICs and external interfaces on the bridge that are not.
    fn ensure_ports(&self, routes: &mut RouteSocket, bridge: &Link, nics: &[NicPlan]) -> Result<(), NetworkError> {
        for nic in nics {
            let link = routes.link(nic.host_name.as_str()).map_err(kernel(&self.name, "reading a port"))?;
            if let Some(link) = link.filter(|link| link.master != Some(bridge.index)) {
                self.join(routes, &link, bridge)?;
            }
        }
        for interface in &self.config.external_interfaces {
            let link = routes.link(interface.as_str()).map_err(kernel(&self.name, "reading an external interface"))?;
            let link = link.ok_or_else(|| NetworkError::NoInterface { interface: interface.clone() })?;
            if link.master == Some(bridge.index) {
                continue;
            }
            let addresses = routes.addresses(Namespace::Own).map_err(kernel(&self.name, "reading addresses"))?;
            if addresses.iter().any(|address| address.index == link.index && address.scope != Scope::Link) {
                return Err(NetworkError::ExternalHasAddresses { network: self.name.clone(), interface: interface.clone() });
            }
            self.join(routes, &link, bridge)?;
        }
        Ok(())
    }

    fn join(&self, routes: &mut RouteSocket, port: &Link, bridge: &Link) -> Result<(), NetworkError> {
        let change = LinkChange { master: Some(bridge.index), up: Some(true), ..LinkChange::default() };
        routes.change_link(port.index, &change).map_err(kernel(&self.name, "putting an interface on the bridge"))
    }

    /// Lets go of external interfaces that an older configuration named.
    pub(super) fn release_external(&self, old: &BridgeConfig) -> Result<(), NetworkError> {
        let released = old.external_interfaces.iter().filter(|interface| !self.config.external_interfaces.contains(interface));
        let mut routes = RouteSocket::open().map_err(kernel(&self.name, "opening netlink"))?;
        for interface in released {
            let link = routes.link(interface.as_str()).map_err(kernel(&self.name, "reading an external interface"))?;
            let Some(link) = link else { continue };
            let change = LinkChange { master: Some(0), ..LinkChange::default() };
            routes.change_link(link.index, &change).map_err(kernel(&self.name, "taking an interface off the bridge"))?;
        }
        Ok(())
    }

    fn ensure_dnsmasq(&self) -> Result<(), NetworkError> {
        if self.config.ipv4.is_some() || self.config.ipv6.is_some() {
            return Dnsmasq::ensure(&self.name, &self.config, &self.files).map(drop);
        }
        Dnsmasq::find(&self.files).map_or(Ok(()), |running| running.stop(&self.name))
    }

    fn warnings(&self) -> Result<Warnings, NetworkError> {
        let mut warnings = Warnings::new();
        if self.config.addresses().next().is_some() && !reachable(self.files.dir()) {
            let dir = self.files.dir().display();
            warnings.push(format!(
                "dnsmasq of network {} runs as root, as no other user can reach {dir}; make the directories above it passable (mode 0711)",
                self.name
            ));
        }
        if self.config.is_isolated() {
            return Ok(warnings);
        }
        let foreign = |nftables: &mut _| firewall::foreign_forward_drops(nftables).map_err(kernel(&self.name, "reading other rules"));
        let chains = self.firewall.with(&self.name, foreign)?;
        let warning = |chain| {
            format!(
                "nftables chain {chain} drops forwarded packets that nobody allowed, so instances on {0} may not reach the outside; allow interface {0} there",
                self.name
            )
        };
        warnings.extend(chains.into_iter().map(warning));
        Ok(warnings)
    }
}

fn gone(name: &str) -> NetworkError {
    kernel(name, "making the bridge")(io::ErrorKind::NotFound.into())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}
