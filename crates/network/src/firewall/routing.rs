//! The table of the family `inet`: what a network may send where, and under which address.

use std::fmt::Write as _;

use coffer_sys::netlink::nftables::Family;

use super::{Rules, table_name};
use crate::config::{BridgeConfig, Outside};

/// Writes a network's rules for routed packets.
#[must_use]
pub fn routing_rules(network: &str, config: &BridgeConfig) -> Rules {
    let body = [input(network, config), forward(network, config), postrouting(config)].concat();
    Rules { family: Family::Inet, table: table_name(network), body }
}

/// What reaches the host itself.
fn input(network: &str, config: &BridgeConfig) -> String {
    let mut rules = String::new();
    if config.ipv4.as_ref().is_some_and(|v4| v4.outside.firewall) {
        // The host's own loopback services are nobody's business on a bridge, also where `route_localnet` is on.
        let _ = writeln!(rules, "iifname \"{network}\" ip daddr 127.0.0.0/8 drop");
        let _ = writeln!(rules, "iifname \"{network}\" meta nfproto ipv4 udp dport {{ 53, 67 }} accept");
        let _ = writeln!(rules, "iifname \"{network}\" meta nfproto ipv4 tcp dport 53 accept");
        let _ = writeln!(rules, "iifname \"{network}\" ip protocol icmp accept");
    }
    if config.ipv6.as_ref().is_some_and(|v6| v6.outside.firewall) {
        let _ = writeln!(rules, "iifname \"{network}\" meta nfproto ipv6 udp dport {{ 53, 547 }} accept");
        let _ = writeln!(rules, "iifname \"{network}\" meta nfproto ipv6 tcp dport 53 accept");
        let _ = writeln!(rules, "iifname \"{network}\" meta l4proto ipv6-icmp accept");
    }
    chain("input", "type filter hook input priority filter", &rules)
}

/// What passes through the host. The order matters: on the bridge itself, then what no router may forward, then closed
/// families, then the rest.
fn forward(network: &str, config: &BridgeConfig) -> String {
    let v4 = config.ipv4.as_ref().map(|v4| (v4.outside.firewall, v4.outside.routed));
    let v6 = config.ipv6.as_ref().map(|v6| (v6.outside.firewall, v6.outside.routed));
    let mut rules = format!("iifname \"{network}\" oifname \"{network}\" accept\n");
    for (family, link_local, state) in [("ipv4", "ip daddr 169.254.0.0/16", v4), ("ipv6", "ip6 daddr fe80::/10", v6)] {
        // A family that the network does not have has no business on it either.
        let (firewall, routed) = state.unwrap_or((true, false));
        if !firewall {
            continue;
        }
        let _ = writeln!(rules, "iifname \"{network}\" {link_local} drop");
        if routed {
            let _ = writeln!(rules, "iifname \"{network}\" meta nfproto {family} accept");
            let _ = writeln!(rules, "oifname \"{network}\" meta nfproto {family} accept");
        } else {
            let _ = writeln!(rules, "iifname \"{network}\" meta nfproto {family} reject with icmpx type admin-prohibited");
            let _ = writeln!(rules, "oifname \"{network}\" meta nfproto {family} drop");
        }
    }
    chain("forward", "type filter hook forward priority filter", &rules)
}

/// Under which address packets leave.
fn postrouting(config: &BridgeConfig) -> String {
    let v4 = config.ipv4.as_ref().and_then(|v4| translation("ip", &v4.address.trunc(), &v4.outside));
    let v6 = config.ipv6.as_ref().and_then(|v6| translation("ip6", &v6.address.trunc(), &v6.outside));
    let (before, after): (Vec<_>, Vec<_>) = [v4, v6].into_iter().flatten().partition(|(_, after)| !after);
    let rules = |rules: Vec<(String, bool)>| rules.into_iter().map(|(rule, _)| rule).collect::<String>();
    let before = chain("postrouting", "type nat hook postrouting priority srcnat - 5", &rules(before));
    let after = chain("postrouting_after", "type nat hook postrouting priority srcnat + 5", &rules(after));
    [before, after].concat()
}

fn translation<A: std::fmt::Display>(family: &str, net: &dyn std::fmt::Display, outside: &Outside<A>) -> Option<(String, bool)> {
    let how = match &outside.nat_address {
        Some(address) => format!("snat to {address}"),
        None => "masquerade".into(),
    };
    outside.nat.then(|| (format!("{family} saddr {net} {family} daddr != {net} {how}\n"), outside.nat_after))
}

/// One base chain; nothing if it has no rules.
fn chain(name: &str, hook: &str, rules: &str) -> String {
    if rules.is_empty() { String::new() } else { format!("chain {name} {{\n{hook}; policy accept;\n{rules}}}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[(&str, &str)], has: &[&str], lacks: &[&str]) {
        let config = BridgeConfig::parse(&keys.iter().copied().collect()).unwrap();
        let body = routing_rules("br0", &config).body;
        for text in has {
            assert!(body.contains(text), "{text:?} is missing in\n{body}");
        }
        for text in lacks {
            assert!(!body.contains(text), "{text:?} should not be in\n{body}");
        }
    }

    #[test]
    fn translation_follows_the_keys() {
        let v4 = ("ipv4.address", "10.1.2.1/24");
        check(&[v4, ("ipv4.nat", "true")], &["ip saddr 10.1.2.0/24 ip daddr != 10.1.2.0/24 masquerade", "srcnat - 5"], &["srcnat + 5"]);
        check(&[v4, ("ipv4.nat", "true"), ("ipv4.nat.address", "198.51.100.9")], &["snat to 198.51.100.9"], &["masquerade"]);
        check(&[v4, ("ipv4.nat", "true"), ("ipv4.nat.order", "after")], &["srcnat + 5"], &["srcnat - 5"]);
        check(&[v4], &["iifname \"br0\" meta nfproto ipv4 accept"], &["masquerade", "meta nfproto ipv4 reject"]);
    }

    #[test]
    fn closed_families_are_refused() {
        let closed = "iifname \"br0\" meta nfproto ipv4 reject with icmpx type admin-prohibited";
        check(&[("ipv4.address", "10.1.2.1/24"), ("ipv4.nat", "false")], &[closed, "meta nfproto ipv6 reject"], &["masquerade"]);
        check(&[("ipv4.address", "10.1.2.1/24"), ("ipv4.nat", "false"), ("ipv4.firewall", "false")], &[], &[closed]);
    }
}
