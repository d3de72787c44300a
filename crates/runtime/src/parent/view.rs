//! How control groups are shown inside.

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

impl CgroupView {
    /// Chooses by what the host has, and by what the root's systemd can do.
    pub(crate) fn choose(group: &Group, root: &Root) -> Self {
        let hierarchies = || group.members().iter().map(|member| &member.hierarchy);
        let unified = group.unified().is_some();
        let alone = hierarchies().all(|hierarchy| hierarchy.version() == Version::V2);
        if unified && (alone || systemd_version(root).is_some_and(|version| version >= NO_VERSION_1)) {
            return Self::Unified;
        }
        let shown = hierarchies().map(|hierarchy| match hierarchy.version() {
            Version::V1 => Shown::V1 { directory: hierarchy.directory().to_owned(), controllers: hierarchy.controllers().to_vec() },
            Version::V2 => Shown::V2 { directory: "unified".to_owned() },
        });
        Self::Each(shown.collect())
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
    fn versions_are_in_library_names() {
        assert_eq!(library_version("libsystemd-shared-252.so"), Some(252));
        assert_eq!(library_version("libsystemd-core-257.7-1.so"), Some(257));
        assert_eq!(library_version("libsystemd-shared-259~rc1-1.fc44.so"), Some(259));
        assert_eq!(library_version("libsystemd.so.0"), None);
    }
}
