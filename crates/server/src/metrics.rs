//! Figures as OpenMetrics text, by LXD's names.
//!
//! Source: OpenMetrics 1.0: a counter's family is named without the `_total` of its samples, families are not mixed, and
//! the text ends with `# EOF`. What Prometheus stores has the names that it has with LXD.

use std::fmt::Write;

use coffer_engine::{InstanceMetrics, Metrics};

/// The type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a family's samples mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// They only grow.
    Counter,
    /// They come and go.
    Gauge,
}

/// A family of samples of each instance.
struct Family {
    /// The samples' name.
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// Gives the samples: labels beside the instance's, and value.
    samples: fn(&InstanceMetrics, &mut Samples<'_>),
}

/// Takes the samples of one instance in one family.
struct Samples<'a> {
    out: &'a mut String,
    name: &'static str,
    /// The labels that each of the instance's samples has.
    own: &'a str,
}

impl Samples<'_> {
    /// Adds a sample.
    fn add(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.out, "{}{{", self.name);
        for (label, content) in labels {
            let _ = write!(self.out, "{label}=\"{}\",", escaped(content));
        }
        let _ = writeln!(self.out, "{}}} {value}", self.own);
    }

    /// Adds a sample without labels of its own, if there is a value.
    fn some(&mut self, value: Option<u64>) {
        if let Some(value) = value {
            self.add(&[], value);
        }
    }
}

macro_rules! memory {
    ($name:literal, $help:literal, $($kind:literal)+) => {
        Family { name: $name, kind: Kind::Gauge, help: $help, samples: |of, to| {
            to.some([$(of.figures.memory.get($kind)),+].into_iter().map(Option::<&u64>::copied).sum());
        } }
    };
}

macro_rules! network {
    ($name:literal, $help:literal, $counter:ident) => {
        Family {
            name: $name,
            kind: Kind::Counter,
            help: $help,
            samples: |of, to| {
                of.links.iter().for_each(|link| to.add(&[("device", &link.name)], link.counters.$counter));
            },
        }
    };
}

macro_rules! disk {
    ($name:literal, $help:literal, $counter:ident) => {
        Family {
            name: $name,
            kind: Kind::Counter,
            help: $help,
            samples: |of, to| {
                of.disks.iter().for_each(|(disk, traffic)| to.add(&[("device", disk)], traffic.$counter));
            },
        }
    };
}

macro_rules! filesystem {
    ($name:literal, $help:literal, $field:ident) => {
        Family {
            name: $name,
            kind: Kind::Gauge,
            help: $help,
            samples: |of, to| {
                if let Some(root) = &of.root {
                    to.add(&[("device", root.pool.as_str()), ("fstype", &root.driver), ("mountpoint", "/")], root.$field);
                }
            },
        }
    };
}

