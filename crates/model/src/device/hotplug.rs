//! `usb` and `unix-hotplug`: devices of the host by vendor and product, that may come and go.

use super::DeviceError;
use super::reader::Reader;
use super::unix::{NodeAccess, access};
use crate::key::Class::LowLevel;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::{Bool, Hex, Id, Line, Mode};
use crate::keys::{NEXT_START, row};

/// Keys of both kinds.
pub const KEYS: &[Key] = &[
    row("gid", Id, "0", NEXT_START, LowLevel, Yes, "Group of the nodes inside."),
    row("mode", Mode, "0660", NEXT_START, LowLevel, Yes, "Permission bits of the nodes inside."),
    row("productid", Hex, "", NEXT_START, LowLevel, Yes, "The product's number, in hexadecimal."),
    row("required", Bool, "false", NEXT_START, LowLevel, Yes, "Whether the instance starts only when such a device is there."),
    row("type", Line, "", NEXT_START, LowLevel, Yes, "`usb` or `unix-hotplug`."),
    row("uid", Id, "0", NEXT_START, LowLevel, Yes, "Owner of the nodes inside."),
    row("vendorid", Hex, "", NEXT_START, LowLevel, Yes, "The vendor's number, in hexadecimal."),
];

/// Devices by vendor and product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hotplug {
    /// Which nodes: of the USB device itself, or of what the kernel makes of it.
    pub nodes: HotplugNodes,
    /// The vendor, in lower case; absent: any.
    pub vendor: Option<String>,
    /// The product, in lower case; absent: any.
    pub product: Option<String>,
    /// Owner and permission bits of the nodes inside.
    pub access: NodeAccess,
    /// Whether the instance starts only when such a device is there.
    pub required: bool,
}

/// Which nodes of a device an instance gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HotplugNodes {
    /// The node of the bus, through which programs speak USB: `usb`.
    Bus,
    /// The nodes that the kernel's drivers make, such as `/dev/ttyUSB0`: `unix-hotplug`.
    Drivers,
}

/// Reads such a device.
pub(super) fn parse(reader: &Reader<'_>, nodes: HotplugNodes) -> Result<Hotplug, DeviceError> {
    let number = |key: &str| reader.keys.get(key).map(str::to_ascii_lowercase);
    let (vendor, product) = (number("vendorid"), number("productid"));
    if nodes == HotplugNodes::Drivers && vendor.is_none() && product.is_none() {
        return Err(reader.missing("vendorid"));
    }
    Ok(Hotplug { nodes, vendor, product, access: access(reader), required: reader.keys.flag("required", false) })
}

#[cfg(test)]
mod tests {
    use crate::device::tests::check;

    #[test]
    fn devices_that_come_and_go() {
        check(&[("type", "usb")], "fine");
        check(&[("type", "unix-hotplug"), ("vendorid", "046D"), ("mode", "0666")], "fine");
        check(&[("type", "unix-hotplug")], "device dev: key \"vendorid\" is missing");
        check(
            &[("type", "usb"), ("productid", "0x12")],
            "device dev: invalid value \"0x12\" for device configuration key \"productid\": it must be four hexadecimal digits such as 046d",
        );
    }
}
