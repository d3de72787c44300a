//! Connections: one thread each, so that a file system that hangs holds up only who asked for it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coffer_sys::path::Root;
use coffer_sys::process::exit_now;
use coffer_sys::socket::PacketSocket;

use super::connection::Connection;
use crate::order::{CONNECTION, MOST};

/// Most connections at a time; more are closed at once.
const MOST_CONNECTIONS: usize = 128;

/// A thread's stack, in bytes: buffers are on the heap.
const STACK: usize = 128 << 10;

/// Serves until the daemon closes its end, whatever is under way then. The answer is the exit status.
pub(super) fn serve(control: &PacketSocket, root: &Root) -> u8 {
    let open = Arc::new(AtomicUsize::new(0));
    while let Ok(Some(packet)) = control.receive(MOST) {
        let mut fds = packet.fds.into_iter();
        let Some(stream) = fds.next().filter(|_| packet.bytes == CONNECTION) else { continue };
        let held: Vec<OwnedFd> = fds.collect();
        let Ok(root) = root.try_clone() else { continue };
        let place = Place::take(&open);
        let connection = move || {
            let _held = (place, held);
            Connection::new(File::from(stream), root).serve();
        };
        // A thread that cannot be made closes the connection, which is what the other end sees.
        if open.load(Ordering::Relaxed) <= MOST_CONNECTIONS {
            let _ = std::thread::Builder::new().stack_size(STACK).spawn(connection);
        }
    }
    exit_now(0)
}

/// A place among the connections.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
