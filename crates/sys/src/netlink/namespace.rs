//! Naming another network namespace by number, so that its links can be read without entering it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{Attributes, Batch, u32_at};
use super::socket::RouteSocket;

const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// `struct rtgenmsg` with its padding.
const GENERIC: [u8; 4] = [0; 4];

/// Whose links or addresses are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// The namespace that the socket belongs to.
    Own,
    /// Another one, by the number that it has in ours; see [`RouteSocket::namespace_id`].
    Id(i32),
}

impl RouteSocket {
    /// Finds the number by which our namespace knows the one behind `namespace`, giving it one if it has none.
    ///
    /// The number stays true as long as that namespace lives.
    ///
    /// # Errors
    /// `EBADF` if the descriptor is no network namespace, `EPERM` without `CAP_NET_ADMIN`.
    ///
    /// Source: `RTM_GETNSID` and `RTM_NEWNSID`, rtnetlink(7); Linux 4.0.
    pub fn namespace_id(&mut self, namespace: BorrowedFd<'_>) -> io::Result<i32> {
        if let Some(id) = self.known_namespace_id(namespace)? {
            return Ok(id);
        }
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWNSID, libc::NLM_F_ACK, &GENERIC);
        batch.number(NETNSA_NSID, u32::MAX).number(NETNSA_FD, namespace.as_raw_fd() as u32);
        match self.change(batch) {
            // Another thread may have been quicker.
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.known_namespace_id(namespace)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn known_namespace_id(&mut self, namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut request = Batch::new();
        request.message(libc::RTM_GETNSID, libc::NLM_F_ACK, &GENERIC).number(NETNSA_FD, namespace.as_raw_fd() as u32);
        let mut id = None;
        self.socket.ask(request, |_, payload| {
            let found = Attributes::after(GENERIC.len(), payload).find(|&(kind, _)| kind == NETNSA_NSID);
            id = found.and_then(|(_, value)| u32_at(value, 0)).map(|id| id as i32);
        })?;
        Ok(id.filter(|&id| id >= 0))
    }
}
