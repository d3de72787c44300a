//! What the host has, as sysfs and procfs tell. What cannot be read is left out.
//!
//! Source: `Documentation/ABI/testing/sysfs-*` of Linux; proc(5).

mod cpu;
mod devices;
mod gpu;
mod load;
mod memory;
mod names;
mod usb;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use coffer_api::{Resources, ResourcesSystem, ResourcesSystemChassis, ResourcesSystemFirmware, ResourcesSystemMotherboard};

/// Everything that the host has.
#[must_use]
pub fn resources() -> Resources {
    let (pci, usb) = (names::Names::load("pci.ids"), names::Names::load("usb.ids"));
    Resources {
        cpu: cpu::read(),
        memory: memory::read(),
        gpu: gpu::read(&pci),
        network: devices::network(&pci),
        storage: devices::storage(),
        usb: usb::read(&usb),
        pci: devices::pci(&pci),
        system: system(),
        load: load::read(),
    }
}

/// The machine, from the tables of its firmware.
fn system() -> ResourcesSystem {
    let dmi = |name: &str| text(&Path::new("/sys/class/dmi/id").join(name)).unwrap_or_default();
    let firmware = !dmi("bios_vendor").is_empty();
    let virtual_machine = text(Path::new("/proc/cpuinfo")).is_some_and(|text| text.split_whitespace().any(|word| word == "hypervisor"));
    ResourcesSystem {
        uuid: dmi("product_uuid"),
        vendor: dmi("sys_vendor"),
        product: dmi("product_name"),
        family: dmi("product_family"),
        version: dmi("product_version"),
        sku: dmi("product_sku"),
        serial: dmi("product_serial"),
        kind: if virtual_machine { "virtual-machine" } else { "physical" }.into(),
        firmware: firmware.then(|| ResourcesSystemFirmware {
            vendor: dmi("bios_vendor"),
            version: dmi("bios_version"),
            date: dmi("bios_date"),
        }),
        chassis: firmware.then(|| ResourcesSystemChassis {
            vendor: dmi("chassis_vendor"),
            kind: dmi("chassis_type"),
            serial: dmi("chassis_serial"),
            version: dmi("chassis_version"),
        }),
        motherboard: firmware.then(|| ResourcesSystemMotherboard {
            vendor: dmi("board_vendor"),
            product: dmi("board_name"),
            serial: dmi("board_serial"),
            version: dmi("board_version"),
        }),
    }
}

/// A file's content without the space around it.
fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A file's content as a value.
fn value<T: FromStr>(path: &Path) -> Option<T> {
    text(path)?.parse().ok()
}

/// The entries of a directory, sorted.
fn entries(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The last part of a path.
fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The last part of what a symbolic link points to.
fn link_name(path: &Path) -> Option<String> {
    fs::read_link(path).ok().map(|target| name(&target))
}

/// The entries of a directory whose names are `prefix` and a number, with the number, in its order.
fn numbered(path: &Path, prefix: &str) -> Vec<(u64, PathBuf)> {
    let number = |path: &Path| name(path).strip_prefix(prefix)?.parse().ok();
    let mut found: Vec<(u64, PathBuf)> = entries(path).into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_processors_and_memory() {
        let resources = resources();
        let threads: usize = resources.cpu.sockets.iter().flat_map(|socket| &socket.cores).map(|core| core.threads.len()).sum();
        assert!(threads > 0 && threads as u64 >= resources.cpu.total);
        assert!(resources.memory.total > resources.memory.used);
        assert!(resources.network.cards.len() as u64 == resources.network.total);
    }
}
