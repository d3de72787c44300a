//! Who has which address: those we gave, those that dnsmasq gave to others, and the bridge's own.

use std::fs;
use std::io;
use std::net::IpAddr;

use super::{Files, Reservation};
use crate::config::BridgeConfig;
use crate::error::{NetworkError, file};
use crate::hwaddr::HwAddr;

/// One address and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name it is found by; empty if it has none.
    pub hostname: String,
    /// Its hardware address, where known.
    pub hwaddr: Option<HwAddr>,
    /// The address.
    pub address: IpAddr,
    /// How it came to the address.
    pub kind: LeaseKind,
}

/// How somebody came to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKind {
    /// It is the bridge's own.
    Gateway,
    /// We gave it to a NIC.
    Static,
    /// dnsmasq gave it to a machine that we know nothing of.
    Dynamic,
}

impl LeaseKind {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}

/// Lists a network's leases: the bridge's addresses, those of our NICs, those that dnsmasq gave to others.
///
/// # Errors
/// If the leases cannot be read.
pub fn leases(network: &str, config: &BridgeConfig, files: &Files, reservations: &[Reservation]) -> Result<Vec<Lease>, NetworkError> {
    let gateway = |(address, _)| Lease { hostname: format!("{network}.gw"), hwaddr: None, address, kind: LeaseKind::Gateway };
    let mut all: Vec<Lease> = config.addresses().map(gateway).collect();
    for nic in reservations {
        let lease = |address| Lease { hostname: nic.name.to_string(), hwaddr: Some(nic.hwaddr), address, kind: LeaseKind::Static };
        all.extend(nic.addresses().map(lease));
    }
    for lease in dynamic_leases(files)? {
        if !all.iter().any(|known| known.address == lease.address) {
            all.push(lease);
        }
    }
    Ok(all)
}

/// Reads dnsmasq's own list of leases.
///
/// # Errors
/// If the file is there but cannot be read.
pub fn dynamic_leases(files: &Files) -> Result<Vec<Lease>, NetworkError> {
    let path = files.leases();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(parse).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(file("reading", path)(error)),
    }
}

/// Reads `EXPIRY MAC-OR-IAID ADDRESS NAME CLIENT`; the line with the server's own identity has no address.
fn parse(line: &str) -> Option<Lease> {
    let mut words = line.split(' ').skip(1);
    let (hwaddr, address, name) = (words.next()?, words.next()?.parse::<IpAddr>().ok()?, words.next()?);
    let hwaddr = if address.is_ipv4() { hwaddr.parse().ok() } else { words.next().and_then(hwaddr_in_duid) };
    let hostname = if name == "*" { String::new() } else { name.to_owned() };
    Some(Lease { hostname, hwaddr, address, kind: LeaseKind::Dynamic })
}

/// The hardware address at the end of a DHCPv6 identity made from one: type 1 (with time) or 3, for Ethernet.
fn hwaddr_in_duid(duid: &str) -> Option<HwAddr> {
    let made_from_one = (duid.starts_with("00:01:00:01:") && duid.len() == 41) || (duid.starts_with("00:03:00:01:") && duid.len() == 29);
    made_from_one.then(|| duid[duid.len() - 17..].parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Option<(&str, Option<&str>, &str)>) {
        let lease = parse(line);
        let hwaddr = lease.as_ref().and_then(|lease| lease.hwaddr).map(|hwaddr| hwaddr.to_string());
        let address = lease.as_ref().map(|lease| lease.address.to_string()).unwrap_or_default();
        let found = lease.as_ref().map(|lease| (lease.hostname.as_str(), hwaddr.as_deref(), address.as_str()));
        assert_eq!(found, expect);
    }

    #[test]
    fn reads_dnsmasqs_lines() {
        check("1763900000 00:16:3e:aa:bb:cc 10.0.0.5 * 01:00:16:3e:aa:bb:cc", Some(("", Some("00:16:3e:aa:bb:cc"), "10.0.0.5")));
        check("0 00:16:3e:aa:bb:cc 10.0.0.5 web *", Some(("web", Some("00:16:3e:aa:bb:cc"), "10.0.0.5")));
        check("1 123 fd42::5 * 00:01:00:01:2e:00:00:00:00:16:3e:aa:bb:cc", Some(("", Some("00:16:3e:aa:bb:cc"), "fd42::5")));
        check("1 123 fd42::5 * 00:02:00:00:ab:11", Some(("", None, "fd42::5")));
        check("duid 00:01:00:01:2e:00:00:00:00:16:3e:aa:bb:cc", None);
        check("", None);
        check("x y z", None);
    }
}
