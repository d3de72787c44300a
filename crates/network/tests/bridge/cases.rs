//! What a network does for those on it and towards the outside, and that nothing of it stays.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use coffer_model::device::{Address, NicParent};
use coffer_network::bridge::{detach_from_bridge, make_link, plan_on_bridge, prepare_on_bridge, remove_link};
use coffer_network::firewall::Firewall;
use coffer_network::links::{Reach, host_link, host_links, host_networks, that_stay};
use coffer_network::{BridgeNetwork, HwAddr, Inspector, LeaseKind, NicPlan, NicRequest};

use crate::frames;
use crate::lab::{Guest, Machine, config, ip, network, nft, occupants, outside, plain_nic, plan};

pub const CASES: &[crate::Case] = &[
    ("a_network_comes_and_goes_without_a_trace", comes_and_goes),
    ("guests_reach_each_other_by_address_and_name", neighbours),
    ("dhcp_gives_the_address_that_was_chosen", dhcp),
    ("translation_leads_outside", translation),
    ("an_isolated_network_keeps_its_packets_and_questions", isolated),
    ("no_ipv6_means_none", no_ipv6),
    ("a_change_takes_effect_under_running_guests", change),
    ("routers_advertise_what_is_routed", advertised),
    ("dhcpv6_gives_the_address_that_was_chosen", dhcp6),
    ("dns_modes", dns_modes),
    ("a_private_directory_is_said", private_directory),
    ("what_was_broken_is_repaired", repair),
    ("a_stale_lease_does_not_keep_an_address", stale_lease),
    ("names_are_one_instances_each", names),
    ("other_bridges_and_none", other_bridges),
    ("links_are_read_from_outside", inspect),
    ("the_host_learns_nothing_from_guests", host_is_deaf),
    ("external_interfaces_become_ports", external),
    ("a_failed_creation_leaves_nothing", failed_creation),
    ("measure", measure),
];

const DUAL: &[(&str, &str)] =
    &[("ipv4.address", "10.9.8.1/24"), ("ipv4.nat", "true"), ("ipv6.address", "fd42:9:8:7::1/64"), ("ipv6.nat", "true")];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

#[track_caller]
fn dnsmasq_pid(network_dir: &std::path::Path) -> String {
    fs::read_to_string(network_dir.join("networks/br0/dnsmasq.pid")).unwrap().trim().to_owned()
}

/// Names of the running dnsmasq processes of this process namespace.
fn dnsmasqs() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let ours = processes.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "dnsmasq"));
    // One that has ended but is still on the list is gone all the same.
    ours.filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())).collect()
}

#[track_caller]
fn nothing_left(dir: &std::path::Path) {
    assert_eq!(nft(&["list", "ruleset"]), "");
    assert_eq!(dnsmasqs(), Vec::<String>::new());
    assert!(!dir.join("networks/br0").exists());
    let links: Vec<_> = host_links().unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(links, ["lo"]);
}

fn comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    assert_eq!(network.create().unwrap(), Vec::<String>::new());
    let state = network.state().unwrap().unwrap();
    assert!(state.up && state.reach == Reach::Broadcast && state.mtu == 1500);
    assert_eq!(state.hwaddr, Some(network.hwaddr()));
    let addresses: Vec<String> = state.addresses.iter().map(|address| format!("{}/{}", address.address, address.prefix)).collect();
    assert!(addresses.contains(&"10.9.8.1/24".to_owned()) && addresses.contains(&"fd42:9:8:7::1/64".to_owned()), "{addresses:?}");
    assert_eq!(state.bridge.unwrap().id, format!("8000.{}", network.hwaddr().to_string().replace(':', "")));
    assert!(host_networks().unwrap().contains(&"10.9.8.0/24".parse().unwrap()));

    // The daemon starts again: everything is found as it is, the same dnsmasq above all.
    let before = dnsmasq_pid(dir.path());
    assert_eq!(network.recover(occupants(&[])).unwrap(), Vec::<String>::new());
    assert_eq!(dnsmasq_pid(dir.path()), before);
    assert_eq!(dnsmasqs().len(), 1);
    assert!(
        fs::read_to_string(format!("/proc/{before}/status"))
            .unwrap()
            .lines()
            .any(|line| line.starts_with("Uid:") && !line.contains("\t0\t"))
    );

    // A second one of that name is refused, and leaves the first alone.
    let other = tempfile::tempdir().unwrap();
    let error = self::network(other.path(), DUAL).create().unwrap_err().to_string();
    assert_eq!(error, "network br0: the host has an interface of that name already; choose another name");
    assert_eq!(dnsmasq_pid(dir.path()), before);

    // One whose record was lost is taken over as it stands.
    assert_eq!(network.create().unwrap(), Vec::<String>::new());
    assert_eq!(dnsmasq_pid(dir.path()), before);

    network.delete().unwrap();
    nothing_left(dir.path());
    network.delete().unwrap();
}

