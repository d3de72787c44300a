//! Network cards, disks and PCI devices.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use coffer_api::{
    ResourcesNetwork, ResourcesNetworkCard, ResourcesNetworkCardPort, ResourcesPci, ResourcesPciDevice, ResourcesStorage,
    ResourcesStorageDisk, ResourcesStorageDiskPartition,
};

use super::names::Names;
use super::{entries, link_name, name, text, value};

/// Bytes of a sector, in which sysfs counts whatever the disk does.
const SECTOR: u64 = 512;

/// Network cards: the interfaces that have a device behind them.
pub fn network(names: &Names) -> ResourcesNetwork {
    let interfaces = entries(Path::new("/sys/class/net")).into_iter().filter(|path| path.join("device").exists());
    let cards: Vec<_> = interfaces.map(|path| card(&path, names)).collect();
    ResourcesNetwork { total: cards.len() as u64, cards }
}

fn card(interface: &Path, names: &Names) -> ResourcesNetworkCard {
    let device = interface.join("device");
    let driver = device.join("driver");
    let pci = pci_ancestor(&device);
    let id = |file: &str| pci.as_ref().map(|pci| hexadecimal(&pci.join(file))).unwrap_or_default();
    let (vendor_id, product_id) = (id("vendor"), id("device"));
    let duplex = text(&interface.join("duplex")).filter(|duplex| duplex != "unknown");
    let speed: Option<i64> = value(&interface.join("speed"));
    ResourcesNetworkCard {
        driver: link_name(&driver).unwrap_or_default(),
        driver_version: text(&driver.join("module/version")).unwrap_or_default(),
        ports: vec![ResourcesNetworkCardPort {
            id: name(interface),
            address: text(&interface.join("address")).unwrap_or_default(),
            port: value(&interface.join("dev_port")).unwrap_or(0),
            protocol: if text(&interface.join("type")).as_deref() == Some("32") { "infiniband" } else { "ethernet" }.into(),
            link_detected: text(&interface.join("carrier")).as_deref() == Some("1"),
            link_speed: speed.and_then(|speed| u64::try_from(speed).ok()).unwrap_or(0),
            link_duplex: duplex.unwrap_or_default(),
            ..ResourcesNetworkCardPort::default()
        }],
        numa_node: node(&device),
        pci_address: pci.as_ref().map(|pci| name(pci)).unwrap_or_default(),
        vendor: names.vendor(&vendor_id).unwrap_or_default().to_owned(),
        product: names.product(&vendor_id, &product_id).unwrap_or_default().to_owned(),
        vendor_id,
        product_id,
        usb_address: usb_ancestor(&device).unwrap_or_default(),
        ..ResourcesNetworkCard::default()
    }
}

/// Disks: the block devices that have a device behind them.
pub fn storage() -> ResourcesStorage {
    let disks = entries(Path::new("/sys/block")).into_iter().filter(|path| path.join("device").exists());
    let (by_id, by_path) = (links(Path::new("/dev/disk/by-id")), links(Path::new("/dev/disk/by-path")));
    let disks: Vec<_> = disks.map(|path| disk(&path, &by_id, &by_path)).collect();
    let partitions: usize = disks.iter().map(|disk| disk.partitions.len()).sum();
    ResourcesStorage { total: (disks.len() + partitions) as u64, disks }
}

/// Names of block devices by the names that a directory of links has for them; of several the first counts.
fn links(directory: &Path) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for link in entries(directory) {
        if let Some(device) = link_name(&link) {
            found.entry(device).or_insert_with(|| name(&link));
        }
    }
    found
}

