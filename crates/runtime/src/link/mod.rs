//! The few rtnetlink messages that a monitor needs: move a link, configure it, take it out again.

mod made;
mod message;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::{Address, Nic, Route, Stage};
use coffer_sys::ns::{self, Namespaces};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::failed::{At, Failed};
use message::{Builder, Kind};

/// A conversation with one network namespace: the one that the socket was opened in, wherever its holder is.
#[derive(Debug)]
pub(crate) struct Links {
    socket: OwnedFd,
}

impl Links {
    /// Talks over this socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Talks to the network namespace that we are in.
    pub(crate) fn here() -> io::Result<Self> {
        coffer_sys::socket::route_socket().map(Self::new)
    }

    /// Talks to another network namespace with our own rights, where a socket opened inside has only those of the
    /// instance: too few to reach out. This thread is the only one of the monitor, and back before anything else is done.
    ///
    /// # Errors
    /// What opening the socket gives.
    pub(crate) fn with_our_rights(there: BorrowedFd<'_>, here: BorrowedFd<'_>) -> io::Result<Self> {
        ns::join(there, Namespaces::NET)?;
        let links = Self::here();
        if ns::join(here, Namespaces::NET).is_err() {
            // Going on would configure the instance's interfaces in place of the host's.
            std::process::abort();
        }
        links
    }

    /// Finds a link's number by its name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub(crate) fn index(&self, name: &str) -> io::Result<u32> {
        let mut message = Builder::link(Kind::Get, 0);
        message.text(message::IFLA_IFNAME, name);
        let answer = self.ask(message)?;
        // The answer starts with a message header and a link header, whose number is in its second word.
        let number = answer.get(message::HEADER + 4..message::HEADER + 8).ok_or(Errno::PROTO)?;
        Ok(u32::from_ne_bytes([number[0], number[1], number[2], number[3]]))
    }

    /// Sets a link up.
    pub(crate) fn set_up(&self, name: &str) -> io::Result<()> {
        let mut message = Builder::link(Kind::Set, 0);
        message.set_flags(message::IFF_UP, message::IFF_UP);
        message.text(message::IFLA_IFNAME, name);
        self.ask(message).map(drop)
    }

    /// Moves a link to the network namespace `target`, all with its new name, hardware address, MTU and being up.
    fn move_in(&self, nic: &Nic, target: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = Builder::link(Kind::Set, self.index(&nic.host_name)?);
        if nic.up {
            message.set_flags(message::IFF_UP, message::IFF_UP);
        }
        message.number(message::IFLA_NET_NS_FD, target.as_raw_fd() as u32);
        message.text(message::IFLA_IFNAME, &nic.name);
        if let Some(hwaddr) = &nic.hwaddr {
            message.bytes(message::IFLA_ADDRESS, &hardware_address(hwaddr)?);
        }
        if let Some(mtu) = nic.mtu {
            message.number(message::IFLA_MTU, mtu);
        }
        self.ask(message).map(drop)
    }

    /// Moves a link to the network namespace `target` under another name.
    pub(crate) fn move_out(&self, name: &str, target: BorrowedFd<'_>, new_name: &str) -> io::Result<()> {
        let mut message = Builder::link(Kind::Set, self.index(name)?);
        message.number(message::IFLA_NET_NS_FD, target.as_raw_fd() as u32);
        message.text(message::IFLA_IFNAME, new_name);
        self.ask(message).map(drop)
    }

    /// Deletes a link.
    pub(crate) fn delete(&self, name: &str) -> io::Result<()> {
        self.ask(Builder::link(Kind::Delete, self.index(name)?)).map(drop)
    }

    fn add_address(&self, index: u32, address: &Address) -> io::Result<()> {
        let family = family(&address.address);
        let mut message = Builder::address(index, family, address.prefix);
        let bytes = octets(&address.address);
        message.bytes(message::IFA_LOCAL, &bytes);
        message.bytes(message::IFA_ADDRESS, &bytes);
        if let (IpAddr::V4(address), 0..=30) = (address.address, address.prefix) {
            let hosts = u32::MAX.checked_shr(u32::from(message.prefix())).unwrap_or(0);
            message.bytes(message::IFA_BROADCAST, &(u32::from(address) | hosts).to_be_bytes());
        }
        if family == libc_family::INET6 {
            message.number(message::IFA_FLAGS, message::IFA_F_NODAD);
        }
        self.ask(message).map(drop)
    }

    fn add_route(&self, index: u32, route: &Route) -> io::Result<()> {
        let one = route.gateway.or(route.destination.map(|it| it.address)).ok_or(Errno::INVAL)?;
        let prefix = route.destination.map_or(0, |it| it.prefix);
        let mut message = Builder::route(family(&one), prefix, route.gateway.is_none());
        if let Some(destination) = &route.destination {
            message.bytes(message::RTA_DST, &octets(&destination.address));
        }
        if let Some(gateway) = &route.gateway {
            message.bytes(message::RTA_GATEWAY, &octets(gateway));
        }
        message.number(message::RTA_OIF, index);
        self.ask(message).map(drop)
    }

    /// Sends one message and returns what is answered: the object asked for, or nothing but a confirmation.
    fn ask(&self, message: Builder) -> io::Result<Vec<u8>> {
        let bytes = message.finish();
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())?;
        let mut answer = vec![0; 16 << 10];
        let mut object = Vec::new();
        loop {
            let (_, length) = rustix::net::recv(&self.socket, answer.as_mut_slice(), RecvFlags::empty())?;
            for part in message::parts(&answer[..length]) {
                match message::confirmation(part) {
                    None => object = part.to_vec(),
                    Some(0) => return Ok(object),
                    Some(error) => return Err(io::Error::from_raw_os_error(error)),
                }
            }
        }
    }
}

