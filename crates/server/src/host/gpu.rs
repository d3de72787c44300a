//! Graphics cards.
//!
//! Source: `Documentation/gpu/drm-uapi.rst` of Linux: minors below 64 are cards, from 128 on render nodes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coffer_api::{ResourcesGpu, ResourcesGpuCard, ResourcesGpuCardDrm};

use super::devices::{hexadecimal, node, pci_ancestor};
use super::names::Names;
use super::{entries, link_name, name, text};

/// The first two digits of the class of PCI devices that show something.
const DISPLAY: &str = "0x03";

/// Reads the graphics cards: those with DRM nodes, and PCI devices of that class without a driver.
pub fn read(names: &Names) -> ResourcesGpu {
    let mut cards: BTreeMap<PathBuf, Option<ResourcesGpuCardDrm>> = BTreeMap::new();
    for path in entries(Path::new("/sys/class/drm")) {
        let node = name(&path);
        if let Some(id) = node.strip_prefix("card").and_then(|id| id.parse().ok())
            && let Ok(device) = path.join("device").canonicalize()
        {
            cards.insert(device.clone(), Some(drm(id, &path, &device)));
        }
    }
    for path in entries(Path::new("/sys/bus/pci/devices")) {
        if text(&path.join("class")).is_some_and(|class| class.starts_with(DISPLAY))
            && let Ok(device) = path.canonicalize()
        {
            cards.entry(device).or_default();
        }
    }
    let cards: Vec<_> = cards.into_iter().map(|(device, drm)| card(&device, drm, names)).collect();
    ResourcesGpu { total: cards.len() as u64, cards }
}

fn card(device: &Path, drm: Option<ResourcesGpuCardDrm>, names: &Names) -> ResourcesGpuCard {
    let driver = device.join("driver");
    let pci = pci_ancestor(device);
    let id = |file: &str| pci.as_ref().map(|pci| hexadecimal(&pci.join(file))).unwrap_or_default();
    let (vendor_id, product_id) = (id("vendor"), id("device"));
    ResourcesGpuCard {
        driver: link_name(&driver).unwrap_or_default(),
        driver_version: text(&driver.join("module/version")).unwrap_or_default(),
        drm,
        numa_node: node(device),
        pci_address: pci.as_ref().map(|pci| name(pci)).unwrap_or_default(),
        vendor: names.vendor(&vendor_id).unwrap_or_default().to_owned(),
        product: names.product(&vendor_id, &product_id).unwrap_or_default().to_owned(),
        vendor_id,
        product_id,
        ..ResourcesGpuCard::default()
    }
}

fn drm(id: u64, card: &Path, device: &Path) -> ResourcesGpuCardDrm {
    let nodes = entries(&device.join("drm"));
    let find = |prefix: &str| nodes.iter().find(|path| name(path).starts_with(prefix));
    let named = |prefix: &str| find(prefix).map(|path| name(path)).unwrap_or_default();
    let number = |prefix: &str| find(prefix).and_then(|path| text(&path.join("dev"))).unwrap_or_default();
    ResourcesGpuCardDrm {
        id,
        card_name: name(card),
        card_device: text(&card.join("dev")).unwrap_or_default(),
        control_name: named("controlD"),
        control_device: number("controlD"),
        render_name: named("renderD"),
        render_device: number("renderD"),
    }
}
