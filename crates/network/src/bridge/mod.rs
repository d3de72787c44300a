//! A managed bridge: made, kept right, changed, taken away.
//!
//! Everything here may be called again: each step looks at what the kernel has and repairs only what differs, so the same
//! walk serves a new network, a daemon's start, a reboot and a change of configuration.

mod nic;
mod sysctl;
mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use coffer_base::Undo;
use coffer_model::NetworkName;
use coffer_sys::netlink::nftables::Family;
use coffer_sys::netlink::{Link, RouteSocket};

pub use nic::{Inside, NicPlan, NicRequest, detach_from_bridge, make_link, plan_on_bridge, prepare_on_bridge, remove_link};

use crate::allocate::choose_ipv4;
use crate::config::BridgeConfig;
use crate::dnsmasq::{Dnsmasq, Files, Lease, Reservation, Reservations, dynamic_leases, leases};
use crate::error::{NetworkError, file, kernel};
use crate::firewall::{self, Firewall, table_name};
use crate::hwaddr::HwAddr;
use crate::links::{LinkState, host_link};

/// A managed bridge network.
#[derive(Debug, Clone)]
pub struct BridgeNetwork {
    name: NetworkName,
    config: BridgeConfig,
    hwaddr: HwAddr,
    files: Files,
    firewall: Firewall,
}

/// Who is on a network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occupants<'a> {
    /// NICs of running instances.
    pub running: &'a [NicPlan],
    /// What is kept for NICs of stopped instances.
    pub stopped: &'a [Reservation],
}

/// Sentences for the user about what works, but perhaps not as hoped.
pub type Warnings = Vec<String>;

impl BridgeNetwork {
    /// Names a network.
    ///
    /// `dir` is its directory, `networks/NAME`; `seed` is something of this server that never changes, from which the
    /// bridge's hardware address is derived where the user chose none.
    #[must_use]
    pub fn new(name: NetworkName, config: BridgeConfig, dir: &Path, seed: &str, firewall: Firewall) -> Self {
        let hwaddr = config.hwaddr.unwrap_or_else(|| HwAddr::from_seed(&format!("{seed} {name}")));
        Self { name, config, hwaddr, files: Files::of(dir), firewall }
    }

    /// The network's name.
    #[must_use]
    pub fn name(&self) -> &NetworkName {
        &self.name
    }

    /// The network's configuration.
    #[must_use]
    pub fn config(&self) -> &BridgeConfig {
        &self.config
    }

    /// The bridge's hardware address.
    #[must_use]
    pub fn hwaddr(&self) -> HwAddr {
        self.hwaddr
    }

    /// Makes a new network. If a step fails, nothing of it stays.
    ///
    /// # Errors
    /// If the host has an interface of that name, or a step is refused; see [`NetworkError`].
    pub fn create(&self) -> Result<Warnings, NetworkError> {
        let mut routes = RouteSocket::open().map_err(kernel(&self.name, "opening netlink"))?;
        if self.link(&mut routes)?.is_some() {
            // Its files say that it was this server's before its record was lost: what stands on it goes on.
            if self.files.dir().is_dir() {
                return self.ensure(None);
            }
            return Err(NetworkError::NameInUse { network: self.name.clone() });
        }
        let undo_warnings = std::sync::Mutex::new(Warnings::new());
        let mut undo = Undo::new(|warning| undo_warnings.lock().map_or_else(drop, |mut all| all.push(warning)));
        undo.push(format!("removing network {}", self.name), || self.delete());
        let warnings = self.ensure(None)?;
        undo.keep();
        Ok(warnings)
    }

    /// Brings the network up, or back to what it should be, with the NICs that are on it: after the daemon's start, after
    /// a reboot, after somebody else's hands. What is right already is left alone.
    ///
    /// # Errors
    /// If a step is refused; see [`NetworkError`].
    pub fn recover(&self, occupants: Occupants<'_>) -> Result<Warnings, NetworkError> {
        self.ensure(Some(occupants))
    }

    /// Changes the configuration under the NICs that are on the network now, which keep running.
    ///
    /// # Errors
    /// If a step is refused; the network is then brought back to the old configuration as far as possible.
    pub fn update(&self, config: BridgeConfig, seed: &str, occupants: Occupants<'_>) -> Result<(Self, Warnings), NetworkError> {
        let new = Self::new(self.name.clone(), config, self.files.dir(), seed, self.firewall.clone());
        match new.ensure(Some(occupants)).and_then(|warnings| new.release_external(&self.config).map(|()| warnings)) {
            Ok(warnings) => Ok((new, warnings)),
            Err(error) => {
                // The first error is what the user needs; the way back is best effort.
                let _ = self.ensure(Some(occupants));
                Err(error)
            }
        }
    }

