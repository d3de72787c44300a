//! USB devices.
//!
//! Source: `Documentation/ABI/stable/sysfs-bus-usb` of Linux.

use std::path::Path;

use coffer_api::{ResourcesUsb, ResourcesUsbDevice, ResourcesUsbDeviceInterface};

use super::names::Names;
use super::{entries, link_name, name, text, value};

/// Reads the USB devices. Hubs that are the host's own are left out, as they cannot be passed on.
pub fn read(names: &Names) -> ResourcesUsb {
    let all = entries(Path::new("/sys/bus/usb/devices"));
    // Devices are named by bus and ports, `1-2.3`; interfaces have a colon behind that, roots of buses are `usb1`.
    let devices: Vec<_> = all.iter().filter(|path| is_device(&name(path))).filter_map(|path| device(path, names)).collect();
    ResourcesUsb { total: devices.len() as u64, devices }
}

fn is_device(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit()) && !name.contains(':')
}

fn device(path: &Path, names: &Names) -> Option<ResourcesUsbDevice> {
    let file = |name: &str| text(&path.join(name)).unwrap_or_default();
    let (vendor_id, product_id) = (file("idVendor"), file("idProduct"));
    let inside = entries(path).into_iter().filter(|entry| name(entry).contains(':'));
    let named = |known: Option<&str>, own: &str| known.map_or_else(|| file(own), str::to_owned);
    Some(ResourcesUsbDevice {
        bus_address: value(&path.join("busnum"))?,
        device_address: value(&path.join("devnum"))?,
        interfaces: inside.filter_map(|path| interface(&path)).collect(),
        vendor: named(names.vendor(&vendor_id), "manufacturer"),
        product: named(names.product(&vendor_id, &product_id), "product"),
        vendor_id,
        product_id,
        speed: value(&path.join("speed")).unwrap_or(0.0),
    })
}

fn interface(path: &Path) -> Option<ResourcesUsbDeviceInterface> {
    let number = |name: &str| u64::from_str_radix(&text(&path.join(name))?, 16).ok();
    let class_id = number("bInterfaceClass")?;
    Some(ResourcesUsbDeviceInterface {
        class: class(class_id).into(),
        class_id,
        driver: link_name(&path.join("driver")).unwrap_or_default(),
        driver_version: text(&path.join("driver/module/version")).unwrap_or_default(),
        number: number("bInterfaceNumber")?,
        subclass: String::new(),
        subclass_id: number("bInterfaceSubClass").unwrap_or(0),
    })
}

/// The words for a class of interfaces. Source: usb.org, "Defined Class Codes".
fn class(id: u64) -> &'static str {
    match id {
        0x01 => "Audio",
        0x02 => "Communications",
        0x03 => "Human Interface Device",
        0x05 => "Physical Interface Device",
        0x06 => "Imaging",
        0x07 => "Printer",
        0x08 => "Mass Storage",
        0x09 => "Hub",
        0x0a => "CDC Data",
        0x0b => "Chip/SmartCard",
        0x0d => "Content Security",
        0x0e => "Video",
        0xdc => "Diagnostic",
        0xe0 => "Wireless",
        0xef => "Miscellaneous Device",
        0xfe => "Application Specific Interface",
        0xff => "Vendor Specific Class",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_from_interfaces_and_buses() {
        let is = ["1-2", "1-2.3", "usb1", "1-0:1.0", "2-1:1.1"].map(is_device);
        assert_eq!(is, [true, true, false, false, false]);
    }

    #[test]
    fn a_device_is_read_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-2");
        let write = |place: &str, text: &str| {
            let file = path.join(place);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        for (place, text) in [
            ("idVendor", "0781\n"),
            ("idProduct", "5567\n"),
            ("busnum", "1\n"),
            ("devnum", "4\n"),
            ("speed", "1.5\n"),
            ("manufacturer", "SanDisk\n"),
            ("1-2:1.0/bInterfaceClass", "08\n"),
            ("1-2:1.0/bInterfaceNumber", "00\n"),
            ("1-2:1.0/bInterfaceSubClass", "06\n"),
        ] {
            write(place, text);
        }
        let names = Names::parse("0781  SanDisk Corp.\n\t5567  Cruzer Blade\n0782  Else\n\t5567  No\n");
        let read = device(&path, &names).unwrap();
        assert_eq!((read.vendor.as_str(), read.product.as_str(), read.speed), ("SanDisk Corp.", "Cruzer Blade", 1.5));
        assert_eq!((read.interfaces[0].class.as_str(), read.interfaces[0].subclass_id), ("Mass Storage", 6));
        let bare = device(&path, &Names::default()).unwrap();
        assert_eq!((bare.vendor.as_str(), bare.product.as_str(), bare.device_address), ("SanDisk", "", 4));
    }
}