/// Moves a link in and configures it. `outside` talks to our own network namespace, `inside` to the instance's, which
/// `target` is a descriptor of.
pub(crate) fn attach(outside: &Links, inside: &Links, target: BorrowedFd<'_>, nic: &Nic) -> Result<(), Failed> {
    let stage = Stage::Network;
    match (&nic.veth, &nic.over) {
        (Some(veth), _) => {
            made::make_pair(veth, nic, target).at(stage, || format!("making the pair {} and {}", nic.host_name, nic.name))?;
            if let Some(limits) = &veth.limits {
                made::limit(limits, &nic.host_name).at(stage, || format!("limiting what {} carries", nic.host_name))?;
            }
        }
        (None, Some(over)) => {
            made::make_over(over, nic, target)
                .at(stage, || format!("making {} {} over link {}", made::kind(over.kind), nic.name, over.parent))?;
        }
        (None, None) => outside.move_in(nic, target).at(stage, || format!("moving link {} in as {}", nic.host_name, nic.name))?,
    }
    if nic.up && (nic.veth.is_some() || nic.over.is_some()) {
        inside.set_up(&nic.name).at(stage, || format!("switching {} on", nic.name))?;
    }
    if nic.addresses.is_empty() && nic.routes.is_empty() {
        return Ok(());
    }
    let index = inside.index(&nic.name).at(stage, || format!("finding {}", nic.name))?;
    for address in &nic.addresses {
        there_already_is_fine(inside.add_address(index, address))
            .at(stage, || format!("adding {}/{} to {}", address.address, address.prefix, nic.name))?;
    }
    for route in &nic.routes {
        there_already_is_fine(inside.add_route(index, route)).at(stage, || match (&route.destination, &route.gateway) {
            (Some(to), Some(by)) => format!("adding a route to {}/{} by {by} to {}", to.address, to.prefix, nic.name),
            (Some(to), None) => format!("adding a route to {}/{} to {}", to.address, to.prefix, nic.name),
            (None, Some(by)) => format!("adding the default route by {by} to {}", nic.name),
            (None, None) => format!("adding a route without destination and gateway to {}", nic.name),
        })?;
    }
    Ok(())
}

/// A router's advertisement may have been quicker with an address, and of two interfaces with a way out the first one wins.
fn there_already_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Address families. Source: linux/socket.h.
mod libc_family {
    pub(super) const INET: u8 = 2;
    pub(super) const INET6: u8 = 10;
}

fn family(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc_family::INET,
        IpAddr::V6(_) => libc_family::INET6,
    }
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Reads `00:16:3e:01:02:03`.
fn hardware_address(text: &str) -> io::Result<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2)).collect();
    bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| Errno::INVAL.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_sys::ns::{join, unshare};
    use std::os::fd::AsFd;

    #[test]
    fn hardware_addresses() {
        assert_eq!(hardware_address("00:16:3e:0a:ff:01").unwrap(), [0, 0x16, 0x3e, 0x0a, 0xff, 1]);
        assert!(hardware_address("0:16").is_err());
        assert!(hardware_address("").is_err());
    }

    /// Makes a pair of virtual links. The product never does: the network room makes them.
    fn make_test_pair(links: &Links, one: &str, other: &str) -> io::Result<()> {
        links.ask(Builder::pair(one, other)).map(drop)
    }

    #[test]
    fn a_link_moves_in_is_configured_and_moves_out() {
        let thread = std::thread::spawn(|| {
            if let Err(error) = unshare(Namespaces::NET) {
                return println!("skipped: no network namespace of our own: {error}");
            }
            let here = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            let outside = Links::here().unwrap();
            if let Err(error) = make_test_pair(&outside, "one", "other") {
                return println!("skipped: no virtual links: {error}");
            }
            unshare(Namespaces::NET).unwrap();
            let there = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            let inside = Links::here().unwrap();
            join(here.as_fd(), Namespaces::NET).unwrap();
            inside.set_up("lo").unwrap();
            let address = |text: &str, prefix| Address { address: text.parse().unwrap(), prefix };
            let nic = Nic {
                host_name: "other".into(),
                name: "eth0".into(),
                hwaddr: Some("00:16:3e:00:00:01".into()),
                mtu: Some(1400),
                addresses: vec![address("10.9.8.7", 24), address("fd00::7", 64)],
                routes: vec![
                    Route { destination: None, gateway: Some("10.9.8.1".parse().unwrap()) },
                    Route { destination: Some(address("192.0.2.0", 24)), gateway: None },
                    Route { destination: None, gateway: Some("fd00::1".parse().unwrap()) },
                ],
                up: true,
                give_back: false,
                veth: None,
                over: None,
            };
            outside.set_up("one").unwrap();
            attach(&outside, &inside, there.as_fd(), &nic).unwrap();
            assert_eq!(outside.index("other").unwrap_err().raw_os_error(), Some(19));
            let error = attach(&outside, &inside, there.as_fd(), &nic).unwrap_err();
            assert_eq!(error.text, "moving link other in as eth0: No such device (os error 19)");
            inside.move_out("eth0", here.as_fd(), "back").unwrap();
            outside.delete("back").unwrap();
            assert!(outside.index("one").is_err());
        });
        thread.join().unwrap();
    }
}
