//! The state of instances.

use std::collections::BTreeMap;

use crate::StatusCode;

wire! {
    /// What an instance does and uses at this moment.
    pub struct InstanceState {
        /// Text of `status_code`.
        pub status: String,
        /// Running, Stopped, Frozen, Error …
        pub status_code: StatusCode,
        /// Use of disk devices, by device.
        pub disk: BTreeMap<String, InstanceStateDisk>,
        /// Use of memory.
        pub memory: InstanceStateMemory,
        /// Network interfaces inside, by name.
        pub network: BTreeMap<String, InstanceStateNetwork>,
        /// Host's process id of the instance's init; 0 if it does not run.
        pub pid: i64,
        /// Number of processes; -1 if unknown.
        pub processes: i64,
        /// Use of processors.
        pub cpu: InstanceStateCpu,
        /// `starting`, `healthy` or `unhealthy`; empty where nothing is checked. Ours: see the keys `health.*`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub health: String,
    }

    /// Use of one disk device.
    pub struct InstanceStateDisk {
        /// Bytes.
        pub usage: i64,
    }

    /// Use of processors.
    pub struct InstanceStateCpu {
        /// Nanoseconds since the start.
        pub usage: i64,
    }

    /// Use of memory, in bytes.
    pub struct InstanceStateMemory {
        /// Now.
        pub usage: i64,
        /// At most so far.
        pub usage_peak: i64,
        /// Swap now.
        pub swap_usage: i64,
        /// Swap at most so far.
        pub swap_usage_peak: i64,
    }

    /// A network interface inside an instance.
    pub struct InstanceStateNetwork {
        /// Its addresses.
        pub addresses: Vec<InstanceStateNetworkAddress>,
        /// Its counters.
        pub counters: InstanceStateNetworkCounters,
        /// Its MAC address.
        pub hwaddr: String,
        /// Name of the host's end of the pair.
        pub host_name: String,
        /// Largest packet, in bytes.
        pub mtu: i64,
        /// `up` or `down`.
        pub state: String,
        /// `broadcast`, `loopback`, `point-to-point` …
        #[serde(rename = "type")]
        pub kind: String,
    }

    /// An address of an interface inside an instance.
    pub struct InstanceStateNetworkAddress {
        /// `inet` or `inet6`.
        pub family: String,
        /// The address.
        pub address: String,
        /// Length of the prefix, as text.
        pub netmask: String,
        /// `local`, `link` or `global`.
        pub scope: String,
    }

    /// Counters of an interface inside an instance.
    pub struct InstanceStateNetworkCounters {
        /// Bytes in.
        pub bytes_received: i64,
        /// Bytes out.
        pub bytes_sent: i64,
        /// Packets in.
        pub packets_received: i64,
        /// Packets out.
        pub packets_sent: i64,
        /// Packets in with errors.
        pub errors_received: i64,
        /// Packets out with errors.
        pub errors_sent: i64,
        /// Packets out that were dropped.
        pub packets_dropped_outbound: i64,
        /// Packets in that were dropped.
        pub packets_dropped_inbound: i64,
    }

    /// What to wait for. Ours: other servers have no such request.
    pub struct InstanceWaitPost {
        /// `init`, `network`, `ipv4`, `ipv6`, `ready`, `healthy`, `cloud-init`, `port:N`, `cmd:COMMAND`; all of them are waited for.
        pub conditions: Vec<String>,
        /// Seconds after which the operation fails, with `timed_out` in its metadata; 0 and less wait for ever.
        pub timeout: i64,
    }

    /// `PUT /1.0/instances/{name}/state`.
    pub struct InstanceStatePut {
        /// `start`, `stop`, `restart`, `freeze` or `unfreeze`. Ours alone: `start-or-unfreeze`, for whichever of the two it needs.
        pub action: String,
        /// Seconds until a stop is forced; -1 waits for ever, 0 kills at once.
        pub timeout: i64,
        /// Whether to kill instead of asking.
        pub force: bool,
        /// Whether running state is stored or restored.
        pub stateful: bool,
    }
}
