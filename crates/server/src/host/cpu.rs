//! Processors.

use std::collections::BTreeMap;
use std::path::Path;

use coffer_api::{ResourcesCpu, ResourcesCpuCache, ResourcesCpuCore, ResourcesCpuSocket, ResourcesCpuThread};

use super::{entries, name, numbered, text, value};

const DIRECTORY: &str = "/sys/devices/system/cpu";

/// Reads the processors: threads by core by socket.
pub fn read() -> ResourcesCpu {
    let facts = text(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let fact = |name: &str| {
        facts.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name)).map(|(_, value)| value.trim().to_owned())
    };
    let isolated = set(&text(&Path::new(DIRECTORY).join("isolated")).unwrap_or_default());
    let mut sockets: BTreeMap<u64, ResourcesCpuSocket> = BTreeMap::new();
    let mut total = 0;
    for (number, path) in numbered(Path::new(DIRECTORY), "cpu") {
        // The first processor cannot be switched off everywhere, and then has no such file.
        let online = value::<u8>(&path.join("online")).unwrap_or(1) == 1;
        total += u64::from(online);
        let place = |name: &str| value::<u64>(&path.join("topology").join(name)).unwrap_or(0);
        let socket = sockets.entry(place("physical_package_id")).or_insert_with_key(|&socket| ResourcesCpuSocket {
            name: fact("model name").unwrap_or_default(),
            vendor: fact("vendor_id").unwrap_or_default(),
            socket,
            cache: caches(&path),
            frequency: megahertz(&path, "scaling_cur_freq"),
            frequency_minimum: megahertz(&path, "cpuinfo_min_freq"),
            frequency_turbo: megahertz(&path, "cpuinfo_max_freq"),
            ..ResourcesCpuSocket::default()
        });
        let (core, die) = (place("core_id"), place("die_id"));
        let at = match socket.cores.iter().position(|known| (known.core, known.die) == (core, die)) {
            Some(at) => at,
            None => {
                socket.cores.push(ResourcesCpuCore { core, die, frequency: megahertz(&path, "scaling_cur_freq"), threads: Vec::new() });
                socket.cores.len() - 1
            }
        };
        let threads = &mut socket.cores[at].threads;
        threads.push(ResourcesCpuThread {
            id: i64::try_from(number).unwrap_or(-1),
            numa_node: numbered(&path, "node").first().map_or(0, |(node, _)| *node),
            thread: threads.len() as u64,
            online,
            isolated: isolated.contains(&number),
        });
    }
    ResourcesCpu { architecture: std::env::consts::ARCH.into(), sockets: sockets.into_values().collect(), total }
}

fn megahertz(cpu: &Path, file: &str) -> u64 {
    value::<u64>(&cpu.join("cpufreq").join(file)).unwrap_or(0) / 1000
}

fn caches(cpu: &Path) -> Vec<ResourcesCpuCache> {
    let indexes = entries(&cpu.join("cache")).into_iter().filter(|path| name(path).starts_with("index"));
    let cache = |path: std::path::PathBuf| {
        let size = text(&path.join("size"))?;
        Some(ResourcesCpuCache {
            level: value(&path.join("level"))?,
            kind: text(&path.join("type"))?,
            size: size.strip_suffix('K')?.parse::<u64>().ok()? * 1024,
        })
    };
    indexes.filter_map(cache).collect()
}

/// Reads a set such as `0-3,6`.
fn set(text: &str) -> Vec<u64> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sets() {
        assert_eq!(super::set("0-2,6"), [0, 1, 2, 6]);
        assert_eq!(super::set(""), [0u64; 0]);
    }
}
