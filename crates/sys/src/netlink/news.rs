//! What the kernel tells of addresses that come and go in a network namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// A listener to changes of addresses.
#[derive(Debug)]
pub struct AddressNews(OwnedFd);

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const ADDRESSES: u32 = 0x10 | 0x100;

impl AddressNews {
    /// Listens from now on, in the calling thread's network namespace. It never waits.
    ///
    /// # Errors
    /// `EMFILE`.
    ///
    /// Source: rtnetlink(7), netlink(7).
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, ADDRESSES))?;
        Ok(Self(socket))
    }

    /// Takes all that was told so far. What it was is to be looked up: nothing here says that it is still so.
    ///
    /// # Errors
    /// None but the kernel's surprise; lost messages are news like others.
    pub fn take(&self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for AddressNews {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for AddressNews {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}
