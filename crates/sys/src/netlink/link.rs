//! Network links: bridges, veth pairs, their state and counters.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::message::{Attributes, Batch, text, u16_at, u32_at, u64_at};
use super::namespace::Namespace;
use super::socket::RouteSocket;

const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_TARGET_NETNSID: u16 = 46;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_BRIDGE_ID: u16 = 11;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_BR_MULTI_BOOLOPT: u16 = 46;
/// `BR_BOOLOPT_NO_LL_LEARN`: learn no sender from frames to 01:80:c2:00:00:0x.
const NO_LINK_LOCAL_LEARN: u32 = 1;
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// Bytes of `struct ifinfomsg`.
const INFO: usize = 16;

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The driver's name for its kind: `bridge`, `veth`, …; none for hardware and `lo`.
    pub kind: Option<String>,
    /// Its hardware address; none where the link has none of six bytes.
    pub hwaddr: Option<[u8; 6]>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// `IFF_*` flags.
    pub flags: u32,
    /// The bridge it is a port of, by number.
    pub master: Option<u32>,
    /// For a veth: the number of the other end, in the other end's namespace.
    pub peer: Option<u32>,
    /// For a veth whose other end is in another namespace: that namespace's number in ours.
    pub peer_namespace: Option<i32>,
    /// Traffic so far.
    pub counters: Counters,
    /// For a bridge: its settings.
    pub bridge: Option<BridgeFacts>,
}

/// Traffic of a link since it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes that came in.
    pub bytes_received: u64,
    /// Bytes that went out.
    pub bytes_sent: u64,
    /// Packets that came in.
    pub packets_received: u64,
    /// Packets that went out.
    pub packets_sent: u64,
    /// Packets that came in broken.
    pub errors_received: u64,
    /// Packets that could not go out.
    pub errors_sent: u64,
    /// Packets that came in and were dropped.
    pub dropped_received: u64,
    /// Packets to go out that were dropped.
    pub dropped_sent: u64,
}

/// A bridge's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BridgeFacts {
    /// Identity: priority and address.
    pub id: [u8; 8],
    /// Whether the spanning tree protocol is on.
    pub stp: bool,
    /// Forward delay, in hundredths of a second.
    pub forward_delay: u32,
    /// The VLAN of untagged frames.
    pub vlan_default: u16,
    /// Whether VLANs are told apart.
    pub vlan_filtering: bool,
}

impl Link {
    /// Says whether the link is switched on.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Says whether this is a loopback link.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK as u32 != 0
    }

    /// Says whether the link has two ends only.
    #[must_use]
    pub fn is_point_to_point(&self) -> bool {
        self.flags & libc::IFF_POINTOPOINT as u32 != 0
    }

    /// Says whether the link can reach all stations on it at once.
    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        self.flags & libc::IFF_BROADCAST as u32 != 0
    }
}

/// A bridge to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address, which stays whatever ports come and go.
    pub hwaddr: [u8; 6],
    /// The largest packet; the kernel's default if none.
    pub mtu: Option<u32>,
}

/// A veth pair to make: one end here, the other for a container.
#[derive(Debug, Clone)]
pub struct NewVeth<'a> {
    /// Name of the end that stays here.
    pub name: &'a str,
    /// Name of the other end.
    pub peer: &'a str,
    /// Hardware address of the other end.
    pub peer_hwaddr: [u8; 6],
    /// The largest packet on both ends; the kernel's default if none.
    pub mtu: Option<u32>,
    /// How many packets wait to be sent on both ends; the kernel's default if none.
    pub queue: Option<u32>,
    /// The bridge that the first end becomes a port of, by number.
    pub master: Option<u32>,
    /// Whether isolated ports of the same bridge cannot reach each other.
    pub isolated: bool,
    /// The namespace that the other end is made in; ours if none. Moving it later costs some 20 ms, as that waits until no
    /// processor looks at it any more. It is switched off either way: the kernel switches on no half of a pair.
    pub peer_namespace: Option<BorrowedFd<'a>>,
}

/// What to change of a link; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct LinkChange<'a> {
    /// Switch it on or off.
    pub up: Option<bool>,
    /// A new name; the link must be off for that on older kernels.
    pub name: Option<&'a str>,
    /// The bridge to join by number, 0 to leave it.
    pub master: Option<u32>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The hardware address.
    pub hwaddr: Option<[u8; 6]>,
    /// The namespace to move it to; it arrives switched off.
    pub namespace: Option<BorrowedFd<'a>>,
}

