//! Signals by name or number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names of the signals 1 to 31, in order. Source: signal(7), x86 and ARM numbers.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and last real-time signal, as the C library counts them.
const REALTIME: (u8, u8) = (34, 64);

/// A signal, 1 to 64. Written as a name (`SIGPWR`, `SIGRTMIN+3`); a number and a name without `SIG` are read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

impl Signal {
    /// Hang up.
    pub const HUP: Self = Self(1);
    /// Interrupt.
    pub const INT: Self = Self(2);
    /// Kill: cannot be caught.
    pub const KILL: Self = Self(9);
    /// User-defined 2: busybox init powers off on it.
    pub const USR2: Self = Self(12);
    /// Terminate.
    pub const TERM: Self = Self(15);
    /// Power failure: sysvinit and OpenRC halt on it.
    pub const PWR: Self = Self(30);
    /// `SIGRTMIN+3`: systemd halts on it.
    pub const RTMIN_3: Self = Self(37);

    /// The signal of this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=REALTIME.1).contains(number)).map(Self)
    }

    /// The kernel's number.
    #[must_use]
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

/// The text is no signal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown signal {0:?}; use a number from 1 to 64 or a name like SIGPWR or SIGRTMIN+3")]
pub struct UnknownSignal(String);

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = if let Ok(number) = name.parse::<i32>() {
            Some(number)
        } else if let Some(rest) = name.strip_prefix("RTMIN") {
            offset(rest, '+').map(|offset| i32::from(REALTIME.0) + offset)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            offset(rest, '-').map(|offset| i32::from(REALTIME.1) - offset)
        } else {
            NAMES.iter().position(|known| *known == name).map(|at| at as i32 + 1)
        };
        number.and_then(Self::from_number).ok_or_else(|| UnknownSignal(text.into()))
    }
}

/// Reads `+3` or nothing.
fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?.parse().ok().filter(|offset| (0..=30).contains(offset))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0).wrapping_sub(1)) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == REALTIME.0 => f.write_str("SIGRTMIN"),
            None if self.0 > REALTIME.0 => write!(f, "SIGRTMIN+{}", self.0 - REALTIME.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<Signal>().map(|it| format!("{} {it}", it.number())).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn names_and_numbers() {
        check("SIGPWR", "30 SIGPWR");
        check("term", "15 SIGTERM");
        check("9", "9 SIGKILL");
        check("SIGRTMIN+3", "37 SIGRTMIN+3");
        check("RTMAX", "64 SIGRTMIN+30");
        check("33", "33 33");
        check("SIGRTMIN-1", "unknown signal \"SIGRTMIN-1\"; use a number from 1 to 64 or a name like SIGPWR or SIGRTMIN+3");
        check("0", "unknown signal \"0\"; use a number from 1 to 64 or a name like SIGPWR or SIGRTMIN+3");
    }
}