fn neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let (one, two) = (Guest::join(&network, "one"), Guest::join(&network, "two"));
    for address in [IpAddr::V4(two.ipv4()), IpAddr::V6(two.ipv6()), IpAddr::V4(GATEWAY), "fd42:9:8:7::1".parse().unwrap()] {
        assert!(one.machine.reaches(address), "{address}");
    }
    let answer = one.machine.lookup("two.coffer", GATEWAY);
    assert!(answer.contains(&two.ipv4().to_string()) && answer.contains(&two.ipv6().to_string()), "{answer}");
    assert!(one.machine.lookup("two", GATEWAY).contains(&two.ipv4().to_string()));
    assert!(one.machine.lookup(&two.ipv4().to_string(), GATEWAY).contains("name = two.coffer"));
    assert!(one.machine.lookup("_gateway.coffer", GATEWAY).contains("10.9.8.1"));
    assert!(one.machine.lookup("three.coffer", GATEWAY).contains("NXDOMAIN"));

    let leases = network.leases(&[one.plan.reservation.clone(), two.plan.reservation.clone()]).unwrap();
    let gateways = leases.iter().filter(|lease| lease.kind == LeaseKind::Gateway && lease.hostname == "br0.gw").count();
    assert_eq!((leases.len(), gateways), (6, 2));

    let ports = network.state().unwrap().unwrap().bridge.unwrap().upper_devices;
    assert_eq!(ports, ["vethone", "vethtwo"]);
    network.forget(&two.plan.reservation).unwrap();
    assert!(one.machine.lookup("two.coffer", GATEWAY).contains("NXDOMAIN"));
    for guest in [one, two] {
        network.detach(&guest.plan).unwrap();
        remove_link(&guest.plan.host_name).unwrap();
    }
    assert!(!nft(&["list", "ruleset"]).contains("veth"));
    network.delete().unwrap();
    nothing_left(dir.path());
}