impl RouteSocket {
    /// Lists all links of a namespace, with counters.
    ///
    /// # Errors
    /// `EINVAL` if the namespace's number is not known.
    ///
    /// Source: `RTM_GETLINK`, rtnetlink(7); `IFLA_TARGET_NETNSID`: Linux 4.16.
    pub fn links(&mut self, of: Namespace) -> io::Result<Vec<Link>> {
        let mut request = Batch::new();
        request.message(libc::RTM_GETLINK, libc::NLM_F_DUMP, &info(0, 0, 0));
        if let Namespace::Id(id) = of {
            request.number(IFLA_TARGET_NETNSID, id as u32);
        }
        let mut links = Vec::new();
        self.socket.ask(request, |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                links.extend(parse(payload));
            }
        })?;
        Ok(links)
    }

    /// Finds a link of our namespace by name.
    ///
    /// # Errors
    /// What the kernel reports, but not that there is no such link.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut request = Batch::new();
        request.message(libc::RTM_GETLINK, libc::NLM_F_ACK, &info(0, 0, 0)).text(libc::IFLA_IFNAME, name);
        let mut link = None;
        match self.socket.ask(request, |_, payload| link = parse(payload)) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(link),
        }
    }

    /// Makes a bridge, switched off, that forwards at once (no spanning tree) and learns nothing from control frames.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken.
    pub fn add_bridge(&mut self, bridge: &NewBridge<'_>) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWLINK, CREATE, &info(0, 0, 0)).text(libc::IFLA_IFNAME, bridge.name);
        batch.attribute(libc::IFLA_ADDRESS, &bridge.hwaddr);
        if let Some(mtu) = bridge.mtu {
            batch.number(libc::IFLA_MTU, mtu);
        }
        batch.nested(libc::IFLA_LINKINFO, |nest| {
            nest.attribute(IFLA_INFO_KIND, b"bridge").nested(IFLA_INFO_DATA, |data| {
                data.number(IFLA_BR_STP_STATE, 0);
                let option = [NO_LINK_LOCAL_LEARN.to_ne_bytes(), NO_LINK_LOCAL_LEARN.to_ne_bytes()].concat();
                data.attribute(IFLA_BR_MULTI_BOOLOPT, &option);
            });
        });
        self.change(batch)
    }

    /// Makes a veth pair by one batch: the first end joins its bridge, gets no IPv6 address of its own and is switched on.
    ///
    /// If a later step is refused, the pair is removed again.
    ///
    /// # Errors
    /// `EEXIST` if a name is taken, `ENODEV` if the bridge is gone.
    ///
    /// Source: veth(4).
    pub fn add_veth(&mut self, veth: &NewVeth<'_>) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWLINK, CREATE, &info(0, 0, 0)).text(libc::IFLA_IFNAME, veth.name);
        if let Some(mtu) = veth.mtu {
            batch.number(libc::IFLA_MTU, mtu);
        }
        if let Some(queue) = veth.queue {
            batch.number(libc::IFLA_TXQLEN, queue);
        }
        batch.nested(libc::IFLA_LINKINFO, |nest| {
            nest.attribute(IFLA_INFO_KIND, b"veth").nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| write_peer(peer, veth));
            });
        });
        // Before the link is on, so that the kernel neither makes a link-local address for it nor probes for one.
        batch.message(libc::RTM_NEWLINK, libc::NLM_F_ACK, &info(0, 0, 0)).text(libc::IFLA_IFNAME, veth.name);
        batch.nested(libc::IFLA_AF_SPEC, |families| {
            families.nested(libc::AF_INET6 as u16, |inet6| {
                inet6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
            });
        });
        let up = libc::IFF_UP as u32;
        batch.message(libc::RTM_NEWLINK, libc::NLM_F_ACK, &info(0, up, up)).text(libc::IFLA_IFNAME, veth.name);
        if let Some(master) = veth.master {
            batch.number(libc::IFLA_MASTER, master);
        }
        match self.socket.execute(batch) {
            Ok(()) => {}
            Err((0, error)) => return Err(error),
            Err((_, error)) => {
                self.delete_link(veth.name)?;
                return Err(error);
            }
        }
        if veth.isolated { self.isolate_port(veth.name) } else { Ok(()) }
    }

    /// Changes a link of our namespace.
    ///
    /// # Errors
    /// `ENODEV` if the link is gone, `EBUSY` if it must be off for the change, `EINVAL` for a value out of range.
    pub fn change_link(&mut self, index: u32, change: &LinkChange<'_>) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        let (flags, mask) = match change.up {
            Some(true) => (up, up),
            Some(false) => (0, up),
            None => (0, 0),
        };
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWLINK, libc::NLM_F_ACK, &info(index, flags, mask));
        if let Some(name) = change.name {
            batch.text(libc::IFLA_IFNAME, name);
        }
        if let Some(master) = change.master {
            batch.number(libc::IFLA_MASTER, master);
        }
        if let Some(mtu) = change.mtu {
            batch.number(libc::IFLA_MTU, mtu);
        }
        if let Some(hwaddr) = change.hwaddr {
            batch.attribute(libc::IFLA_ADDRESS, &hwaddr);
        }
        if let Some(namespace) = change.namespace {
            batch.number(libc::IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
        }
        self.change(batch)
    }

    /// Removes a link of our namespace; a veth's other end goes with it. One that is not there is none to remove.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a link that cannot be removed.
    pub fn delete_link(&mut self, name: &str) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_DELLINK, libc::NLM_F_ACK, &info(0, 0, 0)).text(libc::IFLA_IFNAME, name);
        match self.change(batch) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn isolate_port(&mut self, name: &str) -> io::Result<()> {
        let index = self.link(name)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?.index;
        let mut header = info(index, 0, 0);
        header[0] = libc::AF_BRIDGE as u8;
        let mut batch = Batch::new();
        batch.message(libc::RTM_SETLINK, libc::NLM_F_ACK, &header).nested(libc::IFLA_PROTINFO, |port| {
            port.attribute(IFLA_BRPORT_ISOLATED, &[1]);
        });
        self.change(batch)
    }
}

