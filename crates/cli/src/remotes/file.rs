//! `config.yml`, in the form that the genuine client gives it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use coffer_client::Family;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Known, Remote};
use crate::error::CliError;
use crate::render::yaml;

const NAME: &str = "config.yml";

/// What else stands in the file: kept as it is.
pub(super) type Other = BTreeMap<String, Value>;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct File {
    #[serde(rename = "default-remote")]
    default: Option<String>,
    remotes: Option<BTreeMap<String, Entry>>,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    addr: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    auth_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    project: String,
    protocol: String,
    public: bool,
}

impl File {
    /// The default remote's name; empty if it names none.
    pub(super) fn default_remote(&self) -> &str {
        self.default.as_deref().unwrap_or_default()
    }

    /// What is neither a remote nor the default.
    pub(super) fn other(&self) -> Other {
        self.other.clone()
    }

    /// The remotes.
    pub(super) fn remotes(&self, known: Known) -> Result<Vec<(String, Remote)>, CliError> {
        let read = |(name, entry): (&String, &Entry)| {
            let protocol = entry.protocol.parse().map_err(|cause| CliError::RemoteProtocol { name: name.clone(), cause })?;
            let (addr, project) = (entry.addr.clone(), entry.project.clone());
            Ok((name.clone(), Remote { addr, protocol, public: entry.public, project, known }))
        };
        self.remotes.iter().flatten().map(read).collect()
    }
}

/// The directory of the user's configuration.
pub(super) fn user_directory(family: Family) -> PathBuf {
    let (variable, name) = match family {
        Family::Coffer => ("COFFER_CONF", "coffer"),
        Family::Lxd => ("LXD_CONF", "lxc"),
    };
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || named("HOME").unwrap_or_else(|| "/".into()).join(".config");
    named(variable).unwrap_or_else(|| named("XDG_CONFIG_HOME").unwrap_or_else(home).join(name))
}

/// The directory of the host's configuration.
pub(super) fn host_directory(family: Family) -> PathBuf {
    let (variable, usual) = match family {
        Family::Coffer => ("COFFER_GLOBAL_CONF", "/etc/coffer"),
        Family::Lxd => ("LXD_GLOBAL_CONF", "/etc/lxd"),
    };
    std::env::var_os(variable).filter(|value| !value.is_empty()).map_or_else(|| usual.into(), PathBuf::from)
}

/// Reads a directory's file, if there is one.
pub(super) fn read(directory: &Path) -> Result<Option<File>, CliError> {
    let path = directory.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(Some(File::default())),
        Ok(text) => crate::editor::read_yaml(&text).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(CliError::File { file: path, cause }),
    }
}

/// Writes the user's remotes, and the project of the daemon of this machine; the others stand elsewhere.
pub(super) fn write(directory: &Path, default: &str, all: &BTreeMap<String, Remote>, other: &Other) -> Result<(), CliError> {
    let kept = |remote: &Remote| remote.known == Known::User || remote.known == Known::Always && !remote.project.is_empty();
    let own = all.iter().filter(|(_, remote)| kept(remote)).map(|(name, remote)| {
        let auth_type = if remote.public { String::new() } else { remote.auth_type().to_owned() };
        let (addr, project) = (remote.addr.clone(), remote.project.clone());
        (name.clone(), Entry { addr, auth_type, project, protocol: remote.protocol.as_str().to_owned(), public: remote.public })
    });
    let file = File { default: Some(default.to_owned()), remotes: Some(own.collect()), other: other.clone() };
    put(&directory.join(NAME), 0o600, &yaml(&file))
}

/// Writes a file that is there whole or as it was, in a directory that is made.
pub(super) fn put(path: &Path, mode: u32, text: &str) -> Result<(), CliError> {
    let failed = |cause| CliError::File { file: path.to_owned(), cause };
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&new, path)).map_err(failed)
}
