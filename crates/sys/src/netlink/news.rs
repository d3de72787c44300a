//! What the kernel tells of links and addresses that come and go in a network namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// A listener to changes.
#[derive(Debug)]
pub struct News(OwnedFd);

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const ADDRESSES: u32 = 0x10 | 0x100;

/// `RTMGRP_LINK`.
const LINKS: u32 = 1;

impl News {
    /// Listens to changes of addresses from now on, in the calling thread's network namespace.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn of_addresses() -> io::Result<Self> {
        Self::open(ADDRESSES)
    }

    /// Listens to changes of links from now on, in the calling thread's network namespace.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn of_links() -> io::Result<Self> {
        Self::open(LINKS)
    }

    /// Source: rtnetlink(7), netlink(7).
    fn open(groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self(socket))
    }

    /// Waits for news at most for `patience`, and takes them; false if there were none.
    ///
    /// # Errors
    /// None but the kernel's surprise.
    pub fn wait(&self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        let told = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&patience)))? > 0;
        self.take().map(|()| told)
    }

    /// Takes all that was told so far; never waits. What it was is to be looked up: nothing here says that it is still so.
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

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for News {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}