fn script(dir: &std::path::Path, text: &str) -> String {
    let path = dir.join("lease.sh");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Asks for a lease as a guest would; returns what the client was told.
fn ask_dhcp(guest: &Guest, dir: &std::path::Path, name: &str) -> String {
    let told = "ip=$ip router=$router dns=$dns domain=$domain mtu=$mtu search=$search";
    let script = script(dir, &format!("#!/bin/sh\n[ \"$1\" = bound ] && echo \"{told}\"\nexit 0\n"));
    let hostname = format!("hostname:{name}");
    let words = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-x", &hostname, "-s", &script];
    guest.machine.must(&words)
}

fn dhcp() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [DUAL, &[("bridge.mtu", "1400"), ("dns.search", "a.example,b.example")]].concat();
    let network = network(dir.path(), &keys);
    network.create().unwrap();
    let nic = plain_nic(&network);
    let guest = Guest::bare(&network, "web", &nic, true);
    let told = ask_dhcp(&guest, dir.path(), "router");
    let expect = format!("ip={} router=10.9.8.1 dns=10.9.8.1 domain=coffer mtu=1400 search=a.example b.example", guest.ipv4());
    assert_eq!(told.trim(), expect);
    // Nobody comes to a name by asking for it.
    let other = Guest::join(&network, "other");
    assert!(other.machine.lookup("router.coffer", GATEWAY).contains("NXDOMAIN"));
    let leases = network.leases(std::slice::from_ref(&guest.plan.reservation)).unwrap();
    assert!(!leases.iter().any(|lease| lease.kind == LeaseKind::Dynamic), "{leases:?}");
    // A guest without a filter that nobody planned for gets some address, seen as a dynamic lease.
    let mut stranger = Guest::bare(&network, "stranger", &nic, false);
    network.forget(&stranger.plan.reservation).unwrap();
    stranger.machine.must(&["ip", "link", "set", "eth0", "address", "00:16:3e:99:99:99"]);
    stranger.plan.hwaddr = "00:16:3e:99:99:99".parse().unwrap();
    ask_dhcp(&stranger, dir.path(), "x");
    let leases = network.leases(std::slice::from_ref(&guest.plan.reservation)).unwrap();
    let dynamic: Vec<_> = leases.iter().filter(|lease| lease.kind == LeaseKind::Dynamic).collect();
    assert_eq!(dynamic.len(), 1);
    assert_eq!((dynamic[0].hwaddr, dynamic[0].hostname.as_str()), (Some(stranger.plan.hwaddr), ""));
}

fn translation() {
    let dir = tempfile::tempdir().unwrap();
    let outside = outside();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let guest = Guest::join(&network, "web");
    assert!(guest.machine.reaches(OUTSIDE), "IPv4");
    assert!(guest.machine.reaches("2001:db8::2".parse::<IpAddr>().unwrap()), "IPv6");
    // Whoever is asked sees the host only.
    assert!(!outside.must(&["ip", "neighbour"]).contains("10.9.8"));
    // Link-local addresses (cloud metadata) are for nobody behind a router.
    outside.must(&["ip", "address", "add", "169.254.169.254/32", "dev", "wan"]);
    ip(&["route", "add", "169.254.169.254", "dev", "uplink"]);
    assert!(!guest.machine.reaches(Ipv4Addr::new(169, 254, 169, 254)));
    // Somebody else's drop is said, not hidden.
    nft(&["add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"]);
    let warnings = network.recover(occupants(std::slice::from_ref(&guest.plan))).unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("ip filter FORWARD")), "{warnings:?}");
}

/// What the outside has counted of packets from the bridge's network.
fn counted(outside: &Machine) -> String {
    let text = outside.must(&["nft", "list", "counter", "inet", "seen", "guests"]);
    text.split_whitespace().skip_while(|word| *word != "packets").nth(1).unwrap().to_owned()
}

fn isolated() {
    let dir = tempfile::tempdir().unwrap();
    let outside = outside();
    assert!(outside.reaches(Ipv4Addr::new(198, 51, 100, 1)));
    // The outside even knows the way back: what keeps packets in is the network, not somebody's missing route.
    outside.must(&["ip", "route", "add", "10.9.8.0/24", "via", "198.51.100.1"]);
    let closed = [("ipv4.address", "10.9.8.1/24"), ("ipv4.nat", "false"), ("ipv6.address", "none"), ("ipv6.nat", "false")];
    let network = network(dir.path(), &closed);
    network.create().unwrap();
    // Another network of the host forwards, so this one's rules alone are what closes it.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let (one, two) = (Guest::join(&network, "one"), Guest::join(&network, "two"));
    assert_eq!(one.plan.gateways, Vec::<IpAddr>::new());
    assert!(one.machine.reaches(two.ipv4()) && one.machine.reaches(GATEWAY));
    one.machine.must(&["ip", "route", "add", "default", "via", "10.9.8.1"]);
    let rules = "table inet seen { counter guests { }; chain guests { type filter hook prerouting priority 0; ip saddr 10.9.8.0/24 counter name guests; }; }";
    outside.must(&["nft", rules]);
    assert!(!one.machine.reaches(OUTSIDE));
    assert!(!outside.reaches(one.ipv4()));
    let answer = one.machine.lookup("example.org", GATEWAY);
    assert!(answer.contains("REFUSED"), "{answer}");
    assert!(one.machine.lookup("two.coffer", GATEWAY).contains(&two.ipv4().to_string()));
    assert_eq!(counted(&outside), "0");
    // Routing in so many words opens it, without translation.
    let opened = [&closed[..], &[("ipv4.routing", "true")]].concat();
    let plans = [one.plan.clone(), two.plan.clone()];
    network.update(config(&opened), "seed", occupants(&plans)).unwrap();
    assert!(one.machine.reaches(OUTSIDE));
    assert!(outside.reaches(one.ipv4()));
    assert_ne!(counted(&outside), "0");
}

