//! The table of the family `bridge`: what a NIC may send, by the name of its port.
//!
//! Rules read from top to bottom; what a step lets pass goes on to the next, so no early acceptance opens a hole behind it:
//! 1. the frame's sender is the NIC's hardware address, also inside ARP, DHCP and neighbour messages;
//! 2. nobody but the host plays router or DHCP server;
//! 3. IPv4, ARP included, comes from the NIC's own address only;
//! 4. IPv6 comes from addresses that the NIC was given, or that it claimed first: an address inside the network that
//!    belongs to nobody (a temporary one, say) is the first sender's for some hours, unless it looks like one that is made
//!    from a hardware address. Where the user asked for filtering in so many words, only the given addresses count.
//!
//! The chain hangs on `prerouting`, so the bridge never learns a false address either.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use coffer_sys::netlink::nftables::{Element, Family, Nftables};
use ipnet::Ipv6Net;

use super::{Rules, table_name};
use crate::hwaddr::HwAddr;

/// What is filtered on a NIC's port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortFilter {
    /// Whether other hardware addresses are dropped. The other two imply it.
    pub mac: bool,
    /// The IPv4 addresses that may be used, if that is filtered; none in the list means no IPv4 at all.
    pub ipv4: Option<Vec<Ipv4Addr>>,
    /// Which IPv6 addresses may be used, if that is filtered.
    pub ipv6: Option<Ipv6Filter>,
}

/// Which IPv6 addresses a port may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6Filter {
    /// Those it was given.
    pub addresses: Vec<Ipv6Addr>,
    /// Whether no others can be claimed.
    pub strict: bool,
}

impl PortFilter {
    /// Says whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.mac && self.ipv4.is_none() && self.ipv6.is_none()
    }
}

/// The filters of one bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    table: String,
}

