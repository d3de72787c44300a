//! Memory.

use std::path::Path;

use coffer_api::{ResourcesMemory, ResourcesMemoryNode};

use super::{numbered, text};

/// Reads the memory: all, and by NUMA node.
pub fn read() -> ResourcesMemory {
    let facts = text(Path::new("/proc/meminfo")).unwrap_or_default();
    let total = bytes(&facts, "MemTotal");
    let page = bytes(&facts, "Hugepagesize");
    let (pages, free) = (count(&facts, "HugePages_Total"), count(&facts, "HugePages_Free"));
    ResourcesMemory {
        nodes: numbered(Path::new("/sys/devices/system/node"), "node")
            .into_iter()
            .map(|(number, path)| node(number, &path, page))
            .collect(),
        hugepages_total: pages * page,
        hugepages_used: pages.saturating_sub(free) * page,
        hugepages_size: page,
        used: total.saturating_sub(bytes(&facts, "MemAvailable")),
        total,
    }
}

fn node(number: u64, path: &Path, page: u64) -> ResourcesMemoryNode {
    let facts = text(&path.join("meminfo")).unwrap_or_default();
    let (total, free) = (bytes(&facts, "MemTotal"), bytes(&facts, "MemFree"));
    let reclaimable = bytes(&facts, "FilePages") + bytes(&facts, "SReclaimable");
    let (pages, unused) = (count(&facts, "HugePages_Total"), count(&facts, "HugePages_Free"));
    ResourcesMemoryNode {
        numa_node: number,
        hugepages_used: pages.saturating_sub(unused) * page,
        hugepages_total: pages * page,
        used: total.saturating_sub(free).saturating_sub(reclaimable),
        total,
    }
}

/// A fact of `NAME: 123 kB`, or `Node 0 NAME: 123 kB`.
fn fact<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    let fits = |key: &str| key.split_whitespace().last() == Some(name);
    facts.lines().find_map(|line| line.split_once(':').filter(|(key, _)| fits(key))).map(|(_, value)| value.trim())
}

fn count(facts: &str, name: &str) -> u64 {
    fact(facts, name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn bytes(facts: &str, name: &str) -> u64 {
    fact(facts, name).and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_hosts_and_of_nodes() {
        assert_eq!(bytes("MemFree: 1 kB\nMemTotal:       16 kB\n", "MemTotal"), 16384);
        assert_eq!(bytes("Node 0 MemTotal:  2 kB\n", "MemTotal"), 2048);
        assert_eq!(count("HugePages_Total:       3\n", "HugePages_Total"), 3);
        assert_eq!(bytes("", "MemTotal"), 0);
    }
}