/// Finds the number of a link of our namespace, the cheapest way; none if there is no such link.
///
/// # Errors
/// `EMFILE`.
///
/// Source: if_nametoindex(3).
pub fn link_index(name: &str) -> io::Result<Option<u32>> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    match rustix::net::netdevice::name_to_index(&socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) const CREATE: i32 = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;

fn write_peer(nest: &mut Batch, veth: &NewVeth<'_>) {
    nest.raw(&info(0, 0, 0)).text(libc::IFLA_IFNAME, veth.peer).attribute(libc::IFLA_ADDRESS, &veth.peer_hwaddr);
    if let Some(mtu) = veth.mtu {
        nest.number(libc::IFLA_MTU, mtu);
    }
    if let Some(queue) = veth.queue {
        nest.number(libc::IFLA_TXQLEN, queue);
    }
    if let Some(namespace) = veth.peer_namespace {
        nest.number(libc::IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
    }
}

/// `struct ifinfomsg`.
pub(super) fn info(index: u32, flags: u32, mask: u32) -> [u8; INFO] {
    let mut bytes = [0; INFO];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&mask.to_ne_bytes());
    bytes
}

fn parse(payload: &[u8]) -> Option<Link> {
    let mut link = Link { index: u32_at(payload, 4)?, flags: u32_at(payload, 8)?, ..Link::default() };
    for (kind, value) in Attributes::after(INFO, payload) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS => link.hwaddr = value.try_into().ok(),
            libc::IFLA_MTU => link.mtu = u32_at(value, 0)?,
            libc::IFLA_MASTER => link.master = u32_at(value, 0),
            libc::IFLA_LINK => link.peer = u32_at(value, 0),
            IFLA_LINK_NETNSID => link.peer_namespace = u32_at(value, 0).map(|id| id as i32),
            libc::IFLA_STATS64 => link.counters = counters(value)?,
            libc::IFLA_LINKINFO => parse_kind(value, &mut link),
            _ => {}
        }
    }
    Some(link)
}

/// Reads `struct rtnl_link_stats64`.
fn counters(value: &[u8]) -> Option<Counters> {
    let at = |place: usize| u64_at(value, place * 8);
    Some(Counters {
        packets_received: at(0)?,
        packets_sent: at(1)?,
        bytes_received: at(2)?,
        bytes_sent: at(3)?,
        errors_received: at(4)?,
        errors_sent: at(5)?,
        dropped_received: at(6)?,
        dropped_sent: at(7)?,
    })
}

fn parse_kind(value: &[u8], link: &mut Link) {
    for (kind, value) in Attributes::new(value) {
        match kind {
            IFLA_INFO_KIND => link.kind = Some(text(value)),
            IFLA_INFO_DATA if link.kind.as_deref() == Some("bridge") => link.bridge = Some(bridge_facts(value)),
            _ => {}
        }
    }
}

fn bridge_facts(value: &[u8]) -> BridgeFacts {
    let mut facts = BridgeFacts::default();
    for (kind, value) in Attributes::new(value) {
        match kind {
            IFLA_BR_FORWARD_DELAY => facts.forward_delay = u32_at(value, 0).unwrap_or_default(),
            IFLA_BR_STP_STATE => facts.stp = u32_at(value, 0).is_some_and(|state| state != 0),
            IFLA_BR_VLAN_FILTERING => facts.vlan_filtering = value.first().is_some_and(|&on| on != 0),
            IFLA_BR_BRIDGE_ID => facts.id = value.try_into().unwrap_or_default(),
            IFLA_BR_VLAN_DEFAULT_PVID => facts.vlan_default = u16_at(value, 0).unwrap_or_default(),
            _ => {}
        }
    }
    facts
}
