//! Links that are made for an instance: pairs with one end outside, and links over one of the host's.

use std::io;
use std::os::fd::BorrowedFd;

use coffer_runtime_spec::{LinkLimits, Nic, Over, OverKind, Veth};
use coffer_sys::netlink::nftables::Nftables;
use coffer_sys::netlink::{NewOver, NewVeth, OverMode, Policing, RouteSocket, link_index};
use rustix::io::Errno;

use super::hardware_address;

/// Makes a pair of virtual links, one end here and one in `target`.
pub(super) fn make_pair(veth: &Veth, nic: &Nic, target: BorrowedFd<'_>) -> io::Result<()> {
    let master = veth.bridge.as_deref().map(number).transpose()?;
    RouteSocket::open()?.add_veth(&NewVeth {
        name: &nic.host_name,
        peer: &nic.name,
        peer_hwaddr: six_bytes(nic)?.ok_or_else(|| io::Error::other("a new pair needs a hardware address of six bytes"))?,
        mtu: nic.mtu,
        queue: veth.queue,
        master,
        isolated: veth.isolated,
        peer_namespace: Some(target),
    })
}

/// Holds a pair to its limits, by its end that is out of the instance's reach.
pub(super) fn limit(limits: &LinkLimits, host_name: &str) -> io::Result<()> {
    if let Some(rate) = limits.ingress {
        RouteSocket::open()?.limit_sending(number(host_name)?, rate)?;
    }
    let policing = Policing { rate: limits.egress, priority: limits.priority };
    if policing.is_none() { Ok(()) } else { Nftables::open()?.police(&limits.table, host_name, policing) }
}

/// Makes a link in `target` over one of ours.
pub(super) fn make_over(over: &Over, nic: &Nic, target: BorrowedFd<'_>) -> io::Result<()> {
    let mode = match over.kind {
        OverKind::Macvlan => OverMode::MacvlanBridge,
        OverKind::IpvlanL2 => OverMode::IpvlanL2,
        OverKind::IpvlanL3s => OverMode::IpvlanL3s,
    };
    RouteSocket::open()?.add_over(&NewOver {
        name: &nic.name,
        parent: number(&over.parent)?,
        mode,
        hwaddr: six_bytes(nic)?,
        mtu: nic.mtu,
        namespace: target,
    })
}

/// The kernel's word for a kind of link.
pub(super) fn kind(kind: OverKind) -> &'static str {
    match kind {
        OverKind::Macvlan => "macvlan",
        OverKind::IpvlanL2 | OverKind::IpvlanL3s => "ipvlan",
    }
}

fn number(link: &str) -> io::Result<u32> {
    link_index(link)?.ok_or_else(|| Errno::NODEV.into())
}

fn six_bytes(nic: &Nic) -> io::Result<Option<[u8; 6]>> {
    let hwaddr = nic.hwaddr.as_deref().map(hardware_address).transpose()?;
    Ok(hwaddr.and_then(|bytes| bytes.try_into().ok()))
}
