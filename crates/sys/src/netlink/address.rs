//! Addresses of links.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Attributes, Batch, u32_at};
use super::namespace::Namespace;
use super::socket::RouteSocket;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_TARGET_NETNSID: u16 = 10;
/// No duplicate address detection: whoever sets the address knows that it is free.
const IFA_F_NODAD: u32 = 0x02;
/// Bytes of `struct ifaddrmsg`.
const MESSAGE: usize = 8;

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
    /// How far it is valid.
    pub scope: Scope,
}

/// How far an address is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Within a site (IPv6, obsolete).
    Site,
    /// On its link only.
    Link,
    /// On its machine only.
    Host,
}

impl RouteSocket {
    /// Lists the addresses of all links of a namespace.
    ///
    /// # Errors
    /// `EINVAL` if the namespace's number is not known.
    ///
    /// Source: `RTM_GETADDR`, rtnetlink(7); `IFA_TARGET_NETNSID`: Linux 4.20.
    pub fn addresses(&mut self, of: Namespace) -> io::Result<Vec<Address>> {
        let mut request = Batch::new();
        request.message(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; MESSAGE]);
        if let Namespace::Id(id) = of {
            request.number(IFA_TARGET_NETNSID, id as u32);
        }
        let mut addresses = Vec::new();
        self.socket.ask(request, |kind, payload| {
            if kind == libc::RTM_NEWADDR {
                addresses.extend(parse(payload));
            }
        })?;
        Ok(addresses)
    }

    /// Gives a link an address, usable at once; one that it has already stays.
    ///
    /// # Errors
    /// `ENODEV` if the link is gone, `EACCES` or `EINVAL` if IPv6 is switched off on it.
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWADDR, flags, &header(index, address, prefix));
        write(&mut batch, address);
        match address {
            IpAddr::V4(v4) => batch.attribute(IFA_BROADCAST, &broadcast(v4, prefix).octets()),
            IpAddr::V6(_) => batch.number(IFA_FLAGS, IFA_F_NODAD),
        };
        self.change(batch)
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if the link does not have it.
    pub fn delete_address(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_DELADDR, libc::NLM_F_ACK, &header(index, address, prefix));
        write(&mut batch, address);
        self.change(batch)
    }
}

fn write(batch: &mut Batch, address: IpAddr) {
    let bytes = octets(address);
    batch.attribute(IFA_LOCAL, &bytes).attribute(IFA_ADDRESS, &bytes);
}

/// `struct ifaddrmsg`.
fn header(index: u32, address: IpAddr, prefix: u8) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    bytes[0] = family(address);
    bytes[1] = prefix;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes
}

pub(super) fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    family as u8
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Reads an address of 4 or 16 bytes.
pub(super) fn read(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))))
}

fn broadcast(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host_part = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) | host_part)
}

fn parse(payload: &[u8]) -> Option<Address> {
    let scope = match *payload.get(3)? {
        200 => Scope::Site,
        253 => Scope::Link,
        254 => Scope::Host,
        _ => Scope::Global,
    };
    let (mut local, mut remote) = (None, None);
    for (kind, value) in Attributes::after(MESSAGE, payload) {
        match kind {
            IFA_LOCAL => local = read(value),
            IFA_ADDRESS => remote = read(value),
            _ => {}
        }
    }
    Some(Address { index: u32_at(payload, 4)?, address: local.or(remote)?, prefix: payload[1], scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_fills_the_host_part() {
        let address = Ipv4Addr::new(10, 7, 3, 1);
        assert_eq!(broadcast(address, 24), Ipv4Addr::new(10, 7, 3, 255));
        assert_eq!(broadcast(address, 23), Ipv4Addr::new(10, 7, 3, 255));
        assert_eq!(broadcast(address, 32), address);
    }
}
