//! What the host has: processors, memory, the system itself.

use crate::{ResourcesGpu, ResourcesNetwork, ResourcesPci, ResourcesStorage, ResourcesUsb};

wire! {
    /// `GET /1.0/resources`.
    pub struct Resources {
        /// Processors.
        pub cpu: ResourcesCpu,
        /// Memory.
        pub memory: ResourcesMemory,
        /// Graphics cards.
        pub gpu: ResourcesGpu,
        /// Network cards.
        pub network: ResourcesNetwork,
        /// Disks.
        pub storage: ResourcesStorage,
        /// USB devices.
        pub usb: ResourcesUsb,
        /// PCI devices.
        pub pci: ResourcesPci,
        /// The machine.
        pub system: ResourcesSystem,
        /// How busy it is.
        pub load: ResourcesLoad,
    }

    /// How busy the host is. The names are those of newer servers.
    pub struct ResourcesLoad {
        /// Processes that ran or waited, on average over a minute.
        #[serde(rename = "Average1Min")]
        pub average_1_min: f64,
        /// Over five minutes.
        #[serde(rename = "Average5Min")]
        pub average_5_min: f64,
        /// Over the longest time that the kernel counts.
        #[serde(rename = "Average10Min")]
        pub average_10_min: f64,
        /// Processes and threads.
        #[serde(rename = "Processes")]
        pub processes: i64,
    }

    /// Processors.
    pub struct ResourcesCpu {
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Sockets.
        pub sockets: Vec<ResourcesCpuSocket>,
        /// Number of threads.
        pub total: u64,
    }

    /// A processor socket.
    pub struct ResourcesCpuSocket {
        /// Model.
        pub name: String,
        /// Vendor.
        pub vendor: String,
        /// Number.
        pub socket: u64,
        /// Its caches.
        pub cache: Vec<ResourcesCpuCache>,
        /// Its cores.
        pub cores: Vec<ResourcesCpuCore>,
        /// Frequency now, in MHz.
        #[serde(skip_serializing_if = "is_zero")]
        pub frequency: u64,
        /// Least frequency, in MHz.
        #[serde(skip_serializing_if = "is_zero")]
        pub frequency_minimum: u64,
        /// Greatest frequency, in MHz.
        #[serde(skip_serializing_if = "is_zero")]
        pub frequency_turbo: u64,
    }

    /// A processor cache.
    pub struct ResourcesCpuCache {
        /// Level.
        pub level: u64,
        /// `Data`, `Instruction` or `Unified`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Bytes.
        pub size: u64,
    }

    /// A processor core.
    pub struct ResourcesCpuCore {
        /// Number in the socket.
        pub core: u64,
        /// Die it is on.
        pub die: u64,
        /// Its threads.
        pub threads: Vec<ResourcesCpuThread>,
        /// Frequency now, in MHz.
        #[serde(skip_serializing_if = "is_zero")]
        pub frequency: u64,
    }

    /// A processor thread.
    pub struct ResourcesCpuThread {
        /// Number on the host.
        pub id: i64,
        /// NUMA node.
        pub numa_node: u64,
        /// Number in the core.
        pub thread: u64,
        /// Whether it is in use.
        pub online: bool,
        /// Whether the scheduler leaves it alone.
        pub isolated: bool,
    }

    /// Memory, in bytes.
    pub struct ResourcesMemory {
        /// NUMA nodes.
        pub nodes: Vec<ResourcesMemoryNode>,
        /// Memory in huge pages.
        pub hugepages_total: u64,
        /// Huge pages in use.
        pub hugepages_used: u64,
        /// Size of a huge page.
        pub hugepages_size: u64,
        /// In use.
        pub used: u64,
        /// All.
        pub total: u64,
    }

    /// Memory of a NUMA node, in bytes.
    pub struct ResourcesMemoryNode {
        /// Number.
        pub numa_node: u64,
        /// Huge pages in use.
        pub hugepages_used: u64,
        /// Memory in huge pages.
        pub hugepages_total: u64,
        /// In use.
        pub used: u64,
        /// All.
        pub total: u64,
    }

    /// The machine.
    pub struct ResourcesSystem {
        /// UUID.
        pub uuid: String,
        /// Vendor.
        pub vendor: String,
        /// Product.
        pub product: String,
        /// Product family.
        pub family: String,
        /// Version.
        pub version: String,
        /// Stock-keeping unit.
        pub sku: String,
        /// Serial number.
        pub serial: String,
        /// `physical`, `virtual-machine`, `container` or `unknown`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Firmware.
        pub firmware: Option<ResourcesSystemFirmware>,
        /// Chassis.
        pub chassis: Option<ResourcesSystemChassis>,
        /// Motherboard.
        pub motherboard: Option<ResourcesSystemMotherboard>,
    }

    /// A machine's firmware.
    pub struct ResourcesSystemFirmware {
        /// Vendor.
        pub vendor: String,
        /// Version.
        pub version: String,
        /// Date.
        pub date: String,
    }

    /// A machine's chassis.
    pub struct ResourcesSystemChassis {
        /// Vendor.
        pub vendor: String,
        /// Kind.
        #[serde(rename = "type")]
        pub kind: String,
        /// Serial number.
        pub serial: String,
        /// Version.
        pub version: String,
    }

    /// A machine's motherboard.
    pub struct ResourcesSystemMotherboard {
        /// Vendor.
        pub vendor: String,
        /// Product.
        pub product: String,
        /// Serial number.
        pub serial: String,
        /// Version.
        pub version: String,
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
