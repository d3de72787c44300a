//! What the server's host has, as text.

use std::fmt::Write;

use coffer_api::{Resources, ResourcesCpuSocket, ResourcesNetworkCard, ResourcesStorageDisk};

use crate::render::{binary_size, clean};

/// Writes all resources for people.
pub(super) fn text(resources: &Resources) -> String {
    let mut out = String::new();
    let cpus = &resources.cpu.sockets;
    match cpus.as_slice() {
        [cpu] => {
            let _ = writeln!(out, "CPU ({}):", clean(&resources.cpu.architecture));
            cpu_text(cpu, "  ", &mut out);
        }
        _ => {
            let _ = writeln!(out, "CPUs ({}):", clean(&resources.cpu.architecture));
            for cpu in cpus {
                let _ = writeln!(out, "  Socket {}:", cpu.socket);
                cpu_text(cpu, "    ", &mut out);
            }
        }
    }
    let size = |bytes: u64| binary_size(i64::try_from(bytes).unwrap_or(i64::MAX));
    let memory = &resources.memory;
    out.push_str("\nMemory:\n");
    if memory.hugepages_total > 0 {
        out.push_str("  Hugepages:\n");
        let free = size(memory.hugepages_total.saturating_sub(memory.hugepages_used));
        let _ = writeln!(out, "    Free: {free}\n    Used: {}\n    Total: {}", size(memory.hugepages_used), size(memory.hugepages_total));
    }
    let free = size(memory.total.saturating_sub(memory.used));
    let _ = writeln!(out, "  Free: {free}\n  Used: {}\n  Total: {}", size(memory.used), size(memory.total));
    several("NIC", "NICs", "Card", &resources.network.cards, &mut out, nic_text);
    several("Disk", "Disks", "Disk", &resources.storage.disks, &mut out, disk_text);
    out
}

/// Writes one item under its own heading, several under a common one.
fn several<T>(one: &str, many: &str, each: &str, items: &[T], out: &mut String, text: fn(&T, &str, &mut String)) {
    match items {
        [] => {}
        [item] => {
            let _ = writeln!(out, "\n{one}:");
            text(item, "  ", out);
        }
        items => {
            let _ = writeln!(out, "\n{many}:");
            for (number, item) in items.iter().enumerate() {
                let _ = writeln!(out, "  {each} {number}:");
                text(item, "    ", out);
            }
        }
    }
}

fn cpu_text(cpu: &ResourcesCpuSocket, indent: &str, out: &mut String) {
    field(out, indent, "Vendor", &cpu.vendor);
    field(out, indent, "Name", &cpu.name);
    if !cpu.cache.is_empty() {
        let _ = writeln!(out, "{indent}Caches:");
        for cache in &cpu.cache {
            let kibibytes = cache.size / 1024;
            let size = if kibibytes >= 1024 { format!("{}MiB", kibibytes / 1024) } else { format!("{kibibytes}KiB") };
            let _ = writeln!(out, "{indent}  - Level {} (type: {}): {size}", cache.level, clean(&cache.kind));
        }
    }
    let _ = writeln!(out, "{indent}Cores:");
    for core in &cpu.cores {
        let _ = writeln!(out, "{indent}  - Core {}\n{indent}    Frequency: {}Mhz\n{indent}    Threads:", core.core, core.frequency);
        for thread in &core.threads {
            let (number, id, online, node) = (thread.thread, thread.id, thread.online, thread.numa_node);
            let _ = writeln!(out, "{indent}      - {number} (id: {id}, online: {online}, NUMA node: {node})");
        }
    }
    if cpu.frequency > 0 {
        let _ =
            writeln!(out, "{indent}Frequency: {}Mhz (min: {}Mhz, max: {}Mhz)", cpu.frequency, cpu.frequency_minimum, cpu.frequency_turbo);
    }
}

fn nic_text(card: &ResourcesNetworkCard, indent: &str, out: &mut String) {
    let _ = writeln!(out, "{indent}NUMA node: {}", card.numa_node);
    with_id(out, indent, "Vendor", &card.vendor, &card.vendor_id);
    with_id(out, indent, "Product", &card.product, &card.product_id);
    field(out, indent, "PCI address", &card.pci_address);
    with_id(out, indent, "Driver", &card.driver, &card.driver_version);
    if !card.ports.is_empty() {
        let _ = writeln!(out, "{indent}Ports:");
    }
    for port in &card.ports {
        let _ = writeln!(out, "{indent}  - Port {} ({})\n{indent}    ID: {}", port.port, clean(&port.protocol), clean(&port.id));
        let deeper = format!("{indent}    ");
        field(out, &deeper, "Address", &port.address);
        field(out, &deeper, "Port type", &port.port_type);
        field(out, &deeper, "Transceiver type", &port.transceiver_type);
        let _ = writeln!(out, "{deeper}Auto negotiation: {}\n{deeper}Link detected: {}", port.auto_negotiation, port.link_detected);
        if port.link_detected && port.link_speed > 0 {
            let _ = writeln!(out, "{deeper}Link speed: {}Mbit/s ({} duplex)", port.link_speed, clean(&port.link_duplex));
        }
    }
}

fn disk_text(disk: &ResourcesStorageDisk, indent: &str, out: &mut String) {
    let size = |bytes: u64| binary_size(i64::try_from(bytes).unwrap_or(i64::MAX));
    let _ = writeln!(out, "{indent}NUMA node: {}", disk.numa_node);
    field(out, indent, "ID", &disk.id);
    field(out, indent, "Device", &disk.device);
    field(out, indent, "Model", &disk.model);
    field(out, indent, "Type", &disk.kind);
    let _ = writeln!(out, "{indent}Size: {}", size(disk.size));
    field(out, indent, "WWN", &disk.wwn);
    let _ = writeln!(out, "{indent}Read-Only: {}\n{indent}Removable: {}", disk.read_only, disk.removable);
    if !disk.partitions.is_empty() {
        let _ = writeln!(out, "{indent}Partitions:");
    }
    for partition in &disk.partitions {
        let _ = writeln!(out, "{indent}  - Partition {}\n{indent}    ID: {}", partition.partition, clean(&partition.id));
        let (device, size, read_only) = (clean(&partition.device), size(partition.size), partition.read_only);
        let _ = writeln!(out, "{indent}    Device: {device}\n{indent}    Read-Only: {read_only}\n{indent}    Size: {size}");
    }
}

fn field(out: &mut String, indent: &str, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "{indent}{name}: {}", clean(value));
    }
}

fn with_id(out: &mut String, indent: &str, name: &str, value: &str, id: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "{indent}{name}: {} ({})", clean(value), clean(id));
    }
}
