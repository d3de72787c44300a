//! Tables of the family `inet`, one for each: packets for some ports of the host that go to an instance.

use std::fmt::Write as _;
use std::net::IpAddr;

use coffer_sys::netlink::nftables::Family;

use super::Rules;
use crate::allocate::hash;

/// What is redirected where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The host's address that packets come for.
    pub from: IpAddr,
    /// The instance's address, of the same version of IP.
    pub to: IpAddr,
    /// The host's ports, and the instance's for each.
    pub ports: Vec<(u16, u16)>,
}

/// Names the table of an owner's device. The device's name may hold what a table's cannot.
#[must_use]
pub fn redirection_table(owner: &str, device: &str) -> String {
    format!("coffer_proxy_{owner}_{:08x}", hash(device.as_bytes()) as u32)
}

impl Redirection {
    /// Writes the rules. The host's own packets are redirected too, and an instance that asks for itself by the host's
    /// address gets its answers by that address; where the kernel filters bridged frames as packets
    /// (`bridge-nf-call-iptables`) its frames do not come back to it, and it has to ask by its own address.
    #[must_use]
    pub fn rules(&self, table: String) -> Rules {
        let Self { protocol, from, to, ports } = self;
        let family = if from.is_ipv4() { "ip" } else { "ip6" };
        let matched = format!("{family} daddr {from} {protocol} dport {{ {} }}", ranges(ports.iter().map(|(listen, _)| *listen)));
        let target = if ports.iter().all(|(listen, connect)| listen == connect) {
            format!("dnat {family} to {to}")
        } else {
            let pairs: Vec<String> = ports.iter().map(|(listen, connect)| format!("{listen} : {connect}")).collect();
            format!("dnat {family} to {to} : {protocol} dport map {{ {} }}", pairs.join(", "))
        };
        let own = ranges(ports.iter().map(|(_, connect)| *connect));
        let mut body = String::new();
        for (chain, hook) in [("prerouting", "prerouting priority dstnat"), ("output", "output priority -100")] {
            let _ = writeln!(body, "chain {chain} {{\ntype nat hook {hook}; policy accept;\n{matched} {target}\n}}");
        }
        let hairpin = format!("{family} saddr {to} {family} daddr {to} {protocol} dport {{ {own} }} masquerade");
        let _ = writeln!(body, "chain postrouting {{\ntype nat hook postrouting priority srcnat; policy accept;\n{hairpin}\n}}");
        Rules { family: Family::Inet, table, body }
    }
}

/// Writes ports as an nft set has them, neighbours as ranges.
fn ranges(ports: impl Iterator<Item = u16>) -> String {
    let mut sorted: Vec<u16> = ports.collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in sorted {
        match runs.last_mut() {
            Some((_, high)) if u32::from(*high) + 1 == u32::from(port) => *high = port,
            _ => runs.push((port, port)),
        }
    }
    let text = |(low, high): (u16, u16)| if low == high { low.to_string() } else { format!("{low}-{high}") };
    runs.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, ports: &[(u16, u16)], has: &[&str]) {
        let redirection = Redirection { protocol: "tcp", from: from.parse().unwrap(), to: to.parse().unwrap(), ports: ports.to_vec() };
        let body = redirection.rules("t".into()).body;
        for text in has {
            assert!(body.contains(text), "{text:?} is missing in\n{body}");
        }
    }

    #[test]
    fn ports_keep_their_numbers_or_change_them() {
        let all: Vec<(u16, u16)> = (80..=90).map(|port| (port, port)).collect();
        check("192.0.2.1", "10.1.2.3", &all, &["ip daddr 192.0.2.1 tcp dport { 80-90 } dnat ip to 10.1.2.3\n", "hook output"]);
        let some = [(80, 8080), (81, 8080), (90, 8081)];
        check("192.0.2.1", "10.1.2.3", &some, &["{ 80-81, 90 } dnat ip to 10.1.2.3 : tcp dport map { 80 : 8080, 81 : 8080, 90 : 8081 }"]);
        check(
            "2001:db8::1",
            "fd00::3",
            &[(80, 80)],
            &["ip6 daddr 2001:db8::1", "ip6 saddr fd00::3 ip6 daddr fd00::3 tcp dport { 80 } masquerade"],
        );
    }

    #[test]
    fn tables_are_named_by_their_owner() {
        assert!(redirection_table("web", "http:80").starts_with("coffer_proxy_web_"));
        assert_ne!(redirection_table("web", "a"), redirection_table("web", "b"));
    }
}
