//! What the host has: cards, disks and other devices.

use std::collections::BTreeMap;

wire! {
    /// Graphics cards.
    pub struct ResourcesGpu {
        /// The cards.
        pub cards: Vec<ResourcesGpuCard>,
        /// Number of cards.
        pub total: u64,
    }

    /// A graphics card.
    pub struct ResourcesGpuCard {
        /// Kernel driver.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver: String,
        /// Version of the driver.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver_version: String,
        /// Its DRM nodes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub drm: Option<ResourcesGpuCardDrm>,
        /// NUMA node.
        pub numa_node: u64,
        /// PCI address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub pci_address: String,
        /// Vendor.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub vendor: String,
        /// Vendor id.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub vendor_id: String,
        /// Product.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub product: String,
        /// Product id.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub product_id: String,
        /// USB address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub usb_address: String,
    }

    /// DRM nodes of a graphics card.
    pub struct ResourcesGpuCardDrm {
        /// Number.
        pub id: u64,
        /// Name of the card node.
        pub card_name: String,
        /// Device number of the card node.
        pub card_device: String,
        /// Name of the control node.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub control_name: String,
        /// Device number of the control node.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub control_device: String,
        /// Name of the render node.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub render_name: String,
        /// Device number of the render node.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub render_device: String,
    }

    /// Network cards.
    pub struct ResourcesNetwork {
        /// The cards.
        pub cards: Vec<ResourcesNetworkCard>,
        /// Number of cards.
        pub total: u64,
    }

    /// A network card.
    pub struct ResourcesNetworkCard {
        /// Kernel driver.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver: String,
        /// Version of the driver.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver_version: String,
        /// Its ports.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub ports: Vec<ResourcesNetworkCardPort>,
        /// NUMA node.
        pub numa_node: u64,
        /// PCI address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub pci_address: String,
        /// Vendor.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub vendor: String,
        /// Vendor id.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub vendor_id: String,
        /// Product.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub product: String,
        /// Product id.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub product_id: String,
        /// Version of the firmware.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub firmware_version: String,
        /// USB address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub usb_address: String,
    }

    /// A port of a network card.
    pub struct ResourcesNetworkCardPort {
        /// Name of the interface.
        pub id: String,
        /// MAC address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub address: String,
        /// Number.
        pub port: u64,
        /// `ethernet`, `infiniband` …
        pub protocol: String,
        /// Modes it can.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub supported_modes: Vec<String>,
        /// Kinds of port it can be.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub supported_ports: Vec<String>,
        /// Kind of port it is.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub port_type: String,
        /// `internal` or `external`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub transceiver_type: String,
        /// Whether speed is negotiated.
        pub auto_negotiation: bool,
        /// Whether a link is there.
        pub link_detected: bool,
        /// Speed, in Mbit/s.
        #[serde(skip_serializing_if = "is_zero")]
        pub link_speed: u64,
        /// `full` or `half`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub link_duplex: String,
    }

    /// Disks.
    pub struct ResourcesStorage {
        /// The disks.
        pub disks: Vec<ResourcesStorageDisk>,
        /// Number of disks and partitions.
        pub total: u64,
    }

    /// A disk.
    pub struct ResourcesStorageDisk {
        /// Name of the block device.
        pub id: String,
        /// Device number.
        pub device: String,
        /// Model.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub model: String,
        /// Bus: `nvme`, `sata`, `virtio` …
        #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
        pub kind: String,
        /// Whether it cannot be written.
        pub read_only: bool,
        /// Bytes.
        pub size: u64,
        /// Whether it can be taken out.
        pub removable: bool,
        /// World-wide name.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub wwn: String,
        /// NUMA node.
        pub numa_node: u64,
        /// Path below `/dev/disk/by-path`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub device_path: String,
        /// Bytes a block.
        pub block_size: u64,
        /// Version of the firmware.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub firmware_version: String,
        /// Rotations a minute; 0 for solid state.
        pub rpm: u64,
        /// Serial number.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub serial: String,
        /// Name below `/dev/disk/by-id`.
        pub device_id: String,
        /// Its partitions.
        pub partitions: Vec<ResourcesStorageDiskPartition>,
        /// PCI address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub pci_address: String,
        /// USB address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub usb_address: String,
    }

    /// A partition of a disk.
    pub struct ResourcesStorageDiskPartition {
        /// Name of the block device.
        pub id: String,
        /// Device number.
        pub device: String,
        /// Whether it cannot be written.
        pub read_only: bool,
        /// Bytes.
        pub size: u64,
        /// Number.
        pub partition: u64,
    }

    /// USB devices.
    pub struct ResourcesUsb {
        /// The devices.
        pub devices: Vec<ResourcesUsbDevice>,
        /// Number of devices.
        pub total: u64,
    }

    /// A USB device.
    pub struct ResourcesUsbDevice {
        /// Number of the bus.
        pub bus_address: u64,
        /// Number on the bus.
        pub device_address: u64,
        /// Its interfaces.
        pub interfaces: Vec<ResourcesUsbDeviceInterface>,
        /// Vendor.
        pub vendor: String,
        /// Vendor id.
        pub vendor_id: String,
        /// Product.
        pub product: String,
        /// Product id.
        pub product_id: String,
        /// Speed, in Mbit/s.
        pub speed: f64,
    }

    /// An interface of a USB device.
    pub struct ResourcesUsbDeviceInterface {
        /// Class.
        pub class: String,
        /// Number of the class.
        pub class_id: u64,
        /// Kernel driver.
        pub driver: String,
        /// Version of the driver.
        pub driver_version: String,
        /// Number.
        pub number: u64,
        /// Subclass.
        pub subclass: String,
        /// Number of the subclass.
        pub subclass_id: u64,
    }

    /// PCI devices.
    pub struct ResourcesPci {
        /// The devices.
        pub devices: Vec<ResourcesPciDevice>,
        /// Number of devices.
        pub total: u64,
    }

    /// A PCI device.
    pub struct ResourcesPciDevice {
        /// Kernel driver.
        pub driver: String,
        /// Version of the driver.
        pub driver_version: String,
        /// NUMA node.
        pub numa_node: u64,
        /// PCI address.
        pub pci_address: String,
        /// Vendor.
        pub vendor: String,
        /// Vendor id.
        pub vendor_id: String,
        /// Product.
        pub product: String,
        /// Product id.
        pub product_id: String,
        /// IOMMU group.
        pub iommu_group: u64,
        /// Vital product data.
        pub vpd: ResourcesPciVpd,
    }

    /// A PCI device's vital product data.
    pub struct ResourcesPciVpd {
        /// Product.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub product_name: String,
        /// Entries.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub entries: BTreeMap<String, String>,
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
