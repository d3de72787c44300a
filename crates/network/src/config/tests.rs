use super::*;

fn config(keys: &[(&str, &str)]) -> Config {
    keys.iter().copied().collect()
}

#[track_caller]
fn refused(keys: &[(&str, &str)], expect: &str) {
    let error = BridgeConfig::parse(&config(keys)).unwrap_err().to_string();
    assert!(error.contains(expect), "{error}");
}

#[track_caller]
fn parsed(keys: &[(&str, &str)]) -> BridgeConfig {
    BridgeConfig::parse(&config(keys)).unwrap()
}

#[test]
fn defaults_are_those_of_lxd() {
    let config = parsed(&[("ipv4.address", "10.77.0.1/24"), ("ipv6.address", "none"), ("user.a", "b")]);
    let v4 = config.ipv4.unwrap();
    assert!(!v4.outside.nat && v4.outside.routed && v4.outside.firewall);
    let dhcp = v4.dhcp.unwrap();
    assert_eq!(dhcp.ranges, [Ipv4Addr::new(10, 77, 0, 1)..=Ipv4Addr::new(10, 77, 0, 254)]);
    assert_eq!(dhcp.gateway, Some(Ipv4Addr::new(10, 77, 0, 1)));
    assert_eq!(dhcp.expiry.to_string(), "1h");
    assert_eq!(config.ipv6, None);
    assert_eq!(config.dns.domain.as_str(), "coffer");
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    refused(&[("ipv4.adress", "none")], "did you mean \"ipv4.address\"");
    for key in ["bgp.peers.a.address", "tunnel.a.protocol", "fan.type", "maas.subnet.ipv4", "security.acls", "dns.zone.forward"] {
        refused(&[(key, "x")], &format!("network configuration key {key:?} is not supported"));
    }
    refused(&[("bridge.driver", "openvswitch")], "it must be one of native");
    refused(&[("bridge.mode", "fan")], "it must be one of standard");
}

#[test]
fn addresses_are_hosts_addresses() {
    for bad in ["10.0.0.0/24", "10.0.0.255/24", "10.0.0.1", "10.0.0.1/31", "10.0.0.1/4", "127.0.0.1/8", "224.0.0.1/24", "0.0.0.1/8", "x"] {
        refused(&[("ipv4.address", bad)], "ipv4.address");
    }
    for bad in ["fd42::/64", "fd42::1/48", "fe80::1/64", "ff02::1/64", "::1/64", "10.0.0.1/24"] {
        refused(&[("ipv6.address", bad)], "ipv6.address");
    }
}

#[test]
fn no_value_breaks_out_of_its_line() {
    refused(&[("dns.domain", "a\nconf-file=/etc/shadow")], "dns.domain");
    refused(&[("dns.domain", "a,b")], "dns.domain");
    refused(&[("ipv4.address", "10.0.0.1/24"), ("ipv4.dhcp.expiry", "1h,static")], "ipv4.dhcp.expiry");
    refused(&[("ipv4.address", "10.0.0.1/24"), ("ipv4.dhcp.ranges", "10.0.0.5-10.0.1.9")], "both ends must be in the network");
    refused(&[("bridge.external_interfaces", "eth1,-x")], "bridge.external_interfaces");
}

#[test]
fn raw_lines_touch_neither_programs_nor_files() {
    for bad in [
        "dhcp-script=/bin/sh",
        "conf-file=/etc/passwd",
        "addn-hosts=/etc/shadow",
        "user=root",
        "port=53",
        "dhcp-leasefile=/x",
        "interface=eth0",
    ] {
        refused(&[("raw.dnsmasq", bad)], "is not allowed here");
    }
    refused(&[("raw.dnsmasq", "server=1.1.1.1\u{b}dhcp-script=/x")], "control characters");
    assert_eq!(parsed(&[("raw.dnsmasq", "# comment\n\n  cname=a.b,c.d\nno-resolv")]).raw_dnsmasq, "cname=a.b,c.d\nno-resolv\n");
}

#[test]
fn only_an_explicit_no_closes_a_network() {
    let base = ("ipv4.address", "10.0.0.1/24");
    #[track_caller]
    fn check(keys: &[(&str, &str)], isolated: bool) {
        assert_eq!(parsed(keys).is_isolated(), isolated, "{keys:?}");
    }
    check(&[base], false);
    check(&[base, ("ipv4.nat", "true")], false);
    check(&[base, ("ipv4.nat", "false")], true);
    check(&[base, ("ipv4.nat", "false"), ("ipv4.routing", "true")], false);
    check(&[base, ("ipv4.nat", "true"), ("ipv4.routing", "false")], true);
    check(&[base, ("ipv4.nat", "false"), ("ipv6.address", "none"), ("ipv6.nat", "false")], true);
    check(&[base, ("ipv4.nat", "false"), ("ipv6.address", "fd42::1/64"), ("ipv6.nat", "true")], false);
    check(&[], true);
}

#[test]
fn automatic_addresses_avoid_what_is_taken() {
    let mut new = Config::default();
    let mut numbers = [0x0201u64, 0x0403, 0x0605, 0x0807].into_iter();
    let taken = ["10.1.0.0/16".parse().unwrap(), "0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    fill_new(&mut new, true, &taken, || numbers.next().unwrap()).unwrap();
    assert_eq!(new.get("ipv4.address"), Some("10.3.4.1/24"));
    assert_eq!(new.get("ipv6.address"), Some("fd42:506::1/64"));
    assert_eq!((new.get("ipv4.nat"), new.get("ipv6.nat")), (Some("true"), Some("true")));
    BridgeConfig::parse(&new).unwrap();

    let mut full = config(&[("ipv4.address", "auto")]);
    let error = fill_auto(&mut full, &["10.0.0.0/8".parse().unwrap()], || 5).unwrap_err();
    assert_eq!(error.to_string(), "no free ipv4 network was found; set ipv4.address to one");

    let mut chosen = config(&[("ipv4.address", "10.9.9.1/24")]);
    fill_new(&mut chosen, false, &[], || 5).unwrap();
    assert_eq!((chosen.get("ipv4.nat"), chosen.get("ipv6.address")), (None, Some("none")));
}
