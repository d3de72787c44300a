//! Sockets that are listened at, in the namespaces that this process is in.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use coffer_runtime_spec::{Endpoint, Proxy, SocketFile, Stage};
use coffer_sys::path::{Root, kind_of};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};

use crate::failed::{At, Failed};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Opens all sockets of a proxy.
pub(super) fn open_all(proxy: &Proxy) -> Result<Vec<OwnedFd>, Failed> {
    let open = |endpoint: &Endpoint| open(endpoint, &proxy.socket).at(Stage::Proxy, || format!("listening at {endpoint}"));
    proxy.listen.iter().map(open).collect()
}

fn open(endpoint: &Endpoint, file: &SocketFile) -> io::Result<OwnedFd> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let socket = inet(*address, SocketType::STREAM)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, address)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(socket)
        }
        Endpoint::Udp(address) => {
            let socket = inet(*address, SocketType::DGRAM)?;
            rustix::net::bind(&socket, address)?;
            Ok(socket)
        }
        Endpoint::Unix(path) => unix(path, file),
        Endpoint::Abstract(name) => {
            let socket = stream()?;
            rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(socket)
        }
    }
}

/// Makes a socket of the Internet that never waits.
pub(super) fn inet(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
    Ok(rustix::net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, Some(protocol))?)
}

/// Makes a unix stream socket that never waits.
pub(super) fn stream() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Listens at a path. Nobody can connect before the file has its owner and mode.
fn unix(path: &str, file: &SocketFile) -> io::Result<OwnedFd> {
    remove_stale(path)?;
    let socket = stream()?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(path)?);
    rustix::process::umask(before);
    bound?;
    let (directory, name) = Path::new(path).parent().zip(Path::new(path).file_name()).ok_or(Errno::INVAL)?;
    let directory = Root::open(directory)?.strict()?;
    // Whoever may write the directory could have put something else there.
    if kind_of(&directory.metadata(name)?) != FileType::Socket {
        return Err(Errno::STALE.into());
    }
    directory.change_owner(name, file.uid, file.gid)?;
    directory.change_mode(name, file.mode & 0o777)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Removes the file of a socket that nobody listens at any more.
///
/// # Errors
/// `EADDRINUSE` if somebody does, or if it is no socket.
pub(crate) fn remove_stale(path: &str) -> io::Result<()> {
    match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        Ok(stat) if kind_of(&stat) == FileType::Socket => {}
        Ok(_) => return Err(Errno::ADDRINUSE.into()),
        Err(error) => return Err(error.into()),
    }
    match rustix::net::connect(stream()?, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(rustix::fs::unlink(path)?),
        Err(Errno::NOENT) => Ok(()),
        _ => Err(Errno::ADDRINUSE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = std::env::temp_dir().join(format!("coffer-proxy-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket").display().to_string();
        let own = std::fs::metadata(&directory).unwrap();
        let file =
            SocketFile { uid: std::os::unix::fs::MetadataExt::uid(&own), gid: std::os::unix::fs::MetadataExt::gid(&own), mode: 0o640 };
        let first = open(&Endpoint::Unix(path.clone()), &file).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(open(&Endpoint::Unix(path.clone()), &file).unwrap_err().raw_os_error(), Some(Errno::ADDRINUSE.raw_os_error()));
        drop(first);
        drop(open(&Endpoint::Unix(path.clone()), &file).unwrap());
        std::fs::write(directory.join("file"), "").unwrap();
        assert!(remove_stale(&directory.join("file").display().to_string()).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