fn no_ipv6() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), &[("ipv4.address", "10.9.8.1/24"), ("ipv6.address", "none")]);
    network.create().unwrap();
    let guest = Guest::join(&network, "web");
    assert!(guest.machine.reaches(GATEWAY));
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv6/conf/br0/disable_ipv6").unwrap().trim(), "1");
    assert_eq!(ip(&["-6", "address", "show", "dev", "br0"]), "");
    assert_eq!(ip(&["-6", "address", "show", "dev", "vethweb"]), "");
    assert!(guest.plan.reservation.ipv6.is_none());
}

fn change() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let guest = Guest::join(&network, "web");
    let pid = dnsmasq_pid(dir.path());
    let plans = [guest.plan.clone()];
    // Nothing of DHCP's or DNS's changes: the same dnsmasq goes on.
    let no_nat = [DUAL, &[("ipv4.nat", "true"), ("ipv4.routes", "10.50.0.0/24")]].concat();
    let (network, _) = network.update(config(&no_nat), "seed", occupants(&plans)).unwrap();
    assert_eq!(dnsmasq_pid(dir.path()), pid);
    assert!(ip(&["route"]).contains("10.50.0.0/24 dev br0"));
    assert!(nft(&["list", "set", "bridge", "coffer_br0", "mac_on"]).contains("vethweb"), "elements stay");
    // New addresses, no IPv6.
    let moved = [("ipv4.address", "10.7.7.1/24"), ("ipv6.address", "none"), ("bridge.mtu", "1300"), ("bridge.hwaddr", "00:16:3e:01:02:03")];
    let (network, _) = network.update(config(&moved), "seed", occupants(&plans)).unwrap();
    let state = network.state().unwrap().unwrap();
    let addresses: Vec<String> = state.addresses.iter().map(|address| address.address.to_string()).collect();
    assert_eq!((addresses, state.mtu, state.hwaddr.unwrap().to_string()), (vec!["10.7.7.1".into()], 1300, "00:16:3e:01:02:03".into()));
    assert_ne!(dnsmasq_pid(dir.path()), pid);
    assert_eq!(dnsmasqs().len(), 1);
    assert!(!ip(&["route"]).contains("10.50.0.0/24"));
    // A change that is refused half-way is taken back.
    let bad = [("ipv4.address", "10.6.6.1/24"), ("bridge.external_interfaces", "nosuch0")];
    let error = network.update(config(&bad), "seed", occupants(&plans)).unwrap_err().to_string();
    assert_eq!(error, "interface nosuch0 does not exist");
    assert!(ip(&["address", "show", "dev", "br0"]).contains("10.7.7.1/24"));
}

/// Switches a guest's interface off and on, and waits for the router's advertisement with the network's prefix.
fn until_advertised(guest: &Guest) {
    guest.machine.must(&["ip", "link", "set", "eth0", "down"]);
    let up = || drop(guest.machine.must(&["ip", "link", "set", "eth0", "up"]));
    frames::seen(&guest.machine, "eth0", &[3, 4, 64], up);
}

