//! Everything a start needs, already resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Device, Limits, Mount, Nic, Proxy, Rlimit, Security, Signal, Source};

/// One instance to start. `docs/runtime.md` of the repository documents the same as a JSON file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The instance's name, for messages and process titles.
    pub name: String,
    /// Control group of the instance, relative to each hierarchy: `coffer/<daemon>/<instance>`.
    pub cgroup: String,
    /// Ids of the instance on the host.
    pub idmap: IdMap,
    /// The root file system.
    pub root: Root,
    /// The host name inside.
    pub hostname: String,
    /// The first program.
    #[serde(default)]
    pub init: Init,
    /// Signal that asks init to halt; absent: by the kind of init found in the root.
    #[serde(default)]
    pub halt_signal: Option<Signal>,
    /// Mounts beside the usual ones.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Device nodes beside the usual ones.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Network interfaces. The loopback interface is always there and up.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// Connections handed on between the host and the instance; they end with it.
    #[serde(default)]
    pub proxies: Vec<Proxy>,
    /// What it may use of the host.
    #[serde(default)]
    pub limits: Limits,
    /// Resource limits of init.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// How readily the kernel kills its processes when memory runs out, -1000 to 1000; the monitor's own where it is missing.
    #[serde(default)]
    pub oom_score: Option<i16>,
    /// Kernel parameters set inside by their dotted names. Only those of the instance's own namespaces can be set.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// What keeps it inside.
    #[serde(default)]
    pub security: Security,
    /// The console.
    #[serde(default)]
    pub console: Console,
    /// File that warnings of the monitor are appended to.
    #[serde(default)]
    pub log: Option<Source>,
    /// A time namespace with these offsets.
    #[serde(default)]
    pub time: Option<TimeOffsets>,
}

/// The ids of an instance on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdMap {
    /// No user namespace: root inside is root of the host.
    Privileged,
    /// A user namespace with these ranges.
    Mapped {
        /// User ids.
        uids: Vec<IdRange>,
        /// Group ids.
        gids: Vec<IdRange>,
    },
}

/// A range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id on the host.
    pub host: u32,
    /// Number of ids.
    pub count: u32,
}

impl IdMap {
    /// The host's id for user `uid` inside; `None` if it has none.
    #[must_use]
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        match self {
            Self::Privileged => Some(uid),
            Self::Mapped { uids, .. } => to_host(uids, uid),
        }
    }

    /// Says whether a user of the host is one inside.
    #[must_use]
    pub fn has_host_uid(&self, uid: u32) -> bool {
        match self {
            Self::Privileged => true,
            Self::Mapped { uids, .. } => has_host(uids, uid),
        }
    }

    /// Says whether a group of the host is one inside.
    #[must_use]
    pub fn has_host_gid(&self, gid: u32) -> bool {
        match self {
            Self::Privileged => true,
            Self::Mapped { gids, .. } => has_host(gids, gid),
        }
    }

    /// The host's id for group `gid` inside; `None` if it has none.
    #[must_use]
    pub fn host_gid(&self, gid: u32) -> Option<u32> {
        match self {
            Self::Privileged => Some(gid),
            Self::Mapped { gids, .. } => to_host(gids, gid),
        }
    }
}

fn has_host(ranges: &[IdRange], id: u32) -> bool {
    ranges.iter().any(|range| id.checked_sub(range.host).is_some_and(|at| at < range.count))
}

fn to_host(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| id.checked_sub(range.inside).filter(|at| *at < range.count).map(|at| range.host + at))
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Root {
    /// Its directory.
    pub source: Source,
    /// Nothing can be written.
    #[serde(default)]
    pub readonly: bool,
    /// Its ids are shifted by an id-mapped mount; else they are on disk as they are on the host.
    #[serde(default = "yes")]
    pub idmapped: bool,
}

/// The first program of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Init {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment. `container=lxc` and `PATH` are there unless given; `TERM` as given.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: String,
    /// The user that it is, inside; only with `reaper`: an init is root.
    pub uid: u32,
    /// That user's group.
    pub gid: u32,
    /// The program is no init: it becomes a child of a process 1 that hands signals on, takes orphans, and ends with it.
    pub reaper: bool,
}

impl Default for Init {
    fn default() -> Self {
        Self { argv: vec!["/sbin/init".into()], env: BTreeMap::new(), cwd: "/".into(), uid: 0, gid: 0, reaper: false }
    }
}