/// An element: its set's name and its key.
type Owned = (&'static str, Vec<u8>);

impl Ports {
    /// Names the filters of a bridge.
    #[must_use]
    pub fn of(bridge: &str) -> Self {
        Self { table: table_name(bridge) }
    }

    /// The rules, for a bridge with this IPv6 network.
    #[must_use]
    pub fn rules(&self, ipv6: Option<Ipv6Net>) -> Rules {
        let network = ipv6.map(|net| format!(", {}", net.trunc())).unwrap_or_default();
        Rules { family: Family::Bridge, table: self.table.clone(), body: RULES.replace("@IPV6_NETWORK@", &network) }
    }

    /// Opens the table to a NIC's port under its filter. The port need not exist yet.
    ///
    /// # Errors
    /// `ENOENT` if the table is not loaded.
    pub fn add(&self, nftables: &mut Nftables, port: &str, hwaddr: HwAddr, filter: &PortFilter) -> io::Result<()> {
        let all = [address_elements(hwaddr, filter), port_elements(port, hwaddr, filter)].concat();
        nftables.add(Family::Bridge, &self.table, &borrow(&all))
    }

    /// Removes a NIC's port. Its IPv6 addresses stay its own, as a NIC that comes back has another port but the same addresses.
    ///
    /// # Errors
    /// What the kernel reports, but not that the table or an element is gone.
    pub fn remove(&self, nftables: &mut Nftables, port: &str, hwaddr: HwAddr, filter: &PortFilter) -> io::Result<()> {
        nftables.remove(Family::Bridge, &self.table, &borrow(&port_elements(port, hwaddr, filter)))
    }

    /// Gives up the IPv6 addresses of a NIC that does not come back.
    ///
    /// # Errors
    /// As [`Ports::remove`].
    pub fn release(&self, nftables: &mut Nftables, hwaddr: HwAddr, ipv6: &[Ipv6Addr]) -> io::Result<()> {
        nftables.remove(Family::Bridge, &self.table, &borrow(&owned_elements(hwaddr, ipv6)))
    }

    /// Says whether no port is filtered.
    ///
    /// # Errors
    /// `ENOENT` if the table is not loaded.
    pub fn is_unused(&self, nftables: &mut Nftables) -> io::Result<bool> {
        Ok(nftables.elements(Family::Bridge, &self.table, MAC_ON)?.is_empty())
    }

    /// Keeps addresses of the bridge itself from being claimed.
    ///
    /// # Errors
    /// `ENOENT` if the table is not loaded.
    pub fn reserve(&self, nftables: &mut Nftables, addresses: &[Ipv6Addr]) -> io::Result<()> {
        let claimed: Vec<Owned> = addresses.iter().map(|address| (CLAIMED, address.octets().to_vec())).collect();
        nftables.add(Family::Bridge, &self.table, &borrow(&claimed))
    }

    /// Makes the sets hold what the given NICs need and nothing that lasts besides; `reserved` are the bridge's addresses.
    ///
    /// # Errors
    /// `ENOENT` if the table is not loaded.
    pub fn reconcile(&self, nftables: &mut Nftables, ports: &[(&str, HwAddr, &PortFilter)], reserved: &[Ipv6Addr]) -> io::Result<()> {
        let of = |(port, hwaddr, filter): &(&str, HwAddr, &PortFilter)| {
            [address_elements(*hwaddr, filter), port_elements(port, *hwaddr, filter)]
        };
        let mut wanted: Vec<Owned> = ports.iter().flat_map(of).flatten().collect();
        wanted.extend(reserved.iter().map(|address| (CLAIMED, address.octets().to_vec())));
        // What a port may do goes in before the switches that make it count.
        const ORDER: [&str; 8] = [MACS, IPV4, IPV6, CLAIMED, IPV6_STRICT, IPV6_ON, IPV4_ON, MAC_ON];
        wanted.sort_by_key(|(set, _)| ORDER.iter().position(|other| other == set));
        let held: HashSet<&Owned> = wanted.iter().collect();
        for set in ORDER {
            let present = nftables.elements(Family::Bridge, &self.table, set)?;
            let lasting = present.into_iter().filter(|element| !element.expires).map(|element| (set, element.key));
            let stale: Vec<Owned> = lasting.filter(|element| !held.contains(element)).collect();
            nftables.remove(Family::Bridge, &self.table, &borrow(&stale))?;
        }
        nftables.add(Family::Bridge, &self.table, &borrow(&wanted))
    }
}

const MAC_ON: &str = "mac_on";
const IPV4_ON: &str = "ipv4_on";
const IPV6_ON: &str = "ipv6_on";
const IPV6_STRICT: &str = "ipv6_strict";
const MACS: &str = "macs";
const IPV4: &str = "ipv4";
const IPV6: &str = "ipv6";
const CLAIMED: &str = "ipv6_claimed";

/// The elements that go with a NIC's IPv6 addresses, whatever its port.
fn address_elements(hwaddr: HwAddr, filter: &PortFilter) -> Vec<Owned> {
    filter.ipv6.iter().flat_map(|ipv6| owned_elements(hwaddr, &ipv6.addresses)).collect()
}

fn owned_elements(hwaddr: HwAddr, ipv6: &[Ipv6Addr]) -> Vec<Owned> {
    let of = |address: &Ipv6Addr| {
        let own = [&mac_key(hwaddr)[..], &address.octets()].concat();
        [(IPV6, own), (CLAIMED, address.octets().to_vec())]
    };
    ipv6.iter().flat_map(of).collect()
}

/// The elements that go with a port.
fn port_elements(port: &str, hwaddr: HwAddr, filter: &PortFilter) -> Vec<Owned> {
    if filter.is_empty() {
        return Vec::new();
    }
    let name = name_key(port);
    // The switches come last: a port is never judged by a set that is not filled yet.
    let mut all = vec![(MACS, [&name[..], &mac_key(hwaddr)].concat())];
    for address in filter.ipv4.iter().flatten() {
        all.push((IPV4, [&name[..], &address.octets()].concat()));
    }
    if filter.ipv6.as_ref().is_some_and(|ipv6| ipv6.strict) {
        all.push((IPV6_STRICT, name.to_vec()));
    }
    if filter.ipv6.is_some() {
        all.push((IPV6_ON, name.to_vec()));
    }
    if filter.ipv4.is_some() {
        all.push((IPV4_ON, name.to_vec()));
    }
    all.push((MAC_ON, name.to_vec()));
    all
}

fn borrow(elements: &[Owned]) -> Vec<Element<'_>> {
    elements.iter().map(|(set, key)| Element { set, key: key.clone() }).collect()
}