fn advertised() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let nic = plain_nic(&network);
    let guest = Guest::bare(&network, "web", &nic, true);
    // The guest makes itself just the address that we count on.
    until_advertised(&guest);
    assert!(guest.machine.must(&["ip", "-6", "address"]).contains(&guest.ipv6().to_string()));
    assert!(guest.machine.must(&["ip", "-6", "route"]).contains("default via fe80::"));
    assert!(guest.machine.reaches("fd42:9:8:7::1".parse::<IpAddr>().unwrap()));
    // A network without a way out offers none.
    let closed = [DUAL, &[("ipv4.nat", "false"), ("ipv6.nat", "false")]].concat();
    let closed: Vec<_> = closed.into_iter().filter(|pair| *pair != ("ipv6.nat", "true") && *pair != ("ipv4.nat", "true")).collect();
    let (network, _) = network.update(config(&closed), "seed", occupants(std::slice::from_ref(&guest.plan))).unwrap();
    let other = Guest::bare(&network, "other", &nic, true);
    until_advertised(&other);
    assert!(other.machine.must(&["ip", "-6", "address"]).contains(&other.ipv6().to_string()));
    assert!(!other.machine.must(&["ip", "-6", "route"]).contains("default"));
}

fn dhcp6() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [DUAL, &[("ipv6.dhcp.stateful", "true")]].concat();
    let network = network(dir.path(), &keys);
    network.create().unwrap();
    let guest = Guest::bare(&network, "web", &plain_nic(&network), true);
    let local = guest.plan.hwaddr.link_local();
    guest.machine.must(&["ip", "address", "replace", &format!("{local}/64"), "dev", "eth0", "nodad"]);
    // A solicitation that asks for one address (IA_NA), quickly: identity, rapid commit, the association.
    let mac = guest.plan.hwaddr.bytes();
    let identity = [&[0, 1, 0, 10, 0, 3, 0, 1][..], &mac].concat();
    let wish = [&[1, 0xab, 0xcd, 0xef][..], &identity, &[0, 14, 0, 0], &[0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let servers = "ff02::1:2".parse().unwrap();
    let wish = frames::ipv6_udp((local, 546), (servers, 547), &wish);
    let wish = frames::frame_to([0x33, 0x33, 0, 1, 0, 2], mac, 0x86dd, &wish);
    let given = [&[0, 5, 0, 24][..], &guest.ipv6().octets()].concat();
    frames::seen(&guest.machine, "eth0", &given, || frames::send_from(&guest.machine, "eth0", std::slice::from_ref(&wish)));
}

fn dns_modes() {
    let dir = tempfile::tempdir().unwrap();
    let dynamic = network(dir.path(), &[DUAL, &[("dns.mode", "dynamic"), ("dns.domain", "lab.example")]].concat());
    dynamic.create().unwrap();
    let nic = plain_nic(&dynamic);
    let (one, two) = (Guest::bare(&dynamic, "one", &nic, false), Guest::join(&dynamic, "two"));
    // A machine that we know nothing of may have the name it asks for.
    dynamic.forget(&one.plan.reservation).unwrap();
    let told = ask_dhcp(&one, dir.path(), "chosen");
    assert!(told.contains("domain=lab.example"), "{told}");
    let address = told.split(['=', ' ']).nth(1).unwrap();
    assert!(two.machine.lookup("chosen.lab.example", GATEWAY).contains(address));
    // A name that is an instance's stays its own.
    ask_dhcp(&one, dir.path(), "two");
    let answer = two.machine.lookup("two.lab.example", GATEWAY);
    assert!(answer.contains(&two.ipv4().to_string()) && !answer.contains(address), "{answer}");
    let plans = [one.plan.clone(), two.plan.clone()];
    let none = [DUAL, &[("dns.mode", "none"), ("raw.dnsmasq", "no-resolv\nhost-record=printer.lan,10.9.8.200")]].concat();
    dynamic.update(config(&none), "seed", occupants(&plans)).unwrap();
    assert!(!two.machine.lookup("two.coffer", GATEWAY).contains(&two.ipv4().to_string()));
    assert!(two.machine.lookup("printer.lan", GATEWAY).contains("10.9.8.200"));
}

fn private_directory() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let warnings = network.create().unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("runs as root")), "{warnings:?}");
    let (one, two) = (Guest::join(&network, "one"), Guest::join(&network, "two"));
    assert!(one.machine.lookup("two.coffer", GATEWAY).contains(&two.ipv4().to_string()));
}

