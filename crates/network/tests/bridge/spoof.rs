//! A guest that lies: who it is, which addresses it has, what it does for others. Every rule is shown by frames that do or do
//! not come through, and by the same frames coming through where filtering is off.

use std::net::{Ipv4Addr, Ipv6Addr};

use coffer_network::HwAddr;

use crate::frames::{Mac, arp, came, exchange, frame, frame_to, icmp6, ipv6, udp4};
use crate::lab::{Guest, network, plain_nic};

pub const CASES: &[crate::Case] = &[
    ("a_lying_guest_is_not_heard", lies_are_dropped),
    ("the_same_lies_are_heard_without_filters", lies_pass_unfiltered),
    ("an_address_of_nobody_is_the_first_ones", first_come),
    ("strict_ipv6_filtering_knows_given_addresses_only", strict),
    ("a_guest_without_addresses_may_use_none", none),
    ("a_false_sender_is_not_learned", not_learned),
];

const DUAL: &[(&str, &str)] = &[("ipv4.address", "10.9.8.1/24"), ("ipv6.address", "fd42:9:8:7::1/64")];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd42, 9, 8, 7, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const FALSE_MAC: Mac = [0x00, 0x16, 0x3e, 0xba, 0xdb, 0xad];
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A guest's own facts and its victim's.
struct Facts {
    mac: Mac,
    ip: Ipv4Addr,
    ip6: Ipv6Addr,
    local6: Ipv6Addr,
    victim_mac: Mac,
    victim_ip: Ipv4Addr,
    victim_ip6: Ipv6Addr,
}

impl Facts {
    fn of(liar: &Guest, victim: &Guest) -> Self {
        Self {
            mac: liar.plan.hwaddr.bytes(),
            ip: liar.ipv4(),
            ip6: liar.ipv6(),
            local6: liar.plan.hwaddr.link_local(),
            victim_mac: victim.plan.hwaddr.bytes(),
            victim_ip: victim.ipv4(),
            victim_ip6: victim.ipv6(),
        }
    }

    /// A frame that is true: it shows that what was sent before it has been decided on.
    fn truth(&self) -> Vec<u8> {
        frame(self.mac, IPV4, &udp4((self.ip, 9), (Ipv4Addr::new(10, 9, 8, 255), 9), b"this is the end"))
    }
}

/// A neighbour message: kind, flags, target, and the option that tells a hardware address.
fn neighbour(from: Ipv6Addr, to: Ipv6Addr, kind: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let flags = if kind == 136 { [0x20, 0, 0, 0] } else { [0; 4] };
    let option = option.map(|(kind, mac)| [&[kind, 1][..], &mac].concat()).unwrap_or_default();
    icmp6(from, to, kind, &[&flags[..], &target.octets(), &option].concat())
}

/// A DHCP request for `client`.
fn discover(client: Mac) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0];
    message.resize(28, 0);
    message.extend(client);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    message
}