    /// Takes the network out of the kernel: dnsmasq, rules, bridge. Files stay. What is not there is none to take away.
    ///
    /// # Errors
    /// If a step is refused; those after it are still tried.
    pub fn down(&self) -> Result<(), NetworkError> {
        let dnsmasq = Dnsmasq::find(&self.files).map_or(Ok(()), |running| running.stop(&self.name));
        let tables = [(Family::Inet, table_name(self.name.as_str())), (Family::Bridge, table_name(self.name.as_str()))];
        let rules = firewall::unload(&tables);
        let rules = rules.map_err(|cause| NetworkError::Program { network: self.name.to_string(), doing: "removing its rules", cause });
        let mut routes = RouteSocket::open().map_err(kernel(&self.name, "opening netlink"))?;
        let link = match self.link(&mut routes) {
            Ok(Some(_)) => routes.delete_link(self.name.as_str()).map_err(kernel(&self.name, "removing the bridge")),
            // Another kind of interface with that name is not ours to remove.
            Ok(None) | Err(NetworkError::NotABridge { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        dnsmasq.and(rules).and(link)
    }

    /// Takes the network away with its files.
    ///
    /// # Errors
    /// As [`BridgeNetwork::down`], or if a file cannot be removed.
    pub fn delete(&self) -> Result<(), NetworkError> {
        self.down()?;
        match fs::remove_dir_all(self.files.dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("removing", self.files.dir())(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Describes the bridge as it is now; none if it is not there.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn state(&self) -> Result<Option<LinkState>, NetworkError> {
        host_link(self.name.as_str()).map_err(kernel(&self.name, "reading its state"))
    }

    /// Says whether a dnsmasq runs with its files.
    #[must_use]
    pub fn is_served(&self) -> bool {
        Dnsmasq::find(&self.files).is_some()
    }

    /// Says whether the firewall holds rules of its name.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn has_rules(&self) -> Result<bool, NetworkError> {
        Ok(self.firewall.tables()?.contains(&table_name(self.name.as_str())))
    }

    /// Lists who has which address.
    ///
    /// # Errors
    /// If dnsmasq's list cannot be read.
    pub fn leases(&self, nics: &[Reservation]) -> Result<Vec<Lease>, NetworkError> {
        leases(self.name.as_str(), &self.config, &self.files, nics)
    }

    /// Chooses a free IPv4 address for a NIC; none if the network gives none. `used` are those of the other NICs.
    ///
    /// # Errors
    /// If all are used, or dnsmasq's leases cannot be read.
    pub fn choose_ipv4(&self, hwaddr: HwAddr, used: &BTreeSet<Ipv4Addr>) -> Result<Option<Ipv4Addr>, NetworkError> {
        let Some(v4) = &self.config.ipv4 else { return Ok(None) };
        let Some(dhcp) = &v4.dhcp else { return Ok(None) };
        let mut used = used.clone();
        used.insert(v4.address.addr());
        used.extend(dhcp.gateway);
        for lease in dynamic_leases(&self.files)?.into_iter().filter(|lease| lease.hwaddr != Some(hwaddr)) {
            if let IpAddr::V4(address) = lease.address {
                used.insert(address);
            }
        }
        let chosen = choose_ipv4(&dhcp.ranges, hwaddr, &used);
        chosen.map(Some).ok_or_else(|| NetworkError::Full { network: self.name.clone() })
    }

    /// Refuses an address that the user fixed for a NIC if another NIC has it; `used` are those of the others.
    ///
    /// # Errors
    /// [`NetworkError::AddressInUse`].
    pub fn check_free(&self, address: impl Into<IpAddr>, used: &BTreeSet<IpAddr>) -> Result<(), NetworkError> {
        let address = address.into();
        if used.contains(&address) { Err(NetworkError::AddressInUse { network: self.name.clone(), address }) } else { Ok(()) }
    }

    fn link(&self, routes: &mut RouteSocket) -> Result<Option<Link>, NetworkError> {
        let link = routes.link(self.name.as_str()).map_err(kernel(&self.name, "looking for the bridge"))?;
        match link {
            Some(link) if link.kind.as_deref() != Some("bridge") => {
                let kind = link.kind.unwrap_or_else(|| "hardware interface".into());
                Err(NetworkError::NotABridge { network: self.name.clone(), kind })
            }
            link => Ok(link),
        }
    }

    fn reservations(&self) -> Reservations<'_> {
        let server = self.config.ipv4.as_ref().filter(|v4| v4.dhcp.is_some()).map(|v4| v4.address.addr());
        Reservations::of(&self.name, self.config.dns.domain.as_str(), &self.files, server)
    }
}