fn repair() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let (one, two) = (Guest::join(&network, "one"), Guest::join(&network, "two"));
    let plans = [one.plan.clone(), two.plan.clone()];
    ip(&["address", "flush", "dev", "br0"]);
    ip(&["link", "set", "vethone", "nomaster"]);
    nft(&["flush", "ruleset"]);
    let pid: i32 = dnsmasq_pid(dir.path()).parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    fs::remove_dir_all(dir.path().join("networks/br0/dnsmasq.names")).unwrap();
    network.recover(occupants(&plans)).unwrap();
    assert!(one.machine.reaches(two.ipv4()) && one.machine.reaches(GATEWAY));
    assert!(one.machine.lookup("two.coffer", GATEWAY).contains(&two.ipv4().to_string()));
    for set in ["mac_on", "ipv4_on", "ipv6_on", "ipv4"] {
        let text = nft(&["list", "set", "bridge", "coffer_br0", set]);
        assert!(text.contains("vethone") && text.contains("vethtwo"), "{text}");
    }
    // A guest that went while nobody looked is forgotten.
    network.recover(occupants(&plans[..1])).unwrap();
    assert!(!nft(&["list", "table", "bridge", "coffer_br0"]).contains("vethtwo"));
    assert!(!nft(&["list", "table", "bridge", "coffer_br0"]).contains(&two.ipv6().to_string()));
    assert!(one.machine.lookup("two.coffer", GATEWAY).contains("NXDOMAIN"));
    // After a reboot there is nothing but the files.
    ip(&["link", "delete", "br0"]);
    nft(&["flush", "ruleset"]);
    network.recover(occupants(&plans)).unwrap();
    assert!(one.machine.reaches(two.ipv4()), "ports are put on the new bridge");
}

fn stale_lease() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let mut nic = plain_nic(&network);
    nic.ipv4 = Address::Fixed(Ipv4Addr::new(10, 9, 8, 77));
    let old = Guest::bare(&network, "old", &nic, true);
    assert_eq!(ask_dhcp(&old, dir.path(), "x").split(" ").next(), Some("ip=10.9.8.77"));
    let pid = dnsmasq_pid(dir.path());
    network.detach(&old.plan).unwrap();
    network.forget(&old.plan.reservation).unwrap();
    drop(old);
    let new = Guest::bare(&network, "new", &nic, true);
    assert_eq!(ask_dhcp(&new, dir.path(), "x").split(" ").next(), Some("ip=10.9.8.77"));
    assert_eq!(dnsmasq_pid(dir.path()), pid, "nothing had to be restarted");
    // The choice avoids what dnsmasq has given away.
    let used = (2..=254).map(|last| Ipv4Addr::new(10, 9, 8, last)).filter(|address| address.octets()[3] != 77).collect();
    let error = network.choose_ipv4(HwAddr::from_seed("third"), &used).unwrap_err().to_string();
    assert_eq!(error, "network br0 has no free IPv4 address; delete instances or widen ipv4.dhcp.ranges");
    // A NIC that moves to another address gets that one.
    let mut moved = new.plan.clone();
    moved.reservation.ipv4 = Some(Ipv4Addr::new(10, 9, 8, 78));
    moved.filter.ipv4 = Some(vec![Ipv4Addr::new(10, 9, 8, 78)]);
    network.detach(&new.plan).unwrap();
    remove_link(&new.plan.host_name).unwrap();
    network.attach(&moved, new.machine.inside()).unwrap();
    new.machine.must(&["ip", "link", "set", "eth0", "up"]);
    assert_eq!(ask_dhcp(&new, dir.path(), "x").split(" ").next(), Some("ip=10.9.8.78"));
}

