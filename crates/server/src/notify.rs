//! Telling a service manager how far the daemon is. Source: sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What a service manager wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The daemon serves.
    Ready,
    /// The daemon ends.
    Stopping,
}

/// Tells the service manager, if there is one: it names its socket in `NOTIFY_SOCKET`.
pub fn tell(news: News) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, news) {
        tracing::warn!("telling the service manager: {error}");
    }
}

fn send(socket: &OsStr, news: News) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let text: &[u8] = match news {
        News::Ready => b"READY=1\n",
        News::Stopping => b"STOPPING=1\n",
    };
    UnixDatagram::unbound()?.send_to_addr(text, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), News::Ready).unwrap();
        let mut text = [0; 32];
        let count = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..count], b"READY=1\n");
    }
}