/// An interface's name as nftables holds it: 16 bytes, filled with zeros.
fn name_key(port: &str) -> [u8; 16] {
    let mut key = [0; 16];
    let length = port.len().min(15);
    key[..length].copy_from_slice(&port.as_bytes()[..length]);
    key
}

/// A hardware address as part of a key: padded to eight bytes.
fn mac_key(hwaddr: HwAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = hwaddr.bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// `@nh`, `@th` and `@ll` are bits of the network, transport and link headers: offset, length. They stand where nft has no
/// word that can be looked up in these sets: `@ll,48,48` the frame's sender, `@nh,64,48` ARP's sender, `@nh,64,128` the
/// IPv6 source, `@nh,152,16` the `ff:fe` inside one made from a hardware address, `@th,64,128` a neighbour message's
/// target, `@th,192,16` and `@th,208,48` its first option's kind and hardware address, `@th,288,48` DHCP's client address.
const RULES: &str = "
set mac_on { type ifname; }
set ipv4_on { type ifname; }
set ipv6_on { type ifname; }
set ipv6_strict { type ifname; }
set macs { typeof iifname . @ll,48,48; }
set ipv4 { type ifname . ipv4_addr; }
set ipv6 { typeof ether saddr . @nh,64,128; size 65535; flags dynamic,timeout; }
set ipv6_claimed { typeof @nh,64,128; size 65535; flags dynamic,timeout; }
set ipv6_rate { type ifname; size 16384; flags dynamic,timeout; timeout 1h; }
chain prerouting {
  type filter hook prerouting priority dstnat; policy accept;
  iifname @mac_on jump port
}
chain port {
  iifname . @ll,48,48 != @macs drop
  ether type vmap { arp : goto arp_port, ip : goto ipv4_port, ip6 : goto ipv6_port }
  iifname @ipv4_on drop
  iifname @ipv6_on drop
}
chain arp_port {
  iifname . @nh,64,48 != @macs drop
  iifname @ipv4_on goto arp_own
}
chain arp_own {
  arp htype != 1 drop
  arp ptype != ip drop
  arp hlen != 6 drop
  arp plen != 4 drop
  iifname . arp saddr ip @ipv4 accept
  arp operation request arp saddr ip 0.0.0.0 iifname . arp daddr ip @ipv4 accept
  drop
}
chain ipv4_port {
  udp sport 67 drop
  udp dport 67 iifname . @th,288,48 != @macs drop
  iifname @ipv4_on goto ipv4_own
}
chain ipv4_own {
  iifname . ip saddr @ipv4 accept
  ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept
  drop
}
chain ipv6_port {
  icmpv6 type { nd-router-advert, nd-redirect } drop
  udp sport 547 drop
  iifname @ipv6_on goto ipv6_own
}
chain ipv6_own {
  ip6 saddr :: goto ipv6_nobody
  ether saddr . @nh,64,128 @ipv6 goto neighbour
  iifname @ipv6_strict drop
  @nh,64,128 @ipv6_claimed drop
  ip6 saddr != { fe80::/64@IPV6_NETWORK@ } drop
  @nh,152,16 0xfffe drop
  update @ipv6_rate { iifname limit rate over 30/minute burst 64 packets } drop
  add @ipv6_claimed { @nh,64,128 timeout 4h } add @ipv6 { ether saddr . @nh,64,128 timeout 4h } goto neighbour
  drop
}
chain ipv6_nobody {
  icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } accept
  icmpv6 type nd-neighbor-solicit goto probe
  drop
}
chain probe {
  ether saddr . @th,64,128 @ipv6 accept
  iifname @ipv6_strict drop
  @th,64,128 @ipv6_claimed drop
  accept
}
chain neighbour {
  icmpv6 type nd-neighbor-solicit @th,192,16 0x0101 iifname . @th,208,48 != @macs drop
  icmpv6 type nd-neighbor-advert goto advert
}
chain advert {
  ether saddr . @th,64,128 != @ipv6 drop
  ip6 length 24 accept
  ip6 length 32 @th,192,16 0x0201 iifname . @th,208,48 @macs accept
  drop
}
";
