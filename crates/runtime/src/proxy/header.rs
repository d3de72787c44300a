//! The line that tells a server who is behind a proxy.

use std::net::{IpAddr, SocketAddr};

/// Writes the line for a connection from `from` that was accepted at `to`; without addresses it came by a unix socket.
///
/// Source: "The PROXY protocol", section 2.1, version 1.
pub(super) fn line(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((from, to)) = addresses else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let (from_address, to_address) = (plain(from.ip()), plain(to.ip()));
    let family = match (from_address, to_address) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        _ => "TCP6",
    };
    format!("PROXY {family} {from_address} {to_address} {} {}\r\n", from.port(), to.port()).into_bytes()
}

/// An IPv4 address that came to a socket of both versions is one of IPv4.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, expect: &str) {
        let addresses = Some((from.parse().unwrap(), to.parse().unwrap()));
        assert_eq!(String::from_utf8(line(addresses)).unwrap(), expect);
    }

    #[test]
    fn lines() {
        check("192.0.2.1:1234", "192.0.2.9:80", "PROXY TCP4 192.0.2.1 192.0.2.9 1234 80\r\n");
        check("[::ffff:192.0.2.1]:1234", "[::ffff:192.0.2.9]:80", "PROXY TCP4 192.0.2.1 192.0.2.9 1234 80\r\n");
        check("[2001:db8::1]:1234", "[2001:db8::2]:80", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n");
        assert_eq!(line(None), b"PROXY UNKNOWN\r\n");
    }
}
