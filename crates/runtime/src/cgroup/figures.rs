//! What an instance used by kind, read from control group files alone, for those who draw curves of it.
//!
//! Source: `Documentation/admin-guide/cgroup-v1/*`, `Documentation/admin-guide/cgroup-v2.rst` of Linux.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Hierarchies, Version, read};

/// Sizes of huge pages that the files of control groups are named by.
const HUGE_PAGES: [&str; 6] = ["64KB", "1MB", "2MB", "32MB", "512MB", "1GB"];

/// What an instance used by kind. Absent where the host does not count it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Processor time; of each processor where the host counts so, else of all together.
    pub processors: Vec<ProcessorTime>,
    /// How many processors it can run on.
    pub effective_processors: Option<u64>,
    /// Kinds of memory in bytes by the kernel's names since version 2: `anon`, `file`, `active_anon` …
    pub memory: BTreeMap<&'static str, u64>,
    /// Memory in huge pages, in bytes.
    pub huge_pages: Option<u64>,
    /// How often something was killed because memory was used up.
    pub out_of_memory_kills: Option<u64>,
    /// Disks by their device numbers, `8:0`.
    pub disks: BTreeMap<String, DiskTraffic>,
}

/// The time that one processor, or all, worked for an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessorTime {
    /// The processor's number; 0 for all together.
    pub number: u32,
    /// Nanoseconds in programs.
    pub user: u64,
    /// Nanoseconds in the kernel.
    pub system: u64,
}

/// What went to and from a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskTraffic {
    /// Bytes read.
    pub read_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Writes.
    pub writes: u64,
}

/// The kinds of memory, by their names in version 2 and in version 1.
const MEMORY: [(&str, &str); 11] = [
    ("active_anon", "total_active_anon"),
    ("active_file", "total_active_file"),
    ("anon", "total_rss"),
    ("file", "total_cache"),
    ("file_dirty", "total_dirty"),
    ("file_mapped", "total_mapped_file"),
    ("file_writeback", "total_writeback"),
    ("inactive_anon", "total_inactive_anon"),
    ("inactive_file", "total_inactive_file"),
    ("shmem", "total_shmem"),
    ("unevictable", "total_unevictable"),
];

/// Reads what the instance in control group `path` used. `hierarchies` can be found once and used for all instances.
///
/// # Errors
/// `ENOENT` if there is no such group.
pub fn figures(hierarchies: &Hierarchies, path: &str) -> io::Result<Figures> {
    let mut figures = Figures::default();
    let mut found = Err(io::Error::from(io::ErrorKind::NotFound));
    for hierarchy in hierarchies.all() {
        let counts = ["memory", "cpuacct", "cpu", "cpuset", "blkio", "io", "hugetlb"].into_iter().any(|name| hierarchy.controls(name));
        if !counts {
            continue;
        }
        let dir = hierarchy.group(path)?;
        found = Ok(());
        match hierarchy.version() {
            Version::V1 => figures.read_v1(dir.as_fd(), |name| hierarchy.controls(name)),
            Version::V2 => figures.read_v2(dir.as_fd()),
        }
    }
    found.map(|()| figures)
}

impl Figures {
    fn read_v1(&mut self, dir: BorrowedFd<'_>, controls: impl Fn(&str) -> bool) {
        let text = |file: &str| read(dir, file).unwrap_or_default();
        if controls("memory") {
            self.memory = memory(&text("memory.stat"), |(_, old)| old);
            self.out_of_memory_kills = field(&text("memory.oom_control"), "oom_kill");
        }
        if controls("cpuacct") {
            self.processors = processors(&text("cpuacct.usage_all"));
        }
        if controls("cpuset") {
            self.effective_processors = size_of_set(&text("cpuset.effective_cpus"));
        }
        if controls("blkio") {
            let (bytes, operations) = (text("blkio.throttle.io_service_bytes_recursive"), text("blkio.throttle.io_serviced_recursive"));
            self.disks = throttled(&bytes, &operations);
        }
        if controls("hugetlb") {
            self.huge_pages = huge_pages(|size| number(&text(&format!("hugetlb.{size}.usage_in_bytes"))));
        }
    }

