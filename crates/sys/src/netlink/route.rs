//! Routes of our namespace.

use std::io;
use std::net::IpAddr;

use super::address::{family, octets, read};
use super::message::{Attributes, Batch, u32_at};
use super::socket::RouteSocket;

/// Bytes of `struct rtmsg`.
const MESSAGE: usize = 12;
const RTPROT_STATIC: u8 = 4;
/// `RTNH_F_ONLINK`: the gateway is reachable on the link, whatever the routes say.
const ONLINK: u32 = 4;

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The network's address; all zero with prefix 0 for the default route.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
}

/// A unicast route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: Destination,
    /// The next machine on the way; none if the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The link, by number; none for a route over several.
    pub index: Option<u32>,
}

impl RouteSocket {
    /// Lists the unicast routes of the main table, both families.
    ///
    /// # Errors
    /// What the kernel reports.
    ///
    /// Source: `RTM_GETROUTE`, rtnetlink(7).
    pub fn routes(&mut self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut header = [0; MESSAGE];
            header[0] = family as u8;
            let mut request = Batch::new();
            request.message(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &header);
            self.socket.ask(request, |kind, payload| {
                if kind == libc::RTM_NEWROUTE {
                    routes.extend(parse(payload));
                }
            })?;
        }
        Ok(routes)
    }

    /// Adds a route over a link.
    ///
    /// # Errors
    /// `EEXIST` if there is one to the same destination, `ENETDOWN` if the link is off, `ENODEV` if it is gone.
    pub fn add_route(&mut self, to: Destination, gateway: Option<IpAddr>, index: u32) -> io::Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut batch = Batch::new();
        write(&mut batch, libc::RTM_NEWROUTE, flags, to, gateway, index);
        self.change(batch)
    }

    /// Removes a route over a link.
    ///
    /// # Errors
    /// `ESRCH` if there is none.
    pub fn delete_route(&mut self, to: Destination, gateway: Option<IpAddr>, index: u32) -> io::Result<()> {
        let mut batch = Batch::new();
        write(&mut batch, libc::RTM_DELROUTE, libc::NLM_F_ACK, to, gateway, index);
        self.change(batch)
    }
}

fn write(batch: &mut Batch, kind: u16, flags: i32, to: Destination, gateway: Option<IpAddr>, index: u32) {
    let scope = if gateway.is_some() || to.address.is_ipv6() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let mut header = [0; MESSAGE];
    header[0] = family(to.address);
    header[1] = to.prefix;
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = RTPROT_STATIC;
    header[6] = scope;
    header[7] = libc::RTN_UNICAST;
    if gateway.is_some() {
        header[8..12].copy_from_slice(&ONLINK.to_ne_bytes());
    }
    batch.message(kind, flags, &header);
    if to.prefix > 0 {
        batch.attribute(libc::RTA_DST, &octets(to.address));
    }
    if let Some(gateway) = gateway {
        batch.attribute(libc::RTA_GATEWAY, &octets(gateway));
    }
    batch.number(libc::RTA_OIF, index);
}

fn parse(payload: &[u8]) -> Option<Route> {
    let (&family, &prefix) = (payload.first()?, payload.get(1)?);
    if *payload.get(4)? != libc::RT_TABLE_MAIN || *payload.get(7)? != libc::RTN_UNICAST {
        return None;
    }
    let any = read(if i32::from(family) == libc::AF_INET { &[0; 4] } else { &[0; 16] })?;
    let (mut address, mut gateway, mut index) = (any, None, None);
    for (kind, value) in Attributes::after(MESSAGE, payload) {
        match kind {
            libc::RTA_DST => address = read(value)?,
            libc::RTA_GATEWAY => gateway = read(value),
            libc::RTA_OIF => index = u32_at(value, 0),
            _ => {}
        }
    }
    Some(Route { to: Destination { address, prefix }, gateway, index })
}