/// The console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Console {
    /// Bytes of output kept in memory, 4 KiB to 16 MiB.
    pub ring_size: u32,
    /// File that the kept output is appended to when the instance ends.
    pub log: Option<Source>,
}

impl Default for Console {
    fn default() -> Self {
        Self { ring_size: 128 << 10, log: None }
    }
}

/// Offsets of the clocks inside, in seconds. Source: time_namespaces(7); Linux 5.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TimeOffsets {
    /// Added to the monotonic clock.
    pub monotonic: i64,
    /// Added to the clock since boot.
    pub boottime: i64,
}

/// What is wrong with a spec.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// A field that has to be there is empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A text has a byte that cannot be there.
    #[error("{field} {text:?} has a character that is not allowed there")]
    Character {
        /// The field.
        field: &'static str,
        /// Its text.
        text: String,
    },
    /// A control group path could leave its place.
    #[error("cgroup {path:?} is no relative path without dots")]
    Cgroup {
        /// The path.
        path: String,
    },
    /// A path inside the instance is not absolute.
    #[error("{field} {path:?} does not start with a slash")]
    Relative {
        /// The field.
        field: &'static str,
        /// The path.
        path: String,
    },
    /// A number is out of its range.
    #[error("{field} {value} is not between {least} and {most}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The smallest value.
        least: u64,
        /// The largest value.
        most: u64,
    },
    /// The id map does not map root.
    #[error("idmap has no host id for {which} 0 inside")]
    NoRoot {
        /// `user` or `group`.
        which: &'static str,
    },
    /// An init that is not root.
    #[error("init.uid and init.gid are for a program with init.reaper; an init is root inside")]
    UserOfInit,
    /// A range of ids is empty or runs over the last id.
    #[error("idmap range of {count} ids at {host} does not fit in 32 bits")]
    IdRange {
        /// First id on the host.
        host: u32,
        /// Number of ids.
        count: u32,
    },
    /// A range of ids overlaps another.
    #[error("idmap ranges overlap at host id {host}")]
    IdOverlap {
        /// First id on the host of the second one.
        host: u32,
    },
    /// Two network interfaces have the same name inside.
    #[error("two network interfaces are named {name:?} inside")]
    TwoNics {
        /// The name.
        name: String,
    },
    /// An interface name is empty, too long or has a character that links cannot have.
    #[error("network interface name {name:?} is not 1 to 15 characters without slash, colon and space")]
    NicName {
        /// The name.
        name: String,
    },
}

impl Spec {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`SpecError`] for the first thing found wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        plain("name", &self.name)?;
        plain("hostname", &self.hostname)?;
        check_range("hostname length", self.hostname.len() as u64, 1, 64)?;
        check_cgroup(&self.cgroup)?;
        self.idmap.check()?;
        if self.init.argv.first().is_none_or(String::is_empty) {
            return Err(SpecError::Empty { field: "init.argv" });
        }
        absolute("init.cwd", &self.init.cwd)?;
        if !self.init.reaper && (self.init.uid, self.init.gid) != (0, 0) {
            return Err(SpecError::UserOfInit);
        }
        check_range("console.ring-size", self.console.ring_size.into(), 4 << 10, 16 << 20)?;
        self.mounts.iter().try_for_each(|mount| absolute("mount target", &mount.target))?;
        self.devices.iter().try_for_each(|device| absolute("device path", &device.path))?;
        check_nics(&self.nics)
    }
}

impl IdMap {
    fn check(&self) -> Result<(), SpecError> {
        let Self::Mapped { uids, gids } = self else { return Ok(()) };
        for (ranges, which) in [(uids, "user"), (gids, "group")] {
            check_ranges(ranges)?;
            if to_host(ranges, 0).is_none() {
                return Err(SpecError::NoRoot { which });
            }
        }
        Ok(())
    }
}

fn check_ranges(ranges: &[IdRange]) -> Result<(), SpecError> {
    for (at, range) in ranges.iter().enumerate() {
        let fits = |first: u32| range.count > 0 && first.checked_add(range.count).is_some();
        if !fits(range.host) || !fits(range.inside) {
            return Err(SpecError::IdRange { host: range.host, count: range.count });
        }
        let overlap = |a: u32, b: &IdRange, first: fn(&IdRange) -> u32| a < first(b) + b.count && first(b) < a + range.count;
        let taken = |other: &IdRange| overlap(range.host, other, |it| it.host) || overlap(range.inside, other, |it| it.inside);
        if ranges[..at].iter().any(taken) {
            return Err(SpecError::IdOverlap { host: range.host });
        }
    }
    Ok(())
}

