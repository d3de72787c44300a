//! How much a network interface may carry in a second.

use std::str::FromStr;

/// Bits a second, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(u64);

/// Units, and how many bits they are.
///
/// Source: the LXD documentation, "Units for storage and network limits".
const UNITS: &[(&str, u64)] = &[
    ("Tibit", 1 << 40),
    ("Gibit", 1 << 30),
    ("Mibit", 1 << 20),
    ("Kibit", 1 << 10),
    ("Tbit", 1_000_000_000_000),
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("kbit", 1000),
    ("bit", 1),
];

impl BitRate {
    /// The whole bytes that this is in a second, at least one.
    #[must_use]
    pub fn bytes(self) -> u64 {
        (self.0 / 8).max(1)
    }
}

impl FromStr for BitRate {
    type Err = String;

    /// Reads `10Mbit`; a number alone is bits.
    fn from_str(text: &str) -> Result<Self, String> {
        const RULE: &str = "it must be bits a second, such as 10Mbit or 1Gibit";
        let unit = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
        let (number, bits) = unit.unwrap_or((text, 1));
        let number: u64 = number.parse().map_err(|_| RULE.to_owned())?;
        match number.checked_mul(bits) {
            None => Err("it is more than can be counted".into()),
            Some(0) => Err("it must be at least 1; leave the key out for no limit".into()),
            Some(all) => Ok(Self(all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<u64>) {
        assert_eq!(text.parse::<BitRate>().ok().map(BitRate::bytes), expect, "{text}");
    }

    #[test]
    fn rates() {
        check("8", Some(1));
        check("1", Some(1));
        check("80bit", Some(10));
        check("10Mbit", Some(1_250_000));
        check("1Gibit", Some(134_217_728));
        check("0Mbit", None);
        check("-1", None);
        check("10MB", None);
        check("Mbit", None);
        check("99999999Tbit", None);
    }
}
