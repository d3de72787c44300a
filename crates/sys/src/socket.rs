//! Unix sockets: descriptors passed along, peers identified.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};

/// Most descriptors that one packet carries. Source: unix(7), `SCM_MAX_FD`.
pub const MOST_FDS: usize = 253;

/// A connected unix socket of type `SOCK_SEQPACKET`: packets keep their borders and may carry descriptors.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// A packet that came in.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors, all close-on-exec.
    pub fds: Vec<OwnedFd>,
}

impl PacketSocket {
    /// Makes two sockets connected to each other, both blocking and close-on-exec.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    ///
    /// Source: socketpair(2).
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Connects to the socket `name` in the directory `dir`. The path may be longer than a socket address can be.
    ///
    /// # Errors
    /// `ENOENT` if there is no such file, `ECONNREFUSED` if nobody listens.
    pub fn connect(dir: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, &address_in(dir, name)?)?;
        Ok(Self(socket))
    }

    /// Takes over a descriptor that is such a socket.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Ends the conversation in both directions: whoever waits at either end learns that it is over.
    ///
    /// # Errors
    /// `ENOTCONN` if it was over already.
    ///
    /// Source: shutdown(2).
    pub fn shut_down(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both)?)
    }

    /// Gives the descriptor away.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Chooses whether calls wait.
    ///
    /// # Errors
    /// None in practice.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.0, nonblocking)?)
    }

    /// Sends one packet, whole or not at all.
    ///
    /// # Errors
    /// `EPIPE` if the peer is gone, `EMSGSIZE` if the packet is larger than the send buffer, `EAGAIN` if the socket is
    /// non-blocking and its buffer full.
    ///
    /// Source: sendmsg(2), unix(7).
    pub fn send(&self, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_with(self.0.as_fd(), parts, fds)
    }

    /// Receives one packet; `None` if the peer has closed.
    ///
    /// # Errors
    /// `EAGAIN` if the socket is non-blocking and there is none, `EMSGSIZE` if the packet is longer than `most` bytes or
    /// its descriptors could not all be taken over; the packet is gone then.
    ///
    /// Source: recvmsg(2), unix(7).
    pub fn receive(&self, most: usize) -> io::Result<Option<Packet>> {
        let length = retry(|| rustix::net::recv(&self.0, &mut [0u8; 0][..], RecvFlags::PEEK | RecvFlags::TRUNC).map(|(_, length)| length))?;
        let mut bytes = vec![0; length.min(most)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry(|| rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(Errno::MSGSIZE.into());
        }
        if received.bytes == 0 && fds.is_empty() {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        Ok(Some(Packet { bytes, fds }))
    }

    /// Says who is at the other end, as the kernel noted when the connection was made.
    ///
    /// # Errors
    /// None in practice.
    ///
    /// Source: `SO_PEERCRED`, unix(7).
    pub fn peer(&self) -> io::Result<Peer> {
        peer(self.0.as_fd())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A unix socket of type `SOCK_SEQPACKET` that others connect to.
#[derive(Debug)]
pub struct PacketListener(OwnedFd);

impl PacketListener {
    /// Listens on a new socket `name` in the directory `dir`, non-blocking; only root and the owner can connect.
    ///
    /// # Errors
    /// `EADDRINUSE` if the name exists.
    pub fn bind(dir: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        rustix::net::bind(&socket, &address_in(dir, name)?)?;
        rustix::net::listen(&socket, 64)?;
        Ok(Self(socket))
    }

    /// Takes the next connection, blocking and close-on-exec.
    ///
    /// # Errors
    /// `EAGAIN` if nobody waits.
    pub fn accept(&self) -> io::Result<PacketSocket> {
        Ok(PacketSocket(rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)?))
    }
}

impl AsFd for PacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id in our namespace; 0 if it has none there.
    pub pid: i32,
    /// Effective user id in our namespace.
    pub uid: u32,
    /// Effective group id in our namespace.
    pub gid: u32,
}

/// Sends a few bytes with descriptors over a connected unix socket of any type.
///
/// # Errors
/// `EPIPE` if the peer is gone, `EAGAIN` if the socket is non-blocking and its buffer full.
///
/// Source: sendmsg(2), `SCM_RIGHTS`, unix(7).
pub fn send_with(socket: BorrowedFd<'_>, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MOST_FDS {
        return Err(Errno::TOOMANYREFS.into());
    }
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut space = vec![MaybeUninit::uninit(); if fds.is_empty() { 0 } else { rustix::cmsg_space!(ScmRights(fds.len())) }];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS.into());
    }
    retry(|| rustix::net::sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL)).map(drop)
}