/// Refuses a control group path that is absolute, empty or has empty or dotted components.
///
/// # Errors
/// [`SpecError::Cgroup`], which names it.
pub fn check_cgroup(path: &str) -> Result<(), SpecError> {
    let fine = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\n') && !part.contains('\0');
    if path.split('/').all(fine) { Ok(()) } else { Err(SpecError::Cgroup { path: path.into() }) }
}

fn check_nics(nics: &[Nic]) -> Result<(), SpecError> {
    for (at, nic) in nics.iter().enumerate() {
        for name in [&nic.host_name, &nic.name] {
            let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
            if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
                return Err(SpecError::NicName { name: name.clone() });
            }
        }
        if nic.name == "lo" || nics[..at].iter().any(|other| other.name == nic.name) {
            return Err(SpecError::TwoNics { name: nic.name.clone() });
        }
    }
    Ok(())
}

fn plain(field: &'static str, text: &str) -> Result<(), SpecError> {
    if text.is_empty() {
        return Err(SpecError::Empty { field });
    }
    if text.contains(|c: char| c.is_control() || c == '/') {
        return Err(SpecError::Character { field, text: text.into() });
    }
    Ok(())
}

fn absolute(field: &'static str, path: &str) -> Result<(), SpecError> {
    if !path.starts_with('/') {
        return Err(SpecError::Relative { field, path: path.into() });
    }
    if path.contains('\0') {
        return Err(SpecError::Character { field, text: path.into() });
    }
    Ok(())
}

fn check_range(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), SpecError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(SpecError::Range { field, value, least, most }) }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"{
        "name": "one", "cgroup": "coffer/test/one", "hostname": "one",
        "idmap": {"mapped": {"uids": [{"inside": 0, "host": 100000, "count": 65536}], "gids": [{"inside": 0, "host": 100000, "count": 65536}]}},
        "root": {"source": {"path": "/srv/one"}}
    }"#;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Spec), expect: &str) {
        let mut spec: Spec = serde_json::from_str(LEAST).unwrap();
        change(&mut spec);
        let got = spec.check().map_or_else(|error| error.to_string(), |()| "fine".into());
        assert_eq!(got, expect);
    }

    #[test]
    fn the_example_reads_and_is_fine() {
        check(|_| (), "fine");
        let text = include_str!("../../../docs/examples/busybox.json");
        let spec: Spec = serde_json::from_str(text).unwrap();
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<Spec>(&LEAST.replacen('{', r#"{"colour": "red","#, 1)).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `colour`"), "{error}");
    }

    #[test]
    fn wrong_specs_are_named() {
        check(|spec| spec.name = String::new(), "name is empty");
        check(|spec| spec.cgroup = "/x".into(), "cgroup \"/x\" is no relative path without dots");
        check(|spec| spec.cgroup = "a/../b".into(), "cgroup \"a/../b\" is no relative path without dots");
        check(|spec| spec.init.cwd = "tmp".into(), "init.cwd \"tmp\" does not start with a slash");
        check(|spec| spec.console.ring_size = 1, "console.ring-size 1 is not between 4096 and 16777216");
        let empty = IdMap::Mapped { uids: vec![], gids: vec![] };
        check(|spec| spec.idmap = empty, "idmap has no host id for user 0 inside");
        let range = |inside, host| IdRange { inside, host, count: 10 };
        let twice = IdMap::Mapped { uids: vec![range(0, 100), range(10, 105)], gids: vec![range(0, 1)] };
        check(|spec| spec.idmap = twice, "idmap ranges overlap at host id 105");
    }

    #[test]
    fn ids_are_translated() {
        let spec: Spec = serde_json::from_str(LEAST).unwrap();
        assert_eq!(spec.idmap.host_uid(0), Some(100_000));
        assert_eq!(spec.idmap.host_gid(65_535), Some(165_535));
        assert_eq!(spec.idmap.host_uid(65_536), None);
        assert!(spec.idmap.has_host_uid(165_535) && !spec.idmap.has_host_uid(165_536) && !spec.idmap.has_host_gid(0));
    }
}
