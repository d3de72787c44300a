//! Device nodes that the host has now, with the vendor and product that they belong to.

use std::path::{Path, PathBuf};

use coffer_model::device::{Hotplug, HotplugNodes, NodeKind};
use coffer_sys::netlink::uevent::Uevent;

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNode {
    /// Its name below `/dev`.
    pub name: String,
    /// Character or block.
    pub kind: NodeKind,
    /// Major and minor number.
    pub number: (u32, u32),
    /// It is the bus's own node of a USB device.
    of_bus: bool,
    /// Vendor and product in lower case, four digits each, where it belongs to a USB device.
    product: Option<(String, String)>,
}

impl HostNode {
    /// Says whether it is one of those that a device asks for.
    #[must_use]
    pub fn fits(&self, asked: &Hotplug) -> bool {
        let Some((vendor, product)) = &self.product else { return false };
        let same = |asked: &Option<String>, is: &String| asked.as_ref().is_none_or(|asked| asked == is);
        self.of_bus == (asked.nodes == HotplugNodes::Bus) && same(&asked.vendor, vendor) && same(&asked.product, product)
    }

    /// Reads the node that a message is about, if it is about one.
    #[must_use]
    pub fn of_event(event: &Uevent) -> Option<Self> {
        let field = |key: &str| event.get(key).map(ToOwned::to_owned);
        // The path is the kernel's own.
        let directory = PathBuf::from(format!("/sys{}", event.get("DEVPATH")?));
        Self::read(field, &directory, event.get("SUBSYSTEM") == Some("block"))
    }

    fn read(field: impl Fn(&str) -> Option<String>, directory: &Path, is_block: bool) -> Option<Self> {
        let name = field("DEVNAME")?;
        // The kernel writes names of several levels with slashes, never dots.
        if name.starts_with('/') || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return None;
        }
        let number = (field("MAJOR")?.parse().ok()?, field("MINOR")?.parse().ok()?);
        let of_bus = field("DEVTYPE").as_deref() == Some("usb_device");
        let product = field("PRODUCT").filter(|_| of_bus).and_then(|text| from_event(&text)).or_else(|| above(directory));
        let kind = if is_block { NodeKind::Block } else { NodeKind::Char };
        Some(Self { name, kind, number, of_bus, product })
    }
}

/// Lists the host's device nodes.
#[must_use]
pub fn all() -> Vec<HostNode> {
    let of = |kind: &str| {
        let entries = std::fs::read_dir(format!("/sys/dev/{kind}")).into_iter().flatten().flatten();
        let is_block = kind == "block";
        entries.filter_map(|entry| node(&entry.path(), is_block)).collect::<Vec<_>>()
    };
    [of("char"), of("block")].concat()
}

fn node(link: &Path, is_block: bool) -> Option<HostNode> {
    let text = std::fs::read_to_string(link.join("uevent")).ok()?;
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(ToOwned::to_owned);
    HostNode::read(field, &std::fs::canonicalize(link).ok()?, is_block)
}

/// Reads `46d/c52b/1201`.
fn from_event(text: &str) -> Option<(String, String)> {
    let mut parts = text.split('/').map(|part| u16::from_str_radix(part, 16).ok());
    Some((format!("{:04x}", parts.next()??), format!("{:04x}", parts.next()??)))
}

/// Looks for the USB device that something is part of.
fn above(directory: &Path) -> Option<(String, String)> {
    let read = |directory: &Path, file: &str| std::fs::read_to_string(directory.join(file)).ok().map(|text| text.trim().to_lowercase());
    directory
        .ancestors()
        .take_while(|path| *path != Path::new("/sys"))
        .find_map(|path| Some((read(path, "idVendor")?, read(path, "idProduct")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_model::device::NodeAccess;
    use coffer_model::key::{Mode, Owner};

    fn event(fields: &[(&str, &str)]) -> Uevent {
        Uevent { fields: fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect() }
    }

    fn asked(nodes: HotplugNodes, vendor: Option<&str>, product: Option<&str>) -> Hotplug {
        let access = NodeAccess { owner: Owner { uid: 0, gid: 0 }, mode: Mode(0o660) };
        Hotplug { nodes, vendor: vendor.map(Into::into), product: product.map(Into::into), access, required: false }
    }

    #[test]
    fn a_message_names_the_node_of_a_bus() {
        let fields = [
            ("DEVPATH", "/devices/no/such"),
            ("DEVNAME", "bus/usb/001/002"),
            ("DEVTYPE", "usb_device"),
            ("PRODUCT", "46d/c52b/1201"),
            ("MAJOR", "189"),
            ("MINOR", "1"),
        ];
        let node = HostNode::of_event(&event(&fields)).unwrap();
        assert_eq!((node.name.as_str(), node.number, node.kind), ("bus/usb/001/002", (189, 1), NodeKind::Char));
        assert!(node.fits(&asked(HotplugNodes::Bus, Some("046d"), None)));
        assert!(!node.fits(&asked(HotplugNodes::Bus, Some("046d"), Some("0001"))));
        assert!(!node.fits(&asked(HotplugNodes::Drivers, Some("046d"), None)));
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        assert_eq!(HostNode::of_event(&event(&[("DEVPATH", "/x"), ("DEVNAME", "../sda"), ("MAJOR", "8"), ("MINOR", "0")])), None);
    }
}