fn names() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let nic = plain_nic(&network);
    let web = Guest::join(&network, "web");
    let mut other = plan(&network, "other", &nic, true);
    other.reservation.name = "WEB".parse().unwrap();
    let error = network.attach(&other, web.machine.inside()).unwrap_err().to_string();
    assert_eq!(error, "network br0: the name WEB is another instance's (web); names on a network do not tell upper from lower case");
    assert!(host_link("vethother").unwrap().is_none());
    // The host's own name for itself is nobody's.
    let sly = Guest::join(&network, "localhost");
    assert!(!web.machine.lookup("localhost.coffer", GATEWAY).contains(&sly.ipv4().to_string()));
}

fn other_bridges() {
    ip(&["link", "add", "other0", "type", "bridge"]);
    ip(&["link", "set", "other0", "up"]);
    let dir = tempfile::tempdir().unwrap();
    let any = network(dir.path(), DUAL);
    let mut nic = plain_nic(&any);
    nic.on = NicParent::Bridge("other0".parse().unwrap());
    let request = NicRequest {
        project: &coffer_model::ProjectName::default_project(),
        instance: &"web".parse().unwrap(),
        device: &"eth0".parse().unwrap(),
        nic: &nic,
        hwaddr: HwAddr::from_seed("web"),
        host_name: &"vethweb".parse().unwrap(),
        ipv4: None,
        filtering: true,
    };
    let plan = plan_on_bridge(&request);
    let container = Machine::new();
    let firewall = Firewall::default();
    prepare_on_bridge(&firewall, &plan).unwrap();
    make_link(&plan, container.inside()).unwrap();
    assert!(ip(&["link", "show", "vethweb"]).contains("master other0"));
    assert!(nft(&["list", "table", "bridge", "coffer_other0"]).contains("vethweb"));
    drop(container);
    detach_from_bridge(&firewall, &plan).unwrap();
    assert_eq!(nft(&["list", "ruleset"]), "");
    // Alone: both ends are there and nothing else.
    let container = Machine::new();
    let free = NicPlan { host_name: "vethfree".parse().unwrap(), bridge: None, ..plan };
    prepare_on_bridge(&firewall, &free).unwrap();
    make_link(&free, container.inside()).unwrap();
    assert!(!ip(&["link", "show", "vethfree"]).contains("master"));
    container.must(&["ip", "link", "show", "eth0"]);
    assert_eq!(nft(&["list", "ruleset"]), "");
}

fn inspect() {
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let guest = Guest::join(&network, "web");
    assert!(guest.machine.reaches(GATEWAY));
    let mut inspector = Inspector::default();
    let links = inspector.links_in(guest.machine.fd()).unwrap();
    assert_eq!(links.len(), 2);
    let lo = links.iter().find(|link| link.name == "lo").unwrap();
    assert_eq!((lo.reach, lo.host_name.as_ref()), (Reach::Loopback, None));
    assert!(lo.addresses.iter().any(|address| address.address == IpAddr::V4(Ipv4Addr::LOCALHOST) && address.scope_word() == "local"));
    let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
    assert_eq!(eth0.host_name.as_deref(), Some("vethweb"));
    assert_eq!(eth0.hwaddr, Some(guest.plan.hwaddr));
    assert!(eth0.up && eth0.mtu == 1500 && eth0.counters.packets_sent > 0);
    let addresses: Vec<IpAddr> = eth0.addresses.iter().map(|address| address.address).collect();
    assert!(addresses.contains(&IpAddr::V4(guest.ipv4())) && addresses.contains(&IpAddr::V6(guest.ipv6())), "{addresses:?}");
    let file = fs::File::open("/proc/self/status").unwrap();
    assert!(inspector.links_in(file.as_fd()).is_err());
    // The host's end goes with the namespace that nobody is in any more, a while later.
    let link = || vec!["vethweb".to_owned()];
    assert_eq!(that_stay(link(), Duration::from_millis(50)).unwrap(), link());
    drop(guest);
    assert!(that_stay(link(), Duration::from_secs(10)).unwrap().is_empty());
}