/// Everything that a guest must not say, by name.
fn lies(facts: &Facts) -> Vec<(&'static str, Vec<u8>)> {
    let f = facts;
    let anybody = Ipv4Addr::UNSPECIFIED;
    let broadcast = Ipv4Addr::BROADCAST;
    let udp = |from: Ipv4Addr| udp4((from, 7), (broadcast, 7), b"x");
    let mut advert = vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    advert.extend([1, 1]);
    advert.extend(f.mac);
    let dhcp6 = [&547u16.to_be_bytes()[..], &546u16.to_be_bytes(), &12u16.to_be_bytes(), &[0; 6]].concat();
    let eth = |mac: Mac, protocol: u16, payload: Vec<u8>| frame(mac, protocol, &payload);
    let router_header = [58, 0, 1, 4, 0, 0, 0, 0];
    let hidden = icmp6(f.local6, ALL_NODES, 134, &advert)[40..].to_vec();
    vec![
        ("mac-spoof", eth(FALSE_MAC, IPV4, udp(f.ip))),
        ("mac-victim", eth(f.victim_mac, IPV4, udp(f.victim_ip))),
        ("ip-spoof", eth(f.mac, IPV4, udp(f.victim_ip))),
        ("ip-gateway", eth(f.mac, IPV4, udp(GATEWAY))),
        ("ip-nobody", eth(f.mac, IPV4, udp(Ipv4Addr::new(10, 9, 8, 250)))),
        ("ip-zero", eth(f.mac, IPV4, udp(anybody))),
        ("arp-gateway", eth(f.mac, ARP, arp(2, (f.mac, GATEWAY), (f.victim_mac, f.victim_ip)))),
        ("arp-gratuitous", eth(f.mac, ARP, arp(1, (f.mac, GATEWAY), ([0; 6], GATEWAY)))),
        ("arp-other-mac", eth(f.mac, ARP, arp(2, (FALSE_MAC, f.ip), (f.victim_mac, f.victim_ip)))),
        ("arp-probe-victim", eth(f.mac, ARP, arp(1, (f.mac, anybody), ([0; 6], f.victim_ip)))),
        ("arp-zero-reply", eth(f.mac, ARP, arp(2, (f.mac, anybody), ([0; 6], f.ip)))),
        ("dhcp-server", eth(f.mac, IPV4, udp4((f.ip, 67), (broadcast, 68), b"offer"))),
        ("dhcp-other-client", eth(f.mac, IPV4, udp4((anybody, 68), (broadcast, 67), &discover(FALSE_MAC)))),
        ("dhcp-other-unicast", eth(f.mac, IPV4, udp4((f.ip, 68), (broadcast, 67), &discover(FALSE_MAC)))),
        ("ra", eth(f.mac, IPV6, icmp6(f.local6, ALL_NODES, 134, &advert))),
        ("ra-extension-header", eth(f.mac, IPV6, ipv6(0, f.local6, ALL_NODES, &[&router_header[..], &hidden].concat()))),
        ("redirect", eth(f.mac, IPV6, icmp6(f.local6, f.victim_ip6, 137, &[0; 36]))),
        ("dhcp6-server", eth(f.mac, IPV6, ipv6(17, f.local6, ALL_NODES, &dhcp6))),
        ("na-gateway", eth(f.mac, IPV6, neighbour(f.ip6, ALL_NODES, 136, GATEWAY6, Some((2, f.mac))))),
        ("na-victim", eth(f.mac, IPV6, neighbour(f.local6, ALL_NODES, 136, f.victim_ip6, Some((2, f.mac))))),
        ("na-from-victim", eth(f.mac, IPV6, neighbour(f.victim_ip6, ALL_NODES, 136, f.victim_ip6, Some((2, f.mac))))),
        ("na-other-mac", eth(f.mac, IPV6, neighbour(f.ip6, ALL_NODES, 136, f.ip6, Some((2, FALSE_MAC))))),
        ("ns-other-mac", eth(f.mac, IPV6, neighbour(f.ip6, ALL_NODES, 135, f.victim_ip6, Some((1, FALSE_MAC))))),
        ("dad-victim", eth(f.mac, IPV6, neighbour(Ipv6Addr::UNSPECIFIED, ALL_NODES, 135, f.victim_ip6, None))),
        ("ip6-victim", eth(f.mac, IPV6, ipv6(17, f.victim_ip6, ALL_NODES, &[0; 8]))),
        ("ip6-gateway", eth(f.mac, IPV6, ipv6(17, GATEWAY6, ALL_NODES, &[0; 8]))),
        ("ip6-foreign", eth(f.mac, IPV6, ipv6(17, "2001:db8::5".parse().unwrap(), ALL_NODES, &[0; 8]))),
        ("ip6-other-eui", eth(f.mac, IPV6, ipv6(17, HwAddr::from_seed("unborn").eui64(GATEWAY6), ALL_NODES, &[0; 8]))),
        ("ip6-zero", eth(f.mac, IPV6, ipv6(17, Ipv6Addr::UNSPECIFIED, ALL_NODES, &[0; 8]))),
        ("vlan", eth(f.mac, 0x8100, [&[0, 5, 8, 0][..], &udp4((f.victim_ip, 8), (broadcast, 8), b"x")].concat())),
        ("unknown-protocol", eth(f.mac, 0x88b5, vec![1, 2, 3])),
    ]
}

