//! Netlink sockets: send a batch, wait for its acknowledgements, collect a dump.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sendto, socket_with, sockopt};

use super::message::{Batch, HEADER, u16_at, u32_at};

/// Room for one datagram of a dump; the kernel fills up to 32 KiB unless asked for more.
const BUFFER: usize = 64 << 10;
/// The kernel answers at once; this only keeps a kernel bug from holding a request for ever.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Which family of messages a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// nftables.
    Netfilter,
}

/// A netlink socket of the network namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket.
    ///
    /// # Errors
    /// `EMFILE`, or `EPROTONOSUPPORT` where the kernel lacks the protocol.
    ///
    /// Source: netlink(7).
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let number = match protocol {
            // NETLINK_ROUTE is protocol 0, which is what no protocol means.
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, number)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
        Ok(Self { fd, sequence: 1, buffer: vec![0; BUFFER] })
    }

    /// Sends a batch whose messages all ask for an acknowledgement, and waits for every one.
    ///
    /// # Errors
    /// The first error that the kernel reports, with the place of the message in the batch; the others were carried out
    /// (`NETLINK_ROUTE`) or none was (nftables).
    pub fn execute(&mut self, batch: Batch) -> Result<(), (usize, io::Error)> {
        let count = batch.len();
        self.execute_expecting(batch, 0, count)
    }

    /// As [`Socket::execute`], where only `count` messages from place `first` on are acknowledged.
    ///
    /// # Errors
    /// See [`Socket::execute`].
    pub fn execute_expecting(&mut self, batch: Batch, first: usize, count: usize) -> Result<(), (usize, io::Error)> {
        let start = self.send(batch).map_err(|error| (0, error))?;
        let mut failed: Option<(usize, io::Error)> = None;
        let mut missing = count;
        while missing > 0 {
            let mut stop = false;
            self.receive(|kind, sequence, payload| {
                let place = sequence.wrapping_sub(start) as usize;
                if kind != libc::NLMSG_ERROR as u16 {
                    return;
                }
                let result = errno_of(payload);
                if place < first || place >= first + count {
                    // A refusal of the batch as a whole is reported on its frame and ends it.
                    stop |= result.is_err();
                } else {
                    missing = missing.saturating_sub(1);
                }
                if let Err(error) = result {
                    failed.get_or_insert((place, error));
                }
            })
            .map_err(|error| (0, error))?;
            if stop {
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Sends one request and hands each answering message (its type and payload) to `each`.
    ///
    /// The request is a dump (`NLM_F_DUMP`), or asks for an acknowledgement, which ends the answer.
    ///
    /// # Errors
    /// What the kernel reports: `ENODEV` for a link that is not there, and so on; `EINTR` for a dump that changed while it was read.
    pub fn ask(&mut self, request: Batch, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let start = self.send(request)?;
        let mut end = None;
        while end.is_none() {
            self.receive(|kind, sequence, payload| {
                if sequence != start {
                    return;
                }
                match i32::from(kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => end = Some(errno_of(payload)),
                    _ => each(kind, payload),
                }
            })?;
        }
        end.unwrap_or(Ok(()))
    }

    /// Sends; returns the first message's sequence number.
    fn send(&mut self, batch: Batch) -> io::Result<u32> {
        let start = self.sequence;
        self.sequence = self.sequence.wrapping_add(batch.len() as u32).max(1);
        let bytes = batch.numbered(start);
        sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(start)
    }

    /// Receives one datagram and hands out its messages: type, sequence number, payload.
    fn receive(&mut self, mut each: impl FnMut(u16, u32, &[u8])) -> io::Result<()> {
        let (_, length) = match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Ok(received) => received,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        };
        let mut rest = self.buffer.get(..length).ok_or_else(|| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
        while let (Some(size), Some(kind), Some(sequence)) = (u32_at(rest, 0), u16_at(rest, 4), u32_at(rest, 8)) {
            let size = size as usize;
            let Some(payload) = rest.get(HEADER..size) else { break };
            each(kind, sequence, payload);
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The result in the payload of `NLMSG_ERROR` or `NLMSG_DONE`: 0 or a negative error number.
fn errno_of(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0).map_or(0, |number| number as i32) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number.saturating_neg())),
    }
}

/// A `NETLINK_ROUTE` socket: links, addresses and routes of the namespace it was opened in, and, to read, of others.
#[derive(Debug)]
pub struct RouteSocket {
    pub(super) socket: Socket,
}

impl RouteSocket {
    /// Opens a socket whose requests the kernel checks strictly, which is what lets a dump name another namespace.
    ///
    /// # Errors
    /// As [`Socket::open`]; `ENOPROTOOPT` before Linux 4.20.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::open(Protocol::Route)?;
        check_strictly(&socket.fd)?;
        Ok(Self { socket })
    }

    /// Sends a batch of changes; the kernel's answer without the message's place.
    pub(super) fn change(&mut self, batch: Batch) -> io::Result<()> {
        self.socket.execute(batch).map_err(|(_, error)| error)
    }
}

/// Turns `NETLINK_GET_STRICT_CHK` on.
///
/// Source: netlink(7); Linux 4.20.
fn check_strictly(fd: &OwnedFd) -> io::Result<()> {
    const SOL_NETLINK: i32 = 270;
    const NETLINK_GET_STRICT_CHK: i32 = 12;
    let on: libc::c_int = 1;
    // SAFETY: setsockopt reads `size_of::<c_int>()` bytes at the pointer, which is a live c_int; the descriptor is borrowed and open.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            SOL_NETLINK,
            NETLINK_GET_STRICT_CHK,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
