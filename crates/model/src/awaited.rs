//! What somebody may wait for an instance to do.

use std::fmt;
use std::str::FromStr;

use crate::health;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// Its init runs.
    Init,
    /// It has an address that others can reach, of any kind.
    Network,
    /// It has such an IPv4 address.
    Ipv4,
    /// It has such an IPv6 address.
    Ipv6,
    /// It said through the guest API that it is ready.
    Ready,
    /// Its health check passed.
    Healthy,
    /// Cloud-init has done its work, without errors.
    CloudInit,
    /// Somebody accepts connections at this TCP port inside.
    Port(u16),
    /// This command ends with status 0 inside.
    Command(Vec<String>),
}

/// The words for what can be waited for.
pub const AWAITED: &str = "init, network, ipv4, ipv6, ready, healthy, cloud-init, port:N or cmd:COMMAND";

impl FromStr for Awaited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix("port:") {
            let port = port.parse().ok().filter(|port| *port > 0);
            return port.map(Self::Port).ok_or_else(|| format!("{text:?}: a port is a number from 1 to 65535"));
        }
        if let Some(line) = text.strip_prefix("cmd:") {
            return health::command(line).map(Self::Command).map_err(|why| format!("{text:?}: {why}"));
        }
        Ok(match text {
            "init" => Self::Init,
            "network" | "ip" => Self::Network,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "ready" => Self::Ready,
            "healthy" => Self::Healthy,
            "cloud-init" => Self::CloudInit,
            _ => return Err(format!("nothing called {text:?} can be waited for, only {AWAITED}")),
        })
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("its init"),
            Self::Network => f.write_str("an address"),
            Self::Ipv4 => f.write_str("an IPv4 address"),
            Self::Ipv6 => f.write_str("an IPv6 address"),
            Self::Ready => f.write_str("its word that it is ready"),
            Self::Healthy => f.write_str("its health"),
            Self::CloudInit => f.write_str("cloud-init"),
            Self::Port(port) => write!(f, "port {port}"),
            Self::Command(words) => write!(f, "command {:?}", words.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        assert_eq!("port:80".parse(), Ok(Awaited::Port(80)));
        assert_eq!("cmd:test -e '/a b'".parse(), Ok(Awaited::Command(vec!["test".into(), "-e".into(), "/a b".into()])));
        assert_eq!("ip".parse(), Ok(Awaited::Network));
        for bad in ["", "agent", "port:0", "port:x", "cmd:", "cmd:'"] {
            assert!(bad.parse::<Awaited>().is_err(), "{bad}");
        }
    }
}
