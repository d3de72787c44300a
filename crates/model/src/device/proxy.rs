//! `proxy`: connections from one side handed on to the other.

use std::net::{IpAddr, SocketAddr};

use super::DeviceError;
use super::reader::Reader;
use crate::key::Class::{Free, LowLevel};
use crate::key::Support::Yes;
use crate::key::Value::{Bool, Choice, Id, Line, Mode as ModeValue};
use crate::key::{Key, Mode, Owner};
use crate::keys::{NEXT_START, row};

/// Keys of proxy devices.
pub const KEYS: &[Key] = &[
    row(
        "bind",
        Choice(&["host", "instance", "container", "guest"]),
        "host",
        NEXT_START,
        Free,
        Yes,
        "On which side is listened; the other side is connected to. `container` and `guest` are older words for `instance`.",
    ),
    row(
        "connect",
        Line,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "Where connections go: as `listen`, with one port for all or as many ports as are listened at.",
    ),
    row("gid", Id, "0", NEXT_START, Free, Yes, "Group of the unix socket that is listened at."),
    row(
        "listen",
        Line,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "Where is listened: `tcp:ADDRESS:PORTS`, `udp:ADDRESS:PORTS`, `unix:PATH` or `unix:@NAME`. Ports are such as `80` or `80-82,90`; \
         IPv6 addresses stand in brackets.",
    ),
    row("mode", ModeValue, "0644", NEXT_START, Free, Yes, "Permission bits of the unix socket that is listened at."),
    row(
        "nat",
        Bool,
        "false",
        NEXT_START,
        Free,
        Yes,
        "Whether the kernel's firewall redirects packets instead: quicker, and the sender's address is kept. The NIC needs a fixed address.",
    ),
    row(
        "proxy_protocol",
        Bool,
        "false",
        NEXT_START,
        Free,
        Yes,
        "Whether the sender is told in a line before the data (PROXY protocol, version 1).",
    ),
    row("security.gid", Id, "0", NEXT_START, LowLevel, Yes, "Group that connects, on the side that is connected to."),
    row("security.uid", Id, "0", NEXT_START, LowLevel, Yes, "User that connects."),
    row("type", Line, "", NEXT_START, Free, Yes, "`proxy`."),
    row("uid", Id, "0", NEXT_START, Free, Yes, "Owner of the unix socket that is listened at."),
];

/// How many sockets one device may listen at; the firewall's redirection has no such limit.
const MOST_SOCKETS: usize = 1024;

/// Connections handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where is listened.
    pub bind: Side,
    /// At what is listened.
    pub listen: Endpoints,
    /// What is connected to: one for all, or one for each that is listened at.
    pub connect: Endpoints,
    /// Whether the firewall does it.
    pub nat: bool,
    /// Whether the sender is told before the data.
    pub proxy_protocol: bool,
    /// The owner of the unix socket that is listened at.
    pub socket_owner: Owner,
    /// Its permission bits.
    pub socket_mode: Mode,
    /// Who connects.
    pub connect_as: Owner,
}

/// One of the two sides of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host.
    Host,
    /// The instance.
    Instance,
}

/// Addresses of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// TCP ports of one address.
    Tcp(IpAddr, Vec<u16>),
    /// UDP ports of one address.
    Udp(IpAddr, Vec<u16>),
    /// A unix stream socket at an absolute path.
    Unix(String),
    /// An abstract unix stream socket, by its name.
    Abstract(String),
}

impl Endpoints {
    /// How many sockets these are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Tcp(_, ports) | Self::Udp(_, ports) => ports.len(),
            Self::Unix(_) | Self::Abstract(_) => 1,
        }
    }

    /// Reads `tcp:127.0.0.1:80-82,90`, `unix:/run/x.sock`, `unix:@name`.
    fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').ok_or(FORM)?;
        match kind {
            "tcp" => address(rest).map(|(address, ports)| Self::Tcp(address, ports)),
            "udp" => address(rest).map(|(address, ports)| Self::Udp(address, ports)),
            "unix" => unix(rest),
            _ => Err(FORM.into()),
        }
    }

    fn port(&self) -> Option<(IpAddr, &[u16])> {
        match self {
            Self::Tcp(address, ports) | Self::Udp(address, ports) => Some((*address, ports)),
            Self::Unix(_) | Self::Abstract(_) => None,
        }
    }

    /// The addresses with a port each, where they have ports.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let (address, ports) = self.port().unwrap_or((IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), &[]));
        ports.iter().map(move |port| SocketAddr::new(address, *port))
    }
}

