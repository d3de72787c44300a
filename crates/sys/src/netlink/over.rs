//! Links over another link: macvlan and ipvlan.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::link::{CREATE, IFLA_INFO_DATA, IFLA_INFO_KIND, info};
use super::message::Batch;
use super::socket::RouteSocket;

/// `IFLA_MACVLAN_MODE` and `IFLA_IPVLAN_MODE`.
const MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IPVLAN_MODE_L2: u16 = 0;
const IPVLAN_MODE_L3S: u16 = 2;

/// A link to make over another one of ours.
#[derive(Debug, Clone)]
pub struct NewOver<'a> {
    /// Its name.
    pub name: &'a str,
    /// The link below, by number.
    pub parent: u32,
    /// How it shares that.
    pub mode: OverMode,
    /// Its hardware address, where it has one of its own.
    pub hwaddr: Option<[u8; 6]>,
    /// The largest packet; the parent's if none.
    pub mtu: Option<u32>,
    /// The namespace that it is made in, switched off.
    pub namespace: BorrowedFd<'a>,
}

/// How a link shares another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverMode {
    /// By a hardware address of its own; links over the same parent reach each other.
    MacvlanBridge,
    /// By Ethernet addresses, with the parent's.
    IpvlanL2,
    /// By IP addresses, through the filters of our namespace.
    IpvlanL3s,
}

impl RouteSocket {
    /// Makes a link over another one.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the kernel has no such links, `EBUSY` if the parent is shared another way already, `EEXIST` if the name
    /// is taken.
    ///
    /// Source: ip-link(8); `Documentation/networking/ipvlan.rst` of Linux.
    pub fn add_over(&mut self, over: &NewOver<'_>) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWLINK, CREATE, &info(0, 0, 0)).text(libc::IFLA_IFNAME, over.name);
        batch.number(libc::IFLA_LINK, over.parent).number(libc::IFLA_NET_NS_FD, over.namespace.as_raw_fd() as u32);
        if let Some(hwaddr) = over.hwaddr {
            batch.attribute(libc::IFLA_ADDRESS, &hwaddr);
        }
        if let Some(mtu) = over.mtu {
            batch.number(libc::IFLA_MTU, mtu);
        }
        batch.nested(libc::IFLA_LINKINFO, |nest| match over.mode {
            OverMode::MacvlanBridge => {
                nest.attribute(IFLA_INFO_KIND, b"macvlan").nested(IFLA_INFO_DATA, |data| {
                    data.number(MODE, MACVLAN_MODE_BRIDGE);
                });
            }
            OverMode::IpvlanL2 => ipvlan(nest, IPVLAN_MODE_L2),
            OverMode::IpvlanL3s => ipvlan(nest, IPVLAN_MODE_L3S),
        });
        self.change(batch)
    }
}

fn ipvlan(nest: &mut Batch, mode: u16) {
    nest.attribute(IFLA_INFO_KIND, b"ipvlan").nested(IFLA_INFO_DATA, |data| {
        data.attribute(MODE, &mode.to_ne_bytes());
    });
}
