//! Reading the values of single keys.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use coffer_model::Config;
use ipnet::{Ipv4Net, Ipv6Net};

use super::{ConfigError, Dhcp4, Dhcp6, Dns, DnsMode, Ipv4, Ipv6, Outside};

/// A DNS domain: labels of letters, digits and inner hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

impl Domain {
    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("it must be a DNS domain such as example.org".into())
        }
    }
}

/// How long a lease is valid: `1h`, `90m`, `3600`, `infinite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry(String);

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(text);
        let fits =
            number.len() <= 6 && number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u32>().is_ok_and(|number| number > 0);
        // dnsmasq itself raises anything below two minutes; seconds are written without a letter there.
        if fits || text == "infinite" {
            Ok(Self(text.strip_suffix('s').unwrap_or(text).to_owned()))
        } else {
            Err("it must be a number with m, h, d or w, such as 1h, or infinite".into())
        }
    }
}

/// The refusal of a key's value.
pub(super) fn refuse(config: &Config, key: &str, why: impl Into<String>) -> ConfigError {
    let value = config.get(key).unwrap_or_default().chars().take(100).collect();
    ConfigError::Value { key: key.to_owned(), value, why: why.into() }
}

/// Reads a key's value, if it is set.
pub(super) fn read<T>(config: &Config, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
    config.get(key).map(|text| parse(text).map_err(|why| refuse(config, key, why))).transpose()
}

/// Reads a list whose items are separated by commas.
pub(super) fn list<T>(config: &Config, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, ConfigError> {
    let items = config.get(key).into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| parse(item).map_err(|why| refuse(config, key, format!("{item:?}: {why}")))).collect()
}

pub(super) fn ipv4(config: &Config) -> Result<Option<Ipv4>, ConfigError> {
    let fits = |net: &Ipv4Net| {
        let inner = (8..=30).contains(&net.prefix_len()) && net.addr() != net.network() && net.addr() != net.broadcast();
        inner && is_host(IpAddr::V4(net.addr()))
    };
    let address =
        address(config, "ipv4.address", "it must be none, auto, or a host's address with a prefix of 8 to 30, such as 10.44.0.1/24", fits)?;
    let Some(address) = address else { return Ok(None) };
    let outside = outside(config, "ipv4")?;
    let dhcp = if config.flag("ipv4.dhcp", true) { Some(dhcp4(config, address, outside.routed)?) } else { None };
    Ok(Some(Ipv4 { address, outside, dhcp, routes: list(config, "ipv4.routes", network::<Ipv4Net>)? }))
}

pub(super) fn ipv6(config: &Config) -> Result<Option<Ipv6>, ConfigError> {
    let fits = |net: &Ipv6Net| net.prefix_len() == 64 && net.addr() != net.network() && is_host(IpAddr::V6(net.addr()));
    let address =
        address(config, "ipv6.address", "it must be none, auto, or a host's address with prefix 64, such as fd42:1:2:3::1/64", fits)?;
    let Some(address) = address else { return Ok(None) };
    let dhcp = match (config.flag("ipv6.dhcp", true), config.flag("ipv6.dhcp.stateful", false)) {
        (false, true) => return Err(ConfigError::Needs { key: "ipv6.dhcp.stateful", needs: "ipv6.dhcp" }),
        (false, false) => Dhcp6::Off,
        (true, false) => Dhcp6::Stateless,
        (true, true) => Dhcp6::Stateful { expiry: expiry(config, "ipv6.dhcp.expiry")?, ranges: ranges6(config, address)? },
    };
    let routes = list(config, "ipv6.routes", network::<Ipv6Net>)?;
    Ok(Some(Ipv6 { address, outside: outside(config, "ipv6")?, dhcp, routes }))
}

pub(super) fn dns(config: &Config) -> Result<Dns, ConfigError> {
    let domain = read(config, "dns.domain", str::parse::<Domain>)?;
    let mode = match config.get("dns.mode") {
        Some("none") => DnsMode::None,
        Some("dynamic") => DnsMode::Dynamic,
        Some(_) | None => DnsMode::Managed,
    };
    let domain = domain.map_or_else(|| "coffer".parse().map_err(|why: String| refuse(config, "dns.domain", why)), Ok)?;
    Ok(Dns { mode, domain, search: list(config, "dns.search", str::parse::<Domain>)? })
}

