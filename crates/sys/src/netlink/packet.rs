//! Whole frames on a link, as they are on the wire.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Opens a socket that sends and receives whole Ethernet frames of every protocol on link `index`.
///
/// # Errors
/// `EPERM` without `CAP_NET_RAW`, `ENODEV` if there is no such link.
///
/// Source: packet(7).
pub fn open(index: u32) -> io::Result<OwnedFd> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: socket takes three numbers and touches no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just returned by socket and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: bind reads `size` bytes at the pointer, which is a live sockaddr_ll of that size; the descriptor is open.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) };
    if result == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}
