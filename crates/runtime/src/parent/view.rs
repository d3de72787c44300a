//! How control groups are shown inside.

use coffer_runtime_spec::{IdMap, Spec};
use coffer_sys::path::Root;

use crate::cgroup::{Group, Version};

/// What is mounted at `/sys/fs/cgroup` inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CgroupView {
    /// The version 2 tree alone.
    Unified,
    /// A directory with a mount for each hierarchy.
    Each(Vec<Shown>),
}

/// One hierarchy as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A version 1 hierarchy in the directory of this name, with these controllers; none: it is known by its name alone.
    V1 {
        /// The directory.
        directory: String,
        /// The controllers.
        controllers: Vec<String>,
    },
    /// The version 2 tree in the directory of this name.
    V2 {
        /// The directory.
        directory: String,
    },
}

/// The first systemd that does not run on version 1.
const NO_VERSION_1: u32 = 256;

/// The first systemd whose private library tells its version and that runs on version 2 alone, as `systemd-nspawn` has it.
const VERSION_2: u32 = 231;

/// Where systemd's program is.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

impl CgroupView {
    /// Chooses by what the host has, by what the root's systemd can do, and by whether containers run inside.
    pub(crate) fn choose(group: &Group, root: &Root, spec: &Spec) -> Self {
        let hierarchies = || group.members().iter().map(|member| &member.hierarchy);
        let unified = group.unified().is_some();
        let alone = hierarchies().all(|hierarchy| hierarchy.version() == Version::V2);
        // The controllers of version 1 are not the instance's to make groups in, and whatever runs containers wants to in each
        // that it sees: so it sees the one tree that can be handed to it. Host's root writes to those of version 1 anyway.
        let runs_containers = spec.security.nesting && matches!(spec.idmap, IdMap::Mapped { .. });
        if unified && (alone || Systemd::of(root).wants_version_2(runs_containers)) {
            return Self::Unified;
        }
        let shown = hierarchies().map(|hierarchy| match hierarchy.version() {
            Version::V1 => Shown::V1 { directory: hierarchy.directory().to_owned(), controllers: hierarchy.controllers().to_vec() },
            Version::V2 => Shown::V2 { directory: "unified".to_owned() },
        });
        Self::Each(shown.collect())
    }
}

/// The systemd of a root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Systemd {
    /// There is none.
    Absent,
    /// One from before its version could be told.
    Old,
    /// One of this version.
    Version(u32),
}

impl Systemd {
    fn of(root: &Root) -> Self {
        match systemd_version(root) {
            Some(version) => Self::Version(version),
            None if SYSTEMD.iter().any(|path| root.handle(path).is_ok()) => Self::Old,
            None => Self::Absent,
        }
    }

    /// Says whether the version 2 tree alone is shown where the host has both.
    fn wants_version_2(self, runs_containers: bool) -> bool {
        match self {
            Self::Absent => runs_containers,
            Self::Old => false,
            Self::Version(version) => version >= if runs_containers { VERSION_2 } else { NO_VERSION_1 },
        }
    }
}

/// Reads the version of a root's systemd from the name of its own library, `libsystemd-shared-252.so`.
fn systemd_version(root: &Root) -> Option<u32> {
    let mut places = vec!["usr/lib/systemd".to_owned(), "lib/systemd".to_owned(), "usr/lib64/systemd".to_owned()];
    for entry in root.entries("usr/lib").unwrap_or_default() {
        let name = entry.name.to_string_lossy().into_owned();
        if name.contains("-linux-") {
            places.push(format!("usr/lib/{name}/systemd"));
        }
    }
    places.iter().find_map(|place| {
        let entries = root.entries(place).ok()?;
        entries.iter().find_map(|entry| library_version(&entry.name.to_string_lossy()))
    })
}

fn library_version(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("libsystemd-shared-").or_else(|| name.strip_prefix("libsystemd-core-"))?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_alone_is_for_those_who_need_it_and_can() {
        let answers = |systemd: Systemd| (systemd.wants_version_2(false), systemd.wants_version_2(true));
        assert_eq!(answers(Systemd::Absent), (false, true));
        assert_eq!(answers(Systemd::Old), (false, false));
        assert_eq!(answers(Systemd::Version(230)), (false, false));
        assert_eq!(answers(Systemd::Version(252)), (false, true));
        assert_eq!(answers(Systemd::Version(257)), (true, true));
    }

    #[test]
    fn versions_are_in_library_names() {
        assert_eq!(library_version("libsystemd-shared-252.so"), Some(252));
        assert_eq!(library_version("libsystemd-core-257.7-1.so"), Some(257));
        assert_eq!(library_version("libsystemd-shared-259~rc1-1.fc44.so"), Some(259));
        assert_eq!(library_version("libsystemd.so.0"), None);
    }
}
