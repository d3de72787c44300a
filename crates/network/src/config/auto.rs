//! Choosing a new network's addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use coffer_model::Config;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How often a random network is tried before giving up.
const TRIES: usize = 1000;

/// Why no address could be chosen.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("no free {family} network was found; set {family}.address to one")]
pub struct AutoError {
    /// `ipv4` or `ipv6`.
    family: &'static str,
}

/// Fills in what a new network's creator left open: automatic addresses, with translation to the outside.
///
/// `ipv6` says whether the host does IPv6 at all; `taken` and `random` are as for [`fill_auto`].
///
/// # Errors
/// If no free network was found.
pub fn fill_new(config: &mut Config, ipv6: bool, taken: &[IpNet], random: impl FnMut() -> u64) -> Result<(), AutoError> {
    if config.get("ipv4.address").is_none() {
        config.set("ipv4.address", "auto");
    }
    if config.get("ipv6.address").is_none() {
        config.set("ipv6.address", if ipv6 { "auto" } else { "none" });
    }
    for family in ["ipv4", "ipv6"] {
        let nat = format!("{family}.nat");
        if config.get(&format!("{family}.address")) == Some("auto") && config.get(&nat).is_none() {
            config.set(nat, "true");
        }
    }
    fill_auto(config, taken, random)
}

/// Replaces the value `auto` of `ipv4.address` and `ipv6.address` by the address of a free network: 10.X.Y.1/24 and
/// fd42:X:Y:Z::1/64.
///
/// `taken` are the networks that the host has addresses in, routes to, or other plans for.
///
/// # Errors
/// If no free network was found.
pub fn fill_auto(config: &mut Config, taken: &[IpNet], mut random: impl FnMut() -> u64) -> Result<(), AutoError> {
    let free = |net: IpNet| !taken.iter().any(|other| overlap(*other, net));
    if config.get("ipv4.address") == Some("auto") {
        let chosen = (0..TRIES).map(|_| subnet4(random())).find(|net| free(IpNet::V4(*net)));
        config.set("ipv4.address", chosen.ok_or(AutoError { family: "ipv4" })?.to_string());
    }
    if config.get("ipv6.address") == Some("auto") {
        let chosen = (0..TRIES).map(|_| subnet6(random())).find(|net| free(IpNet::V6(*net)));
        config.set("ipv6.address", chosen.ok_or(AutoError { family: "ipv6" })?.to_string());
    }
    Ok(())
}

/// Says whether two networks have an address in common. The default route is no network.
fn overlap(one: IpNet, other: IpNet) -> bool {
    one.prefix_len() > 0 && other.prefix_len() > 0 && (one.contains(&other.network()) || other.contains(&one.network()))
}

fn subnet4(random: u64) -> Ipv4Net {
    let [x, y, ..] = random.to_le_bytes();
    Ipv4Net::new(Ipv4Addr::new(10, x, y, 1), 24).expect("24 is a prefix of IPv4")
}

fn subnet6(random: u64) -> Ipv6Net {
    let [a, b, c, d, e, f, ..] = random.to_le_bytes().map(u16::from);
    let address = Ipv6Addr::new(0xfd42, a << 8 | b, c << 8 | d, e << 8 | f, 0, 0, 0, 1);
    Ipv6Net::new(address, 64).expect("64 is a prefix of IPv6")
}