/// The families in the order in which they are written.
const FAMILIES: &[Family] = &[
    Family {
        name: "lxd_cpu_effective_total",
        kind: Kind::Gauge,
        help: "Processors that the instance can run on.",
        samples: |of, to| to.some(of.figures.effective_processors),
    },
    Family {
        name: "lxd_cpu_seconds_total",
        kind: Kind::Counter,
        help: "Processor time in seconds.",
        samples: |of, to| {
            for time in &of.figures.processors {
                let number = time.number.to_string();
                to.add(&[("cpu", &number), ("mode", "system")], Seconds(time.system));
                to.add(&[("cpu", &number), ("mode", "user")], Seconds(time.user));
            }
        },
    },
    disk!("lxd_disk_read_bytes_total", "Bytes read from a disk.", read_bytes),
    disk!("lxd_disk_reads_completed_total", "Reads from a disk.", reads),
    disk!("lxd_disk_written_bytes_total", "Bytes written to a disk.", written_bytes),
    disk!("lxd_disk_writes_completed_total", "Writes to a disk.", writes),
    filesystem!("lxd_filesystem_avail_bytes", "Bytes that can still be written to a file system.", free),
    filesystem!("lxd_filesystem_free_bytes", "Bytes that are free in a file system.", free),
    filesystem!("lxd_filesystem_size_bytes", "Bytes that a file system can hold.", size),
    memory!("lxd_memory_Active_anon_bytes", "Anonymous memory on the list of active pages.", "active_anon"),
    memory!("lxd_memory_Active_bytes", "Memory on the list of active pages.", "active_anon" "active_file"),
    memory!("lxd_memory_Active_file_bytes", "Memory of files on the list of active pages.", "active_file"),
    memory!("lxd_memory_Cached_bytes", "Memory of files.", "file"),
    memory!("lxd_memory_Dirty_bytes", "Memory that waits to be written to disk.", "file_dirty"),
    Family {
        name: "lxd_memory_HugepagesFree_bytes",
        kind: Kind::Gauge,
        help: "Huge pages that the instance has and does not use: none, they are the host's.",
        samples: |of, to| to.some(of.figures.huge_pages.map(|_| 0)),
    },
    Family {
        name: "lxd_memory_HugepagesTotal_bytes",
        kind: Kind::Gauge,
        help: "Memory in huge pages.",
        samples: |of, to| to.some(of.figures.huge_pages),
    },
    memory!("lxd_memory_Inactive_anon_bytes", "Anonymous memory on the list of inactive pages.", "inactive_anon"),
    memory!("lxd_memory_Inactive_bytes", "Memory on the list of inactive pages.", "inactive_anon" "inactive_file"),
    memory!("lxd_memory_Inactive_file_bytes", "Memory of files on the list of inactive pages.", "inactive_file"),
    memory!("lxd_memory_Mapped_bytes", "Memory of files that are mapped.", "file_mapped"),
    Family {
        name: "lxd_memory_MemAvailable_bytes",
        kind: Kind::Gauge,
        help: "Memory that is free or can be freed.",
        samples: |of, to| {
            let used = of.stats.memory.map(|used| used.saturating_sub(of.figures.memory.get("file").copied().unwrap_or(0)));
            to.some(used.map(|used| of.memory_total.saturating_sub(used)));
        },
    },
    Family {
        name: "lxd_memory_MemFree_bytes",
        kind: Kind::Gauge,
        help: "Memory that is free.",
        samples: |of, to| to.some(of.stats.memory.map(|used| of.memory_total.saturating_sub(used))),
    },
    Family {
        name: "lxd_memory_MemTotal_bytes",
        kind: Kind::Gauge,
        help: "Memory that the instance can have.",
        samples: |of, to| to.some(Some(of.memory_total)),
    },
    Family {
        name: "lxd_memory_OOM_kills_total",
        kind: Kind::Counter,
        help: "Processes that were killed because memory was used up.",
        samples: |of, to| to.some(of.figures.out_of_memory_kills),
    },
    memory!("lxd_memory_RSS_bytes", "Anonymous memory.", "anon"),
    memory!("lxd_memory_Shmem_bytes", "Memory of files that have no disk behind them.", "shmem"),
    Family {
        name: "lxd_memory_Swap_bytes",
        kind: Kind::Gauge,
        help: "Memory that is swapped out.",
        samples: |of, to| to.some(of.stats.swap),
    },
    memory!("lxd_memory_Unevictable_bytes", "Memory that stays where it is.", "unevictable"),
    memory!("lxd_memory_Writeback_bytes", "Memory that is being written to disk.", "file_writeback"),
    network!("lxd_network_receive_bytes_total", "Bytes received by an interface.", bytes_received),
    network!("lxd_network_receive_drop_total", "Packets that an interface received and dropped.", dropped_received),
    network!("lxd_network_receive_errs_total", "Packets that an interface received broken.", errors_received),
    network!("lxd_network_receive_packets_total", "Packets received by an interface.", packets_received),
    network!("lxd_network_transmit_bytes_total", "Bytes sent by an interface.", bytes_sent),
    network!("lxd_network_transmit_drop_total", "Packets that an interface should have sent and dropped.", dropped_sent),
    network!("lxd_network_transmit_errs_total", "Packets that an interface failed to send.", errors_sent),
    network!("lxd_network_transmit_packets_total", "Packets sent by an interface.", packets_sent),
    Family { name: "lxd_procs_total", kind: Kind::Gauge, help: "Processes and threads.", samples: |of, to| to.some(of.stats.processes) },
];