fn host_is_deaf() {
    let outside = outside();
    fs::write("/proc/sys/net/ipv6/conf/uplink/accept_ra", "1").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let network = network(dir.path(), DUAL);
    network.create().unwrap();
    let read = |path: &str| fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{path}")).unwrap().trim().to_owned();
    assert_eq!((read("br0/accept_ra"), read("br0/autoconf"), read("all/forwarding")), ("0".into(), "0".into(), "1".into()));
    assert_eq!(read("uplink/accept_ra"), "2", "the host goes on learning its own way out");
    drop(outside);
}

fn external() {
    let dir = tempfile::tempdir().unwrap();
    let outside = outside();
    let keys = [DUAL, &[("bridge.external_interfaces", "uplink")]].concat();
    let network = network(dir.path(), &keys);
    let error = network.create().unwrap_err().to_string();
    assert_eq!(error, "network br0: interface uplink has addresses and cannot become a port; remove them first");
    ip(&["address", "flush", "dev", "uplink"]);
    network.create().unwrap();
    outside.must(&["ip", "address", "add", "10.9.8.200/24", "dev", "wan"]);
    let guest = Guest::join(&network, "web");
    assert!(guest.machine.reaches(Ipv4Addr::new(10, 9, 8, 200)));
    network.update(config(DUAL), "seed", occupants(&[guest.plan])).unwrap();
    assert!(!ip(&["link", "show", "uplink"]).contains("master"));
}

fn failed_creation() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [DUAL, &[("bridge.external_interfaces", "nosuch0")]].concat();
    let network = network(dir.path(), &keys);
    assert_eq!(network.create().unwrap_err().to_string(), "interface nosuch0 does not exist");
    nothing_left(dir.path());
    // What dnsmasq refuses stops the creation there, with its reason.
    let keys = [DUAL, &[("raw.dnsmasq", "dhcp-option=nonsense:")]].concat();
    let network = crate::lab::network(dir.path(), &keys);
    let error = coffer_base::chain(&network.create().unwrap_err());
    assert!(error.contains("starting dnsmasq") && error.contains("bad dhcp-option at line 1"), "{error}");
    nothing_left(dir.path());
}

/// Medians in microseconds; run by name.
fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let network: BridgeNetwork = network(dir.path(), DUAL);
    let start = Instant::now();
    network.create().unwrap();
    println!("create: {} us", start.elapsed().as_micros());
    let start = Instant::now();
    network.recover(occupants(&[])).unwrap();
    println!("recover, all well: {} us", start.elapsed().as_micros());
    let machines: Vec<Machine> = (0..100).map(|_| Machine::new()).collect();
    let nic = plain_nic(&network);
    let plans: Vec<NicPlan> = (0..100).map(|number| plan(&network, &format!("c{number}"), &nic, true)).collect();
    let median = |mut times: Vec<u128>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_micros()
    };
    let prepare = plans.iter().map(|plan| time(&mut || network.prepare(plan).unwrap())).collect();
    println!("prepare, first time: {} us", median(prepare));
    let prepare = plans.iter().map(|plan| time(&mut || network.prepare(plan).unwrap())).collect();
    println!("prepare, known: {} us", median(prepare));
    let link = plans.iter().zip(&machines).map(|(plan, machine)| time(&mut || make_link(plan, machine.inside()).unwrap())).collect();
    println!("make_link: {} us", median(link));
    let mut inspector = Inspector::default();
    for round in ["first", "again"] {
        let times = machines.iter().map(|machine| time(&mut || drop(inspector.links_in(machine.fd()).unwrap()))).collect();
        println!("links_in, {round}: {} us", median(times));
    }
    let start = Instant::now();
    network.recover(occupants(&plans)).unwrap();
    println!("recover, 100 running: {} us", start.elapsed().as_micros());
    let detach = plans.iter().map(|plan| time(&mut || network.detach(plan).unwrap())).collect();
    println!("detach: {} us", median(detach));
    let remove = plans[..20].iter().map(|plan| time(&mut || remove_link(&plan.host_name).unwrap())).collect();
    println!("remove_link: {} us", median(remove));
}