/// The names of those lies that the victim heard.
fn heard(liar: &Guest, victim: &Guest, facts: &Facts) -> Vec<&'static str> {
    let lies = lies(facts);
    let frames: Vec<Vec<u8>> = lies.iter().map(|(_, lie)| lie.clone()).collect();
    let received = exchange(&liar.machine, &victim.machine, "eth0", &frames, facts.truth());
    // A VLAN's mark is taken off before a frame is handed out.
    let seen = |name: &str, lie: &[u8]| came(&received, lie) || (name == "vlan" && came(&received, &[&lie[..12], &lie[16..]].concat()));
    lies.iter().filter(|(name, lie)| seen(name, lie)).map(|(name, _)| *name).collect()
}

fn lies_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let (liar, victim) = (Guest::join(&network, "liar"), Guest::join(&network, "victim"));
    let facts = Facts::of(&liar, &victim);
    assert_eq!(heard(&liar, &victim, &facts), Vec::<&str>::new());
    // What it truly is comes through all the same.
    let f = &facts;
    let truths = [
        frame(f.mac, ARP, &arp(1, (f.mac, f.ip), ([0; 6], f.victim_ip))),
        frame(f.mac, ARP, &arp(1, (f.mac, Ipv4Addr::UNSPECIFIED), ([0; 6], f.ip))),
        frame(f.mac, IPV4, &udp4((Ipv4Addr::UNSPECIFIED, 68), (Ipv4Addr::BROADCAST, 67), &discover(f.mac))),
        frame(f.mac, IPV6, &neighbour(f.ip6, ALL_NODES, 136, f.ip6, Some((2, f.mac)))),
        frame(f.mac, IPV6, &neighbour(f.ip6, ALL_NODES, 135, f.victim_ip6, Some((1, f.mac)))),
        frame(f.mac, IPV6, &neighbour(Ipv6Addr::UNSPECIFIED, ALL_NODES, 135, f.ip6, None)),
        frame(f.mac, IPV6, &icmp6(f.local6, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), 133, &[0; 4])),
    ];
    let received = exchange(&liar.machine, &victim.machine, "eth0", &truths, f.truth());
    for (number, truth) in truths.iter().enumerate() {
        assert!(came(&received, truth), "truth {number} was dropped");
    }
}

fn lies_pass_unfiltered() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let nic = plain_nic(&network);
    let liar = Guest::with(&network, "liar", &nic, false);
    let victim = Guest::with(&network, "victim", &nic, false);
    let facts = Facts::of(&liar, &victim);
    let heard = heard(&liar, &victim, &facts);
    for (name, _) in lies(&facts) {
        assert!(heard.contains(&name), "{name} should have come through without filters");
    }
}

fn not_learned() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let (liar, victim) = (Guest::join(&network, "liar"), Guest::join(&network, "victim"));
    let facts = Facts::of(&liar, &victim);
    heard(&liar, &victim, &facts);
    // A frame to the address of spanning tree frames, which takes another way through the bridge.
    let control = frame_to([1, 0x80, 0xc2, 0, 0, 0x0e], FALSE_MAC, 0x88cc, &[0; 50]);
    exchange(&liar.machine, &victim.machine, "eth0", &[control], facts.truth());
    let table = crate::lab::check_output(std::process::Command::new("bridge").args(["fdb", "show", "br", "br0"]).output().unwrap());
    assert!(!table.contains("00:16:3e:ba:db:ad"), "{table}");
    let port_of = |mac: Mac| {
        let mac = HwAddr::new(mac).unwrap().to_string();
        table.lines().find(|line| line.starts_with(&mac)).map(|line| line.split(' ').nth(2).unwrap_or_default().to_owned())
    };
    assert_eq!(port_of(facts.mac).as_deref(), Some("vethliar"), "{table}");
    assert_ne!(port_of(facts.victim_mac).as_deref(), Some("vethliar"), "{table}");
}

