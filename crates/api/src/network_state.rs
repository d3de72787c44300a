//! The state of networks.

wire! {
    /// What a network's interface on the host looks like at this moment.
    pub struct NetworkState {
        /// Its addresses.
        pub addresses: Vec<NetworkStateAddress>,
        /// Its counters.
        pub counters: NetworkStateCounters,
        /// Its MAC address.
        pub hwaddr: String,
        /// Largest packet, in bytes.
        pub mtu: i64,
        /// `up` or `down`.
        pub state: String,
        /// `broadcast`, `loopback` …
        #[serde(rename = "type")]
        pub kind: String,
        /// Facts about a bond.
        pub bond: Option<NetworkStateBond>,
        /// Facts about a bridge.
        pub bridge: Option<NetworkStateBridge>,
        /// Facts about a VLAN.
        pub vlan: Option<NetworkStateVlan>,
        /// Facts about an OVN network.
        pub ovn: Option<NetworkStateOvn>,
    }

    /// An address of a network's interface.
    pub struct NetworkStateAddress {
        /// `inet` or `inet6`.
        pub family: String,
        /// The address.
        pub address: String,
        /// Length of the prefix, as text.
        pub netmask: String,
        /// `local`, `link` or `global`.
        pub scope: String,
    }

    /// Counters of a network's interface.
    pub struct NetworkStateCounters {
        /// Bytes in.
        pub bytes_received: i64,
        /// Bytes out.
        pub bytes_sent: i64,
        /// Packets in.
        pub packets_received: i64,
        /// Packets out.
        pub packets_sent: i64,
    }

    /// Facts about a bond.
    pub struct NetworkStateBond {
        /// Mode.
        pub mode: String,
        /// Policy by which packets are spread.
        pub transmit_policy: String,
        /// Milliseconds before a link that came up is used.
        pub up_delay: u64,
        /// Milliseconds before a link that went down is given up.
        pub down_delay: u64,
        /// Milliseconds between link checks.
        pub mii_frequency: u64,
        /// State of the link.
        pub mii_state: String,
        /// Its members.
        pub lower_devices: Vec<String>,
    }

    /// Facts about a bridge.
    pub struct NetworkStateBridge {
        /// Bridge id, as `8000.00163ecf68da`.
        pub id: String,
        /// Whether the spanning tree protocol is on.
        pub stp: bool,
        /// Forward delay, in hundredths of a second.
        pub forward_delay: u64,
        /// VLAN of untagged packets.
        pub vlan_default: u64,
        /// Whether VLANs are told apart.
        pub vlan_filtering: bool,
        /// Interfaces on the bridge.
        pub upper_devices: Vec<String>,
    }

    /// Facts about a VLAN.
    pub struct NetworkStateVlan {
        /// Interface beneath.
        pub lower_device: String,
        /// VLAN id.
        pub vid: u64,
    }

    /// Facts about an OVN network.
    pub struct NetworkStateOvn {
        /// Chassis that carries it.
        pub chassis: String,
    }
}