fn disk(block: &Path, by_id: &HashMap<String, String>, by_path: &HashMap<String, String>) -> ResourcesStorageDisk {
    let device = block.join("device");
    let id = name(block);
    let kind = ["nvme", "mmcblk", "sr"].into_iter().find(|prefix| id.starts_with(prefix)).map(|prefix| match prefix {
        "mmcblk" => "mmc",
        "sr" => "cdrom",
        other => other,
    });
    let kind = kind.map(str::to_owned).or_else(|| link_name(&device.join("subsystem"))).unwrap_or_default();
    ResourcesStorageDisk {
        device: text(&block.join("dev")).unwrap_or_default(),
        model: text(&device.join("model")).unwrap_or_default(),
        kind,
        read_only: flag(&block.join("ro")),
        size: sectors(block),
        removable: flag(&block.join("removable")),
        wwn: text(&block.join("wwid")).unwrap_or_default(),
        numa_node: node(&device),
        block_size: value(&block.join("queue/physical_block_size")).unwrap_or(0),
        firmware_version: text(&device.join("firmware_rev")).unwrap_or_default(),
        rpm: u64::from(flag(&block.join("queue/rotational"))),
        serial: text(&device.join("serial")).or_else(|| text(&block.join("serial"))).unwrap_or_default(),
        partitions: partitions(block),
        pci_address: pci_ancestor(&device).map(|pci| name(&pci)).unwrap_or_default(),
        usb_address: usb_ancestor(&device).unwrap_or_default(),
        device_id: by_id.get(&id).cloned().unwrap_or_default(),
        device_path: by_path.get(&id).cloned().unwrap_or_default(),
        id,
    }
}

fn partitions(block: &Path) -> Vec<ResourcesStorageDiskPartition> {
    let partition = |path: PathBuf| {
        Some(ResourcesStorageDiskPartition {
            partition: value(&path.join("partition"))?,
            device: text(&path.join("dev"))?,
            read_only: flag(&path.join("ro")),
            size: sectors(&path),
            id: name(&path),
        })
    };
    entries(block).into_iter().filter_map(partition).collect()
}

/// PCI devices.
pub fn pci(names: &Names) -> ResourcesPci {
    let devices: Vec<_> = entries(Path::new("/sys/bus/pci/devices")).iter().map(|path| pci_device(path, names)).collect();
    ResourcesPci { total: devices.len() as u64, devices }
}

fn pci_device(path: &Path, names: &Names) -> ResourcesPciDevice {
    let (vendor_id, product_id) = (hexadecimal(&path.join("vendor")), hexadecimal(&path.join("device")));
    let driver = path.join("driver");
    ResourcesPciDevice {
        driver: link_name(&driver).unwrap_or_default(),
        driver_version: text(&driver.join("module/version")).unwrap_or_default(),
        numa_node: node(path),
        pci_address: name(path),
        vendor: names.vendor(&vendor_id).unwrap_or_default().to_owned(),
        product: names.product(&vendor_id, &product_id).unwrap_or_default().to_owned(),
        vendor_id,
        product_id,
        iommu_group: link_name(&path.join("iommu_group")).and_then(|group| group.parse().ok()).unwrap_or(0),
        ..ResourcesPciDevice::default()
    }
}

/// The nearest PCI device that a device hangs on.
pub(super) fn pci_ancestor(device: &Path) -> Option<PathBuf> {
    let path = device.canonicalize().ok()?;
    path.ancestors().find(|path| link_name(&path.join("subsystem")).as_deref() == Some("pci")).map(Path::to_owned)
}

/// The address, `bus:device`, of the nearest USB device that a device hangs on.
fn usb_ancestor(device: &Path) -> Option<String> {
    let path = device.canonicalize().ok()?;
    let number = |path: &Path, file: &str| value::<u64>(&path.join(file));
    path.ancestors().find_map(|path| Some(format!("{}:{}", number(path, "busnum")?, number(path, "devnum")?)))
}

pub(super) fn hexadecimal(path: &Path) -> String {
    text(path).map(|text| text.trim_start_matches("0x").to_owned()).unwrap_or_default()
}

pub(super) fn node(device: &Path) -> u64 {
    value::<i64>(&device.join("numa_node")).and_then(|node| u64::try_from(node).ok()).unwrap_or(0)
}

fn flag(path: &Path) -> bool {
    text(path).as_deref() == Some("1")
}

fn sectors(block: &Path) -> u64 {
    value::<u64>(&block.join("size")).unwrap_or(0) * SECTOR
}
