//! What the kernel tells of devices that come and go.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// One message: what happened to which device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uevent {
    /// Its fields: `ACTION`, `DEVPATH`, `SUBSYSTEM`, `DEVNAME`, `MAJOR` …
    pub fields: BTreeMap<String, String>,
}

/// A listener to the kernel's messages.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

/// The group that the kernel itself sends to; udev sends to the next one.
const KERNEL: u32 = 1;

impl Uevents {
    /// Listens from now on. It never waits.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` in a kernel without hotplug.
    ///
    /// Source: lib/kobject_uevent.c of the kernel; devices of the initial user namespace are told of in every network
    /// namespace of it.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
        Ok(Self(socket))
    }

    /// Takes the next message; `None` if none waits. Messages that the kernel did not send are passed over.
    ///
    /// # Errors
    /// `ENOBUFS` if messages were lost because nobody took them.
    pub fn next(&self) -> io::Result<Option<Uevent>> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match rustix::net::recvfrom(&self.0, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((_, count, from)) => {
                    let kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
                    if let Some(event) = Uevent::parse(&buffer[..count]).filter(|_| kernel) {
                        return Ok(Some(event));
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Uevent {
    /// Reads `add@/devices/…`, NUL, `ACTION=add`, NUL …
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('\0');
        parts.next().filter(|head| head.contains("@/"))?;
        let fields = parts.filter_map(|part| part.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
        Some(Self { fields: fields.collect() })
    }

    /// One field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let event = Uevent::parse(b"add@/devices/x\0ACTION=add\0SUBSYSTEM=usb\0DEVNAME=bus/usb/001/002\0").unwrap();
        assert_eq!((event.get("ACTION"), event.get("DEVNAME"), event.get("MAJOR")), (Some("add"), Some("bus/usb/001/002"), None));
        // udev's own messages begin otherwise.
        assert_eq!(Uevent::parse(b"libudev\0\xfe\xed"), None);
    }

    #[test]
    fn nobody_has_said_anything_yet() {
        match Uevents::open() {
            Ok(events) => drop(events.next().unwrap()),
            Err(error) => println!("skipped: no uevents: {error}"),
        }
    }
}
