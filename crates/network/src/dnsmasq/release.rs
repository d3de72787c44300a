//! Giving a lease back in the name of a machine that is no longer there: dnsmasq would not give the address to anybody else
//! before the lease ends.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use crate::hwaddr::HwAddr;

/// The port of DHCP servers.
const SERVER_PORT: u16 = 67;
/// Shorter messages are not taken by every server.
const LEAST_LENGTH: usize = 300;

/// Tells the server at `server` that the machine `hwaddr` gives back `address`. There is no answer; the server takes messages
/// in order, so whoever asks after this may get the address.
///
/// # Errors
/// If the message cannot be sent.
///
/// Source: RFC 2131, DHCPRELEASE.
pub(super) fn release(server: Ipv4Addr, hwaddr: HwAddr, address: Ipv4Addr) -> io::Result<()> {
    // The kernel hands it over as if it came from the bridge, whose address this is.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.send_to(&message(server, hwaddr, address), (server, SERVER_PORT)).map(drop)
}

fn message(server: Ipv4Addr, hwaddr: HwAddr, address: Ipv4Addr) -> Vec<u8> {
    // A request over Ethernet, no relays, number and flags zero.
    let mut message = vec![1, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    message.resize(28, 0);
    message.extend(hwaddr.bytes());
    message.resize(236, 0);
    // The mark of DHCP's options; the kind of message: 7; the server; the end.
    message.extend([99, 130, 83, 99, 53, 1, 7, 54, 4]);
    message.extend(server.octets());
    message.push(255);
    message.resize(LEAST_LENGTH, 0);
    message
}
