//! The table of a bridge network's configuration keys.

use coffer_model::key::Class::Free;
use coffer_model::key::Support::{self, No, Yes};
use coffer_model::key::Value::{Bool, Choice, Int, Line, Text};
use coffer_model::key::{Key, Value};

const LATER: Support = No("this server does not do it yet");
const NEVER: Support = No("the service behind it is not supported");

/// One row: key, type, default, support, documentation. Every change is live.
const fn row(name: &'static str, value: Value, default: &'static str, support: Support, doc: &'static str) -> Key {
    Key { name, value, default, live: true, class: Free, support, doc }
}

/// Keys of bridge networks.
pub const BRIDGE: &[Key] = &[
    row("bgp.*", Line, "", LATER, "Announcing the network's routes by BGP."),
    row("bridge.driver", Choice(&["native"]), "native", Yes, "Who forwards the frames: the kernel's own bridge."),
    row(
        "bridge.external_interfaces",
        Line,
        "",
        Yes,
        "Interfaces of the host without addresses that become ports of the bridge, separated by commas.",
    ),
    row("bridge.hwaddr", Line, "derived from the server and the name", Yes, "The bridge's MAC address."),
    row("bridge.mode", Choice(&["standard"]), "standard", Yes, "Kind of bridge."),
    row("bridge.mtu", Int(68, 65_535), "1500", Yes, "The largest packet, in bytes; at least 1280 with IPv6."),
    row("dns.domain", Line, "coffer", Yes, "The domain of the instances' names: NAME.DOMAIN."),
    row(
        "dns.mode",
        Choice(&["none", "managed", "dynamic"]),
        "managed",
        Yes,
        "Which names are answered for: none; the instances' own; or also those that DHCP clients choose for themselves.",
    ),
    row("dns.search", Line, "dns.domain", Yes, "Domains that instances look names up in, separated by commas."),
    row("dns.zone.*", Line, "", LATER, "Zones that the network's names are published in."),
    row("fan.*", Line, "", NEVER, "Fan bridges."),
    row("ipv4.address", Line, "auto", Yes, "The bridge's IPv4 address and prefix, `auto` for a free one, `none` for no IPv4."),
    row("ipv4.dhcp", Bool, "true", Yes, "Whether instances are given IPv4 addresses."),
    row("ipv4.dhcp.expiry", Line, "1h", Yes, "How long a lease is valid: a number with s, m, h, d or w, or `infinite`."),
    row(
        "ipv4.dhcp.gateway",
        Line,
        "the bridge's address; none where nothing is routed",
        Yes,
        "The router that instances are told of, or `none`.",
    ),
    row("ipv4.dhcp.ranges", Line, "all addresses", Yes, "Ranges to choose addresses from, FIRST-LAST, separated by commas."),
    row(
        "ipv4.firewall",
        Bool,
        "true",
        Yes,
        "Whether forwarding rules are made for IPv4; without them the network is as open as the host's other rules leave it.",
    ),
    row("ipv4.nat", Bool, "false; true with the address auto", Yes, "Whether IPv4 packets leave under the host's address."),
    row("ipv4.nat.address", Line, "the outgoing interface's", Yes, "The address that packets leave under."),
    row("ipv4.nat.order", Choice(&["before", "after"]), "before", Yes, "Whether our translation comes before or after other rules."),
    row("ipv4.ovn.ranges", Line, "", LATER, "Addresses for the routers of OVN networks."),
    row("ipv4.routes", Line, "", Yes, "Further IPv4 networks that are reached over the bridge, separated by commas."),
    row(
        "ipv4.routing",
        Bool,
        "true; false where ipv4.nat is set to false",
        Yes,
        "Whether IPv4 packets are forwarded between the bridge and the outside.",
    ),
    row("ipv6.address", Line, "auto", Yes, "The bridge's IPv6 address with prefix 64, `auto` for a free one, `none` for no IPv6."),
    row("ipv6.dhcp", Bool, "true", Yes, "Whether DHCPv6 gives instances more than their address: name server and domain."),
    row("ipv6.dhcp.expiry", Line, "1h", Yes, "How long a DHCPv6 lease is valid."),
    row("ipv6.dhcp.ranges", Line, "all addresses", Yes, "Ranges for DHCPv6 with state, FIRST-LAST, separated by commas."),
    row(
        "ipv6.dhcp.stateful",
        Bool,
        "false",
        Yes,
        "Whether addresses are given by DHCPv6; otherwise instances make them from their MAC address.",
    ),
    row("ipv6.firewall", Bool, "true", Yes, "Whether forwarding rules are made for IPv6."),
    row("ipv6.nat", Bool, "false; true with the address auto", Yes, "Whether IPv6 packets leave under the host's address."),
    row("ipv6.nat.address", Line, "the outgoing interface's", Yes, "The address that packets leave under."),
    row("ipv6.nat.order", Choice(&["before", "after"]), "before", Yes, "Whether our translation comes before or after other rules."),
    row("ipv6.ovn.ranges", Line, "", LATER, "Addresses for the routers of OVN networks."),
    row("ipv6.routes", Line, "", Yes, "Further IPv6 networks that are reached over the bridge, separated by commas."),
    row(
        "ipv6.routing",
        Bool,
        "true; false where ipv6.nat is set to false",
        Yes,
        "Whether IPv6 packets are forwarded between the bridge and the outside.",
    ),
    row("maas.*", Line, "", NEVER, "Registration with MAAS."),
    row(
        "raw.dnsmasq",
        Text,
        "",
        Yes,
        "Further lines for dnsmasq's configuration: names, DHCP options, forwarders. Options that start programs or touch files are refused.",
    ),
    row("security.acls", Line, "", LATER, "ACLs that apply to the network's NICs."),
    row("security.acls.*", Line, "", LATER, "What ACLs do by default."),
    row("tunnel.*", Line, "", LATER, "Tunnels to bridges of other hosts."),
    row("user.*", Text, "", Yes, "Free text for the user."),
];
