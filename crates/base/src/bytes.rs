//! Sizes in bytes, as users write and read them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
///
/// Parses LXD's forms: a plain number, decimal units (`kB MB GB TB PB EB`, powers of 1000) and binary units
/// (`KiB MiB GiB TiB PiB EiB`, powers of 1024); `B` or nothing means bytes. No fraction, no sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Why a text is no size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseBytesError {
    /// The text does not start with a whole number.
    #[error("size {0:?} does not start with a whole number")]
    Number(String),
    /// The unit is unknown.
    #[error("size {0:?} has an unknown unit; use B, kB, MB, GB, TB, PB, EB, KiB, MiB, GiB, TiB, PiB or EiB")]
    Unit(String),
    /// The number of bytes is larger than 2⁶⁴ − 1.
    #[error("size {0:?} is too large")]
    TooLarge(String),
}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(split);
        if digits.is_empty() {
            return Err(ParseBytesError::Number(text.into()));
        }
        let number: u64 = digits.parse().map_err(|_| ParseBytesError::TooLarge(text.into()))?;
        let factor: u64 = match unit.trim() {
            "" | "B" | "bytes" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "PB" => 1_000_000_000_000_000,
            "EB" => 1_000_000_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "PiB" => 1 << 50,
            "EiB" => 1 << 60,
            _ => return Err(ParseBytesError::Unit(text.into())),
        };
        number.checked_mul(factor).map(Self).ok_or_else(|| ParseBytesError::TooLarge(text.into()))
    }
}

impl fmt::Display for Bytes {
    /// Writes the size in binary units with two digits, as `lxc info` does: `36.80MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{}B", self.0);
        }
        let exponent = (63 - self.0.leading_zeros() as usize) / 10;
        let value = self.0 as f64 / (1u64 << (exponent * 10)) as f64;
        write!(f, "{value:.2}{}", UNITS[exponent - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<Bytes>().map(|bytes| bytes.0.to_string()).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn units() {
        check("0", "0");
        check("512MiB", "536870912");
        check("10GB", "10000000000");
        check(" 1 kB", "1000");
        check("-1", "size \"-1\" does not start with a whole number");
        check("1XB", "size \"1XB\" has an unknown unit; use B, kB, MB, GB, TB, PB, EB, KiB, MiB, GiB, TiB, PiB or EiB");
        check("99EB", "size \"99EB\" is too large");
    }

    #[test]
    fn shown_as_lxc_shows_them() {
        assert_eq!(Bytes(38_587_597).to_string(), "36.80MiB");
        assert_eq!(Bytes(12).to_string(), "12B");
        assert_eq!(Bytes(u64::MAX).to_string(), "16.00EiB");
    }
}
