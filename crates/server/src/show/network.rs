//! Networks and interfaces.

use coffer_api::{
    InstanceStateNetwork, InstanceStateNetworkAddress, InstanceStateNetworkCounters, Network, NetworkLease, NetworkState,
    NetworkStateAddress, NetworkStateBridge, NetworkStateCounters,
};
use coffer_engine::NetworkView;
use coffer_engine::{BridgeState, Lease, LinkState};

use super::{NO_MEMBER, config};

/// A network: a managed one, or an interface of the host.
#[must_use]
pub fn network(view: &NetworkView) -> Network {
    let managed = view.managed.as_ref();
    Network {
        config: managed.map(|network| config(&network.config)).unwrap_or_default(),
        description: managed.map(|network| network.description.clone()).unwrap_or_default(),
        name: view.name.clone(),
        kind: view.kind.clone(),
        used_by: view.used_by.clone(),
        managed: managed.is_some(),
        status: managed.map_or("", |network| if network.made { "Created" } else { "Pending" }).into(),
        locations: managed.map(|_| vec![NO_MEMBER.to_owned()]).unwrap_or_default(),
    }
}

/// What a network's interface looks like.
#[must_use]
pub fn network_state(link: &LinkState) -> NetworkState {
    let addresses = link.addresses.iter().map(|address| NetworkStateAddress {
        family: address.family().into(),
        address: address.address.to_string(),
        netmask: address.prefix.to_string(),
        scope: address.scope_word().into(),
    });
    NetworkState {
        addresses: addresses.collect(),
        counters: NetworkStateCounters {
            bytes_received: signed(link.counters.bytes_received),
            bytes_sent: signed(link.counters.bytes_sent),
            packets_received: signed(link.counters.packets_received),
            packets_sent: signed(link.counters.packets_sent),
        },
        hwaddr: hwaddr(link),
        mtu: i64::from(link.mtu),
        state: up_or_down(link).into(),
        kind: link.reach.as_str().into(),
        bond: None,
        bridge: link.bridge.as_ref().map(bridge),
        vlan: None,
        ovn: None,
    }
}

/// An interface inside an instance.
pub(super) fn inside(link: &LinkState) -> InstanceStateNetwork {
    let addresses = link.addresses.iter().map(|address| InstanceStateNetworkAddress {
        family: address.family().into(),
        address: address.address.to_string(),
        netmask: address.prefix.to_string(),
        scope: address.scope_word().into(),
    });
    InstanceStateNetwork {
        addresses: addresses.collect(),
        counters: InstanceStateNetworkCounters {
            bytes_received: signed(link.counters.bytes_received),
            bytes_sent: signed(link.counters.bytes_sent),
            packets_received: signed(link.counters.packets_received),
            packets_sent: signed(link.counters.packets_sent),
            errors_received: signed(link.counters.errors_received),
            errors_sent: signed(link.counters.errors_sent),
            packets_dropped_outbound: signed(link.counters.dropped_sent),
            packets_dropped_inbound: signed(link.counters.dropped_received),
        },
        hwaddr: hwaddr(link),
        host_name: link.host_name.clone().unwrap_or_default(),
        mtu: i64::from(link.mtu),
        state: up_or_down(link).into(),
        kind: link.reach.as_str().into(),
    }
}

/// An address that a network gave away.
#[must_use]
pub fn lease(lease: &Lease) -> NetworkLease {
    NetworkLease {
        hostname: lease.hostname.clone(),
        hwaddr: lease.hwaddr.map(|address| address.to_string()).unwrap_or_default(),
        address: lease.address.to_string(),
        kind: lease.kind.as_str().into(),
        location: String::new(),
    }
}

fn bridge(bridge: &BridgeState) -> NetworkStateBridge {
    NetworkStateBridge {
        id: bridge.id.clone(),
        stp: bridge.stp,
        forward_delay: u64::from(bridge.forward_delay),
        vlan_default: u64::from(bridge.vlan_default),
        vlan_filtering: bridge.vlan_filtering,
        upper_devices: bridge.upper_devices.clone(),
    }
}

/// A loopback interface's address of zeros counts as none.
fn hwaddr(link: &LinkState) -> String {
    link.hwaddr.map(|address| address.to_string()).filter(|text| text != "00:00:00:00:00:00").unwrap_or_default()
}

fn up_or_down(link: &LinkState) -> &'static str {
    if link.up { "up" } else { "down" }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