/// Writes the figures.
#[must_use]
pub fn text(metrics: &Metrics) -> String {
    let own: Vec<String> = metrics.instances.iter().map(own_labels).collect();
    let mut out = String::with_capacity(1024 + metrics.instances.len() * 8192);
    for family in FAMILIES {
        let start = out.len();
        head(&mut out, family.name, family.kind, family.help);
        let samples = out.len();
        for (instance, own) in metrics.instances.iter().zip(&own) {
            (family.samples)(instance, &mut Samples { out: &mut out, name: family.name, own });
        }
        if out.len() == samples {
            out.truncate(start);
        }
    }
    for (name, help, value) in [
        ("lxd_operations_total", "Operations that work.", metrics.operations),
        ("lxd_warnings_total", "Warnings that nobody acknowledged.", metrics.warnings),
        ("lxd_uptime_seconds", "How long the daemon runs.", metrics.uptime.as_secs()),
    ] {
        head(&mut out, name, Kind::Gauge, help);
        let _ = writeln!(out, "{name} {value}");
    }
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let (family, word) = match kind {
        Kind::Counter => (name.trim_end_matches("_total"), "counter"),
        Kind::Gauge => (name, "gauge"),
    };
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {word}");
}

fn own_labels(of: &InstanceMetrics) -> String {
    format!("name=\"{}\",project=\"{}\",type=\"container\"", escaped(of.name.as_str()), escaped(of.project.as_str()))
}

/// Escapes what ends a label's value: an instance can give its interfaces any name.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

/// Nanoseconds, written as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::{CgroupFigures, CgroupStats, DiskTraffic, ProcessorTime};
    use std::time::Duration;

    fn some() -> InstanceMetrics {
        InstanceMetrics {
            project: "dev".parse().unwrap(),
            name: "web".parse().unwrap(),
            figures: CgroupFigures {
                processors: vec![ProcessorTime { number: 1, user: 1_500_000_000, system: 20 }],
                memory: [("active_anon", 1), ("active_file", 2), ("file", 10)].into(),
                ..CgroupFigures::default()
            },
            stats: CgroupStats { memory: Some(100), processes: Some(3), ..CgroupStats::default() },
            memory_total: 1000,
            disks: [("vda".to_owned(), DiskTraffic { read_bytes: 512, ..DiskTraffic::default() })].into(),
            root: None,
            links: Vec::new(),
        }
    }

    #[test]
    fn samples_are_written_by_family() {
        let metrics = Metrics { instances: vec![some()], operations: 1, warnings: 0, uptime: Duration::from_secs(9) };
        let text = text(&metrics);
        let own = r#"name="web",project="dev",type="container""#;
        for line in [
            "# TYPE lxd_cpu_seconds counter".to_owned(),
            format!(r#"lxd_cpu_seconds_total{{cpu="1",mode="system",{own}}} 0.000000020"#),
            format!(r#"lxd_cpu_seconds_total{{cpu="1",mode="user",{own}}} 1.500000000"#),
            format!(r#"lxd_disk_read_bytes_total{{device="vda",{own}}} 512"#),
            format!("lxd_memory_Active_bytes{{{own}}} 3"),
            format!("lxd_memory_MemAvailable_bytes{{{own}}} 910"),
            format!("lxd_memory_MemFree_bytes{{{own}}} 900"),
            "# TYPE lxd_procs_total gauge".to_owned(),
            format!("lxd_procs_total{{{own}}} 3"),
            "lxd_uptime_seconds 9".to_owned(),
        ] {
            assert!(text.lines().any(|known| known == line), "no {line:?} in\n{text}");
        }
        // What is not known is not said, and what nobody said has no family.
        assert!(!text.contains("lxd_memory_Unevictable") && !text.contains("lxd_memory_OOM"), "{text}");
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn families_stand_once_and_counters_say_so() {
        let mut names: Vec<_> = FAMILIES.iter().map(|family| family.name.trim_end_matches("_total")).collect();
        assert!(FAMILIES.iter().all(|family| family.kind == Kind::Gauge || family.name.ends_with("_total")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
    }
}