const FORM: &str = "it must be tcp:ADDRESS:PORTS, udp:ADDRESS:PORTS, unix:PATH or unix:@NAME";

fn unix(rest: &str) -> Result<Endpoints, String> {
    // What the kernel's socket address holds.
    if rest.len() > 107 {
        return Err("a unix socket's name holds 107 bytes at most".into());
    }
    match rest.strip_prefix('@') {
        Some("") => Err("the name after @ is missing".into()),
        Some(name) => Ok(Endpoints::Abstract(name.to_owned())),
        None if !rest.starts_with('/') || rest.ends_with('/') => Err("the path of a unix socket must be absolute".into()),
        None if rest.split('/').any(|part| part == ".." || part == ".") => Err("the path must be without . and ..".into()),
        None => Ok(Endpoints::Unix(rest.to_owned())),
    }
}

fn address(rest: &str) -> Result<(IpAddr, Vec<u16>), String> {
    let (address, ports) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or("an IPv6 address stands in brackets, such as [::1]:80")?,
        None => rest.rsplit_once(':').ok_or(FORM)?,
    };
    let address = match address {
        "" => return Err("the address is missing: 127.0.0.1 is for this machine alone, 0.0.0.0 for all who reach it".into()),
        "localhost" => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        text if text.contains(':') && !rest.starts_with('[') => {
            return Err("an IPv6 address stands in brackets, such as [::1]:80".into());
        }
        text => text.parse().map_err(|_| format!("{text:?} is no IP address"))?,
    };
    Ok((address, port_list(ports)?))
}

fn port_list(text: &str) -> Result<Vec<u16>, String> {
    const WHY: &str = "ports must be numbers from 1 to 65535 and ranges of them, such as 80-82,90";
    let mut ports = Vec::new();
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high): (u16, u16) = (low.parse().map_err(|_| WHY)?, high.parse().map_err(|_| WHY)?);
        if low == 0 || low > high {
            return Err(WHY.into());
        }
        ports.extend(low..=high);
    }
    let mut sorted = ports.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == ports.len() { Ok(ports) } else { Err("a port is named twice".into()) }
}

/// Reads a proxy.
pub(super) fn parse(reader: &Reader<'_>) -> Result<Proxy, DeviceError> {
    let keys = reader.keys;
    let endpoints = |key: &'static str| {
        let text = reader.required(key)?;
        Endpoints::parse(text).map_err(|why| reader.value(key, text, &why))
    };
    let id = |key: &str| keys.parse(key).unwrap_or(0);
    let proxy = Proxy {
        bind: match keys.get("bind") {
            None | Some("host") => Side::Host,
            Some(_) => Side::Instance,
        },
        listen: endpoints("listen")?,
        connect: endpoints("connect")?,
        nat: keys.flag("nat", false),
        proxy_protocol: keys.flag("proxy_protocol", false),
        socket_owner: Owner { uid: id("uid"), gid: id("gid") },
        socket_mode: keys.parse("mode").unwrap_or(Mode(0o644)),
        connect_as: Owner { uid: id("security.uid"), gid: id("security.gid") },
    };
    check(reader, &proxy)?;
    Ok(proxy)
}

/// Refuses what does not go together.
fn check(reader: &Reader<'_>, proxy: &Proxy) -> Result<(), DeviceError> {
    let (listens, connects) = (proxy.listen.count(), proxy.connect.count());
    if connects != 1 && connects != listens {
        let why = format!("listen has {listens} ports and connect {connects}; connect needs one, or as many as listen");
        return Err(reader.combination(why));
    }
    let stray = |keys: &'static [&'static str]| keys.iter().copied().find(|key| reader.keys.get(key).is_some());
    match proxy.listen {
        Endpoints::Unix(_) => {}
        Endpoints::Tcp(..) | Endpoints::Udp(..) | Endpoints::Abstract(_) => {
            if let Some(key) = stray(&["uid", "gid", "mode"]) {
                return Err(reader.combination(format!("key {key:?} has a meaning only where listen is the path of a unix socket")));
            }
        }
    }
    if proxy.proxy_protocol
        && !matches!((&proxy.listen, &proxy.connect), (_, Endpoints::Tcp(..) | Endpoints::Unix(_) | Endpoints::Abstract(_)))
    {
        return Err(reader.combination("proxy_protocol needs a connect of type tcp or unix"));
    }
    if proxy.proxy_protocol && matches!(proxy.listen, Endpoints::Udp(..)) {
        return Err(reader.combination("proxy_protocol needs a listen of type tcp or unix"));
    }
    if proxy.nat {
        return check_nat(reader, proxy, stray(&["proxy_protocol", "security.uid", "security.gid"]));
    }
    if listens > MOST_SOCKETS {
        return Err(reader.combination(format!("listen has {listens} ports, more than {MOST_SOCKETS}; use nat=true for so many")));
    }
    Ok(())
}