/// Reads a bridge's address: none if the key is absent or says so.
fn address<N: FromStr>(config: &Config, key: &'static str, why: &str, fits: impl Fn(&N) -> bool) -> Result<Option<N>, ConfigError> {
    match config.get(key) {
        None | Some("none") => Ok(None),
        Some(text) => match text.parse::<N>() {
            Ok(net) if fits(&net) => Ok(Some(net)),
            Ok(_) | Err(_) => Err(refuse(config, key, why)),
        },
    }
}

/// Says whether one host can have this address.
fn is_host(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.octets()[0] == 0 || address.octets()[0] >= 240,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !special && !address.is_loopback() && !address.is_multicast() && !address.is_unspecified()
}

/// Reads the keys that are the same for both families; `family` is `ipv4` or `ipv6`.
///
/// A network whose translation is switched off in so many words does not forward to the outside, unless routing is
/// switched on in so many words: its addresses mean nothing there, so nothing of it should be seen there.
fn outside<A: FromStr>(config: &Config, family: &str) -> Result<Outside<A>, ConfigError> {
    let key = |rest: &str| format!("{family}.{rest}");
    let nat = config.flag(&key("nat"), false);
    let closed = config.get(&key("nat")).is_some() && !nat;
    let text = key("nat.address");
    let nat_address = read(config, &text, |value| value.parse::<A>().map_err(|_| format!("it must be an {family} address")))?;
    Ok(Outside {
        nat,
        nat_address,
        nat_after: config.get(&key("nat.order")) == Some("after"),
        routed: config.flag(&key("routing"), !closed),
        firewall: config.flag(&key("firewall"), true),
    })
}

fn dhcp4(config: &Config, net: Ipv4Net, routed: bool) -> Result<Dhcp4, ConfigError> {
    let gateway = match config.get("ipv4.dhcp.gateway") {
        Some("none") => None,
        Some(text) => Some(text.parse().map_err(|_| refuse(config, "ipv4.dhcp.gateway", "it must be an IPv4 address or none"))?),
        // A bridge that forwards nothing is no way out, and must not take the place of one that is.
        None => routed.then(|| net.addr()),
    };
    let mut ranges = list(config, "ipv4.dhcp.ranges", |text| range(text, |address: Ipv4Addr| net.contains(&address)))?;
    if ranges.is_empty() {
        let first = Ipv4Addr::from(u32::from(net.network()) + 1);
        let last = Ipv4Addr::from(u32::from(net.broadcast()) - 1);
        ranges.push(first..=last);
    }
    Ok(Dhcp4 { expiry: expiry(config, "ipv4.dhcp.expiry")?, gateway, ranges })
}

fn ranges6(config: &Config, net: Ipv6Net) -> Result<Vec<RangeInclusive<Ipv6Addr>>, ConfigError> {
    let mut ranges = list(config, "ipv6.dhcp.ranges", |text| range(text, |address: Ipv6Addr| net.contains(&address)))?;
    if ranges.is_empty() {
        let base = u128::from(net.network());
        ranges.push(Ipv6Addr::from(base + 2)..=Ipv6Addr::from(base | u128::from(u64::MAX)));
    }
    Ok(ranges)
}

fn range<A: FromStr + PartialOrd + Copy>(text: &str, inside: impl Fn(A) -> bool) -> Result<RangeInclusive<A>, String> {
    let ends = text.split_once('-').and_then(|(first, last)| Some((first.trim().parse::<A>().ok()?, last.trim().parse::<A>().ok()?)));
    match ends {
        Some((first, last)) if first <= last && inside(first) && inside(last) => Ok(first..=last),
        Some(_) => Err("both ends must be in the network, the lower one first".into()),
        None => Err("it must be FIRST-LAST".into()),
    }
}

fn network<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "it must be a network such as 10.50.0.0/24".to_owned())
}

fn expiry(config: &Config, key: &str) -> Result<Expiry, ConfigError> {
    let given = read(config, key, str::parse::<Expiry>)?;
    given.map_or_else(|| "1h".parse().map_err(|why: String| refuse(config, key, why)), Ok)
}