    fn read_v2(&mut self, dir: BorrowedFd<'_>) {
        let text = |file: &str| read(dir, file).unwrap_or_default();
        if self.memory.is_empty() {
            self.memory = memory(&text("memory.stat"), |(new, _)| new);
            self.out_of_memory_kills = field(&text("memory.events"), "oom_kill");
        }
        if self.processors.is_empty() {
            let stat = text("cpu.stat");
            let times = field(&stat, "user_usec").zip(field(&stat, "system_usec"));
            let time = |(user, system): (u64, u64)| ProcessorTime {
                number: 0,
                user: user.saturating_mul(1000),
                system: system.saturating_mul(1000),
            };
            self.processors = times.map(time).into_iter().collect();
        }
        self.effective_processors = self.effective_processors.or_else(|| size_of_set(&text("cpuset.cpus.effective")));
        if self.disks.is_empty() {
            self.disks = traffic(&text("io.stat"));
        }
        self.huge_pages = self.huge_pages.or_else(|| huge_pages(|size| number(&text(&format!("hugetlb.{size}.current")))));
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number behind a name on a line of its own.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

fn memory(text: &str, name: fn((&'static str, &'static str)) -> &'static str) -> BTreeMap<&'static str, u64> {
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    MEMORY.into_iter().filter_map(|names| Some((names.0, number(lines.get(name(names))?)?))).collect()
}

/// Lines of processor, time in programs, time in the kernel, below a line of titles.
fn processors(text: &str) -> Vec<ProcessorTime> {
    let time = |line: &str| {
        let mut words = line.split(' ');
        let mut next = || words.next()?.parse().ok();
        Some(ProcessorTime { number: u32::try_from(next()?).ok()?, user: next()?, system: next()? })
    };
    text.lines().filter_map(time).collect()
}

/// Lines of device, kind and number: `8:0 Read 4096`.
fn throttled(bytes: &str, operations: &str) -> BTreeMap<String, DiskTraffic> {
    let mut disks: BTreeMap<String, DiskTraffic> = BTreeMap::new();
    for (text, counts_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [device, kind, count] = words[..] else { continue };
            let Some(count) = number(count) else { continue };
            let disk = disks.entry(device.to_owned()).or_default();
            match (kind, counts_bytes) {
                ("Read", true) => disk.read_bytes = count,
                ("Read", false) => disk.reads = count,
                ("Write", true) => disk.written_bytes = count,
                ("Write", false) => disk.writes = count,
                _ => {}
            }
        }
    }
    disks
}

/// Lines of device and pairs: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
fn traffic(text: &str) -> BTreeMap<String, DiskTraffic> {
    let disk = |line: &str| {
        let (device, pairs) = line.split_once(' ')?;
        let count = |name: &str| pairs.split(' ').find_map(|pair| number(pair.strip_prefix(name)?.strip_prefix('=')?)).unwrap_or(0);
        let traffic =
            DiskTraffic { read_bytes: count("rbytes"), reads: count("rios"), written_bytes: count("wbytes"), writes: count("wios") };
        Some((device.to_owned(), traffic))
    };
    text.lines().filter_map(disk).collect()
}

fn huge_pages(used: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    HUGE_PAGES.into_iter().filter_map(used).reduce(u64::saturating_add)
}

/// How many numbers are in a set such as `0-3,6`; none if it is empty.
fn size_of_set(text: &str) -> Option<u64> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some(number(high)?.checked_sub(number(low)?)? + 1)
    };
    let size = text.trim().split(',').map(range).sum::<Option<u64>>();
    size.filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_and_version_2_say_the_same() {
        let old = memory("cache 9\ntotal_cache 4096\ntotal_rss 7\ntotal_inactive_file 1\n", |(_, old)| old);
        let new = memory("anon 7\nfile 4096\ninactive_file 1\nslab 5\n", |(new, _)| new);
        assert_eq!(old, new);
        assert_eq!(new, [("anon", 7), ("file", 4096), ("inactive_file", 1)].into());
        let old = throttled(
            "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 0\n8:0 Total 4608\nTotal 4608\n",
            "8:0 Read 2\n8:0 Write 1\n8:0 Total 3\nTotal 3\n",
        );
        let new = traffic("8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n");
        assert_eq!(old, new);
        assert_eq!(new["8:0"], DiskTraffic { read_bytes: 4096, reads: 2, written_bytes: 512, writes: 1 });
    }

    #[test]
    fn processors_by_number() {
        let times = processors("cpu user system\n0 10 20\n1 30 40\n");
        assert_eq!(times[1], ProcessorTime { number: 1, user: 30, system: 40 });
        assert_eq!(times.len(), 2);
        assert_eq!(field("low 0\nhigh 1\noom 4\noom_kill 3\noom_group_kill 9\n", "oom_kill"), Some(3));
    }

    #[test]
    fn sets_and_sums() {
        assert_eq!(size_of_set("0-3,6\n"), Some(5));
        assert_eq!(size_of_set("\n"), None);
        assert_eq!(huge_pages(|size| (size == "2MB" || size == "1GB").then_some(5)), Some(10));
        assert_eq!(huge_pages(|_| None), None);
    }
}
