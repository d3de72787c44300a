//! Messages about devices, as the kernel sends them, in the daemon's network alone.

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, SendFlags, SocketType};

use crate::Daemon;

impl Daemon {
    /// Has the kernel tell the daemon of a device that comes or goes: root of a network may, in that network.
    ///
    /// # Panics
    /// The kernel refuses.
    ///
    /// Source: `uevent_net_rcv` in lib/kobject_uevent.c of the kernel; Linux 4.18.
    #[track_caller]
    pub fn tell_of_device(&self, action: &str, fields: &[(&str, &str)]) {
        const REQUEST: u16 = 1;
        const FIRST_KIND: u16 = 16;
        let mut text = format!("{action}@/devices/test\0ACTION={action}\0DEVPATH=/devices/test\0");
        fields.iter().for_each(|(key, value)| text.push_str(&format!("{key}={value}\0")));
        let length = u32::try_from(16 + text.len()).expect("a short message");
        let mut message = length.to_ne_bytes().to_vec();
        message.extend([FIRST_KIND.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
        message.extend([0; 8]);
        message.extend(text.as_bytes());
        self.in_network(|| {
            let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(KOBJECT_UEVENT)).expect("a socket");
            rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).expect("telling of a device");
        });
    }
}