fn check_nat(reader: &Reader<'_>, proxy: &Proxy, stray: Option<&str>) -> Result<(), DeviceError> {
    if let Some(key) = stray {
        return Err(reader.combination(format!("key {key:?} has no meaning with nat=true: the firewall only redirects packets")));
    }
    if proxy.bind == Side::Instance {
        return Err(reader.combination("nat=true redirects packets that reach the host; it needs bind=host"));
    }
    let same = match (&proxy.listen, &proxy.connect) {
        (Endpoints::Tcp(from, _), Endpoints::Tcp(to, _)) | (Endpoints::Udp(from, _), Endpoints::Udp(to, _)) => {
            from.is_ipv4() == to.is_ipv4()
        }
        _ => false,
    };
    if same {
        Ok(())
    } else {
        Err(reader.combination("nat=true needs listen and connect of the same type, tcp or udp, and of the same version of IP"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn proxy(keys: &[(&str, &str)], expect: &str) {
        crate::device::tests::check(&[&[("type", "proxy")], keys].concat(), expect);
    }

    #[test]
    fn proxies() {
        proxy(&[("listen", "tcp:127.0.0.1:8080"), ("connect", "tcp:127.0.0.1:80")], "fine");
        proxy(&[("listen", "tcp:[::]:80-82,90"), ("connect", "unix:/run/x.sock"), ("proxy_protocol", "true")], "fine");
        proxy(&[("listen", "unix:@name"), ("connect", "udp:127.0.0.1:53"), ("bind", "container")], "fine");
        proxy(&[("listen", "udp:10.0.0.1:1-65535"), ("connect", "udp:10.1.0.1:1-65535"), ("nat", "true")], "fine");
        proxy(&[("listen", "tcp:127.0.0.1:80")], "device dev: key \"connect\" is missing");
        proxy(
            &[("listen", "tcp:127.0.0.1:80-82"), ("connect", "tcp:127.0.0.1:80-81")],
            "device dev: listen has 3 ports and connect 2; connect needs one, or as many as listen",
        );
        proxy(
            &[("listen", "tcp:127.0.0.1:80"), ("connect", "tcp:127.0.0.1:80"), ("uid", "5")],
            "device dev: key \"uid\" has a meaning only where listen is the path of a unix socket",
        );
        proxy(
            &[("listen", "tcp:127.0.0.1:80"), ("connect", "udp:127.0.0.1:80"), ("nat", "true")],
            "device dev: nat=true needs listen and connect of the same type, tcp or udp, and of the same version of IP",
        );
    }

    #[track_caller]
    fn address(text: &str, expect: &str) {
        let got = Endpoints::parse(text).map_or_else(|why| why, |endpoints| format!("{:?}", endpoints.sockets().collect::<Vec<_>>()));
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn addresses() {
        address("tcp:[::1]:80,82-83", "[[::1]:80, [::1]:82, [::1]:83]");
        address("tcp:localhost:80", "[127.0.0.1:80]");
        address("tcp::80", "the address is missing: 127.0.0.1 is for this machine alone, 0.0.0.0 for all who reach it");
        address("tcp:::1:80", "an IPv6 address stands in brackets, such as [::1]:80");
        address("tcp:web.example:80", "\"web.example\" is no IP address");
        address("tcp:127.0.0.1:80,79-81", "a port is named twice");
        address("tcp:127.0.0.1:0", "ports must be numbers from 1 to 65535 and ranges of them, such as 80-82,90");
        address("sctp:127.0.0.1:80", FORM);
        address("unix:run/x", "the path of a unix socket must be absolute");
        address("unix:/run/../x", "the path must be without . and ..");
    }
}
