//! Hardware (MAC) addresses.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The unicast hardware address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HwAddr([u8; 6]);

/// The prefix that system containers' addresses carry by custom.
const PREFIX: [u8; 3] = [0x00, 0x16, 0x3e];

/// Why a text is no hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be a unicast MAC address such as 00:16:3e:12:34:56")]
pub struct NotHwAddr;

impl HwAddr {
    /// Takes the address as bytes; none if it addresses a group or nobody.
    #[must_use]
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }

    /// Makes an address with the prefix 00:16:3e from random bits.
    #[must_use]
    pub fn from_random(random: u64) -> Self {
        let [a, b, c, ..] = random.to_le_bytes();
        let [x, y, z] = PREFIX;
        Self([x, y, z, a, b, c])
    }

    /// Makes an address with the prefix 00:16:3e that is always the same for `seed`.
    #[must_use]
    pub fn from_seed(seed: &str) -> Self {
        Self::from_random(crate::allocate::hash(seed.as_bytes()))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The IPv6 address that a host with this hardware address gives itself in a /64 network.
    ///
    /// Source: RFC 4291, appendix A (modified EUI-64).
    #[must_use]
    pub fn eui64(self, network: Ipv6Addr) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        let prefix = u128::from(network) & !u128::from(u64::MAX);
        Ipv6Addr::from(prefix | u128::from(host))
    }

    /// The link-local address that a host with this hardware address gives itself.
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        self.eui64(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    }
}

impl fmt::Display for HwAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for HwAddr {
    type Err = NotHwAddr;

    fn from_str(text: &str) -> Result<Self, NotHwAddr> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit())).ok_or(NotHwAddr)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotHwAddr)?;
        }
        if parts.next().is_some() { Err(NotHwAddr) } else { Self::new(bytes).ok_or(NotHwAddr) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_addresses_are_read() {
        assert_eq!("00:16:3E:0a:b0:01".parse::<HwAddr>().unwrap().to_string(), "00:16:3e:0a:b0:01");
        for bad in [
            "",
            "00:16:3e:00:00",
            "00:16:3e:00:00:00:00",
            "01:16:3e:00:00:00",
            "00:00:00:00:00:00",
            "0:16:3e:00:00:000",
            "+1:16:3e:00:00:00",
        ] {
            assert_eq!(bad.parse::<HwAddr>(), Err(NotHwAddr), "{bad}");
        }
    }

    #[test]
    fn ipv6_addresses_follow_from_it() {
        let hwaddr: HwAddr = "00:16:3e:0e:3e:28".parse().unwrap();
        assert_eq!(hwaddr.link_local().to_string(), "fe80::216:3eff:fe0e:3e28");
        assert_eq!(hwaddr.eui64("fd42:1:2:3::1".parse().unwrap()).to_string(), "fd42:1:2:3:216:3eff:fe0e:3e28");
    }

    #[test]
    fn a_seed_always_gives_the_same() {
        assert_eq!(HwAddr::from_seed("a"), HwAddr::from_seed("a"));
        assert_ne!(HwAddr::from_seed("a"), HwAddr::from_seed("b"));
        assert_eq!(&HwAddr::from_seed("a").bytes()[..3], &PREFIX);
    }
}
