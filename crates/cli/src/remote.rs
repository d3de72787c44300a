//! The servers known by name. So far the list is fixed: the local daemon and the public image servers.

use crate::error::CliError;

/// A server known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remote {
    /// The daemon on this machine.
    Local,
    /// A server of images; the daemon fetches from it.
    Images {
        /// Its URL.
        url: &'static str,
    },
}

/// Every remote by name, in the order of the list.
pub(crate) const REMOTES: [(&str, Remote); 4] = [
    ("images", Remote::Images { url: "https://images.linuxcontainers.org" }),
    ("local", Remote::Local),
    ("ubuntu", Remote::Images { url: "https://cloud-images.ubuntu.com/releases" }),
    ("ubuntu-daily", Remote::Images { url: "https://cloud-images.ubuntu.com/daily" }),
];

impl Remote {
    /// Finds a remote; an empty name is the local daemon.
    pub(crate) fn named(name: &str) -> Result<Remote, CliError> {
        let name = if name.is_empty() { "local" } else { name };
        let found = REMOTES.iter().find(|(known, _)| *known == name);
        found.map(|(_, remote)| *remote).ok_or_else(|| CliError::UnknownRemote { name: name.to_owned() })
    }
}
