//! Names of things. A value of one of these types is always a valid name.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a valid name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("invalid {kind} name {name:?}: {why}")]
pub struct NameError {
    /// What it should have named: `instance`, `profile`, …
    pub kind: &'static str,
    /// The text.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                match $rule(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(why) => Err(NameError { kind: $kind, name: text.to_owned(), why }),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// An instance's name: a host name label of 1 to 63 letters, digits and inner hyphens that does not start with a digit.
    InstanceName, "instance", host_label
);
name_type!(
    /// A snapshot's name: 1 to 63 printable characters without slash or white space.
    SnapshotName, "snapshot", file_name
);
name_type!(
    /// A backup's name among an instance's backups, and its file's.
    BackupName, "backup", file_name
);
name_type!(
    /// A profile's name.
    ProfileName, "profile", file_name
);
name_type!(
    /// A project's name.
    ProjectName, "project", project
);
name_type!(
    /// A storage pool's name.
    PoolName, "storage pool", file_name
);
name_type!(
    /// A storage volume's name.
    VolumeName, "storage volume", file_name
);
name_type!(
    /// A device's name within an instance or profile.
    DeviceName, "device", device
);
name_type!(
    /// A network's name. A managed bridge carries it as its interface name, so it has 2 to 15 characters.
    NetworkName, "network", interface
);
name_type!(
    /// The name of a network interface: 1 to 15 characters without slash, colon or white space.
    InterfaceName, "interface", interface
);
name_type!(
    /// An image's fingerprint: 64 lower-case hexadecimal digits, the SHA-256 of the image's file or files.
    Fingerprint, "fingerprint", fingerprint
);
name_type!(
    /// An image alias. It may hold slashes: `debian/12/cloud`.
    AliasName, "image alias", alias
);

impl ProjectName {
    /// The project that everything is in unless said.
    #[must_use]
    pub fn default_project() -> Self {
        Self("default".into())
    }

    /// Says whether this is the default project.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }

    /// Writes an instance's name as it stands on disk: `NAME` in the default project, else `PROJECT_NAME`.
    #[must_use]
    pub fn prefix(&self, name: &str) -> String {
        if self.is_default() { name.to_owned() } else { format!("{}_{name}", self.0) }
    }
}

impl ProfileName {
    /// The profile that every project has.
    #[must_use]
    pub fn default_profile() -> Self {
        Self("default".into())
    }
}

fn host_label(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > 63 {
        return Some("it must have 1 to 63 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Some("it may hold only letters, digits and hyphens");
    }
    if text.as_bytes()[0].is_ascii_digit() {
        return Some("it must not start with a digit");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Some("it must not start or end with a hyphen");
    }
    None
}

fn file_name(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > 63 {
        return Some("it must have 1 to 63 characters");
    }
    if text == "." || text == ".." {
        return Some("it must not be a directory reference");
    }
    if text.starts_with('-') {
        return Some("it must not start with a hyphen");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@+~".contains(&byte)) {
        return Some("it may hold only letters, digits and - _ . : @ + ~");
    }
    None
}

fn project(text: &str) -> Option<&'static str> {
    // The underscore separates the project from the instance on disk.
    if text.contains('_') { Some("it must not hold an underscore") } else { file_name(text) }
}

fn device(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > 64 {
        return Some("it must have 1 to 64 characters");
    }
    if text.starts_with('-') || text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("it must not start with a hyphen or hold a directory reference");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@+~".contains(&byte)) {
        return Some("it may hold only letters, digits and - _ . : / @ + ~");
    }
    None
}

fn interface(text: &str) -> Option<&'static str> {
    if text.len() < 2 || text.len() > 15 {
        return Some("it must have 2 to 15 characters");
    }
    if text == ".." || text.starts_with('-') {
        return Some("it must not be a directory reference or start with a hyphen");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Some("it may hold only letters, digits and - _ .");
    }
    None
}

fn fingerprint(text: &str) -> Option<&'static str> {
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if hex { None } else { Some("it must be 64 lower-case hexadecimal digits") }
}

fn alias(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > 255 {
        return Some("it must have 1 to 255 characters");
    }
    if text.starts_with('-') || text.starts_with('/') {
        return Some("it must not start with a hyphen or slash");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || "?&%#:\\".contains(c)) {
        return Some("it must not hold white space, control characters or ? & % # : \\");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: FromStr<Err = NameError> + fmt::Debug>(text: &str) {
        assert!(text.parse::<T>().is_err(), "{text:?} should be refused");
    }

    #[test]
    fn instance_names_are_host_labels() {
        assert_eq!("web-1".parse::<InstanceName>().unwrap().as_str(), "web-1");
        for bad in ["", "1web", "-a", "a-", "a.b", "a_b", "../x", "a\0b", "ü", "a/b", &"x".repeat(64)] {
            refused::<InstanceName>(bad);
        }
    }

    #[test]
    fn no_name_leaves_its_directory() {
        for bad in ["", ".", "..", "a/b", "a\n", "-rf", "$(id)"] {
            refused::<PoolName>(bad);
            refused::<VolumeName>(bad);
            refused::<SnapshotName>(bad);
            refused::<NetworkName>(bad);
        }
        for bad in ["../x", "a/../b", "/a", "a//b"] {
            refused::<DeviceName>(bad);
        }
    }

    #[test]
    fn projects_prefix_names_on_disk() {
        assert_eq!(ProjectName::default_project().prefix("web"), "web");
        assert_eq!("dev".parse::<ProjectName>().unwrap().prefix("web"), "dev_web");
        refused::<ProjectName>("a_b");
    }
}