fn first_come() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let (one, two) = (Guest::join(&network, "one"), Guest::join(&network, "two"));
    let (first, second) = (Facts::of(&one, &two), Facts::of(&two, &one));
    let temporary: Ipv6Addr = "fd42:9:8:7:1234:5678:9abc:def0".parse().unwrap();
    let say = |facts: &Facts| frame(facts.mac, IPV6, &ipv6(17, temporary, ALL_NODES, &[0; 8]));
    let probe = |facts: &Facts| frame(facts.mac, IPV6, &neighbour(Ipv6Addr::UNSPECIFIED, ALL_NODES, 135, temporary, None));
    let frames = [probe(&first), say(&first)];
    let received = exchange(&one.machine, &two.machine, "eth0", &frames, first.truth());
    assert!(frames.iter().all(|frame| came(&received, frame)), "{received:?}");
    let frames = [probe(&second), say(&second)];
    let received = exchange(&two.machine, &one.machine, "eth0", &frames, second.truth());
    assert!(!frames.iter().any(|frame| came(&received, frame)), "{received:?}");
    // The first may go on, and answer for it.
    let frames = [say(&first), frame(first.mac, IPV6, &neighbour(temporary, ALL_NODES, 136, temporary, Some((2, first.mac))))];
    let received = exchange(&one.machine, &two.machine, "eth0", &frames, first.truth());
    assert!(frames.iter().all(|frame| came(&received, frame)), "{received:?}");
    // Nobody takes them all: after a few dozen the rest must wait.
    let many: Vec<_> = (0..200u128)
        .map(|number| Ipv6Addr::from(u128::from(temporary) + 1 + number))
        .map(|address| frame(second.mac, IPV6, &ipv6(17, address, ALL_NODES, &[0; 8])))
        .collect();
    let received = exchange(&two.machine, &one.machine, "eth0", &many, second.truth());
    let through = many.iter().filter(|frame| came(&received, frame)).count();
    assert!((32..=80).contains(&through), "{through} of 200 were claimed");
}

fn strict() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let mut nic = plain_nic(&network);
    nic.ipv6_filtering = Some(true);
    let (one, two) = (Guest::with(&network, "one", &nic, false), Guest::join(&network, "two"));
    let facts = Facts::of(&one, &two);
    let temporary: Ipv6Addr = "fd42:9:8:7:1234:5678:9abc:def0".parse().unwrap();
    let frames = [
        frame(facts.mac, IPV6, &ipv6(17, temporary, ALL_NODES, &[0; 8])),
        frame(FALSE_MAC, IPV6, &ipv6(17, facts.ip6, ALL_NODES, &[0; 8])),
        frame(facts.mac, IPV6, &ipv6(17, facts.ip6, ALL_NODES, &[0; 8])),
    ];
    let received = exchange(&one.machine, &two.machine, "eth0", &frames, facts.truth());
    assert_eq!(frames.map(|frame| came(&received, &frame)), [false, false, true]);
}

fn none() {
    use coffer_model::device::Address;
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let mut nic = plain_nic(&network);
    nic.ipv4 = Address::None;
    let (one, two) = (Guest::with(&network, "one", &nic, true), Guest::join(&network, "two"));
    one.machine.must(&["ip", "address", "add", "10.9.8.99/24", "dev", "eth0"]);
    assert!(!one.machine.reaches(two.ipv4()));
    assert!(one.machine.reaches(two.ipv6()));
}