/// Receives what is there on a connected stream socket, with the descriptors that came along; no bytes are the end.
///
/// # Errors
/// `EAGAIN` if the socket is non-blocking and nothing is there, `EMSGSIZE` if the descriptors could not all be taken over.
///
/// Source: recvmsg(2), `SCM_RIGHTS`, unix(7).
pub fn receive_with(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry(|| rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    Ok((received.bytes, fds))
}

/// Says who is at the other end of a connected unix socket of any type.
///
/// # Errors
/// `ENOPROTOOPT` if it is no unix socket.
///
/// Source: `SO_PEERCRED`, unix(7).
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (value, length_at) = ((&raw mut cred).cast(), &raw mut length);
    // SAFETY: both pointers are valid for the whole call and `length` says how much room `cred` has.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, value, length_at) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}

/// Lists the supplementary groups that the process at the other end of a connected unix socket had when it connected.
///
/// # Errors
/// `ENODATA` if it is no connected unix socket.
///
/// Source: `SO_PEERGROUPS`, socket(7); Linux 4.13.
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    /// As many as most processes have; the kernel says how many there are if that is too few.
    const FEW: usize = 32;
    /// Source: asm-generic/socket.h; not in the libc crate for every target.
    const SO_PEERGROUPS: libc::c_int = 59;
    let mut groups: Vec<libc::gid_t> = vec![0; FEW];
    loop {
        let mut length = size_of_val(groups.as_slice()) as libc::socklen_t;
        let (value, length_at) = (groups.as_mut_ptr().cast(), &raw mut length);
        // SAFETY: both pointers are valid for the whole call and `length` says how much room `groups` has.
        let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERGROUPS, value, length_at) };
        let count = length as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Opens a pidfd of the process at the other end of a connected unix socket: it stays true when the number is recycled.
///
/// # Errors
/// `ESRCH` or `EINVAL` if the process is gone, `ENOPROTOOPT` before Linux 6.5.
///
/// Source: `SO_PEERPIDFD`, unix(7); Linux 6.5.
pub fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// Source: asm-generic/socket.h; not in the libc crate for every target.
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let (value, length_at) = ((&raw mut fd).cast(), &raw mut length);
    // SAFETY: both pointers are valid for the whole call and `length` says how much room `fd` has.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, value, length_at) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just installed this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a raw netlink socket of the routing family in the current network namespace.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
///
/// Source: rtnetlink(7).
pub fn route_socket() -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    Ok(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// An address for a socket file by the directory's descriptor: a socket address holds only 107 bytes of path.
fn address_in(dir: BorrowedFd<'_>, name: &str) -> io::Result<SocketAddrUnix> {
    if name.is_empty() || name.contains('/') {
        return Err(Errno::INVAL.into());
    }
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))?)
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_carry_descriptors_too() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        send_with(one.as_fd(), &[b"ab"], &[file.as_fd()]).unwrap();
        let mut buffer = [0; 8];
        let (length, fds) = receive_with(other.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"ab"[..], 1));
        drop(one);
        assert_eq!(receive_with(other.as_fd(), &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn packets_carry_bytes_and_descriptors() {
        let (one, other) = PacketSocket::pair().unwrap();
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        one.send(&[b"ab", b"c"], &[file.as_fd(), file.as_fd()]).unwrap();
        one.send(&[&[7; 100_000]], &[]).unwrap();
        let packet = other.receive(1 << 20).unwrap().unwrap();
        assert_eq!((packet.bytes.as_slice(), packet.fds.len()), (&b"abc"[..], 2));
        assert_eq!(other.receive(1 << 20).unwrap().unwrap().bytes.len(), 100_000);
        drop(one);
        assert!(other.receive(10).unwrap().is_none());
    }

    #[test]
    fn a_packet_over_the_limit_is_an_error() {
        let (one, other) = PacketSocket::pair().unwrap();
        one.send(&[b"too long"], &[]).unwrap();
        assert_eq!(other.receive(3).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn long_paths_work() {
        let top = std::env::temp_dir().join(format!("coffer-socket-{}", std::process::id()));
        let dir = top.join("x".repeat(200));
        std::fs::create_dir_all(&dir).unwrap();
        let opened = std::fs::File::open(&dir).unwrap();
        let listener = PacketListener::bind(opened.as_fd(), "s").unwrap();
        let client = PacketSocket::connect(opened.as_fd(), "s").unwrap();
        let server = listener.accept().unwrap();
        assert_eq!(server.peer().unwrap().pid, std::process::id() as i32);
        client.send(&[b"x"], &[]).unwrap();
        assert_eq!(server.receive(10).unwrap().unwrap().bytes, b"x");
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn groups_of_a_peer_are_its_own() {
        let (ours, _theirs) = PacketSocket::pair().unwrap();
        let mut groups = peer_groups(ours.as_fd()).unwrap();
        let mut own: Vec<u32> = rustix::process::getgroups().unwrap().into_iter().map(rustix::process::Gid::as_raw).collect();
        groups.sort_unstable();
        own.sort_unstable();
        assert_eq!(groups, own);
    }
}
