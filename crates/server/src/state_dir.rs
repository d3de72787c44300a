//! The state directory: its layout, and the lock that keeps a second daemon out.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directories, with their modes. Those that an instance's own ids must pass through let others through, but show
/// them nothing.
const LAYOUT: &[(&str, u32)] = &[
    ("", 0o711),
    ("backups", 0o700),
    ("devices", 0o711),
    ("disks", 0o700),
    ("images", 0o700),
    ("logs", 0o700),
    ("networks", 0o711),
    ("storage-pools", 0o711),
];

const LOCK: &str = "lock";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// A directory cannot be made.
    #[error("making directory {path}", path = path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("state directory {path} belongs to user {owner}: it must belong to the user that runs the daemon", path = path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The lock cannot be taken.
    #[error("locking {path}", path = path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Another daemon runs.
    #[error("another daemon uses {path}: stop it first, or set COFFER_DIR to another directory", path = path.display())]
    Used {
        /// The directory.
        path: PathBuf,
    },
}

/// How long the lock of a daemon that was killed a moment ago may outlive it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The state directory, as long as it is ours.
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes what is missing, and takes the lock.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn take(path: &Path) -> Result<Self, StateDirError> {
        for (name, mode) in LAYOUT {
            let directory = if name.is_empty() { path.to_owned() } else { path.join(name) };
            ensure_directory(&directory, *mode).map_err(|cause| StateDirError::Make { path: directory, cause })?;
        }
        let absolute = path.canonicalize().map_err(|cause| StateDirError::Make { path: path.to_owned(), cause })?;
        let owner = fs::metadata(&absolute).map_err(|cause| StateDirError::Make { path: path.to_owned(), cause })?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(StateDirError::Owner { path: absolute, owner });
        }
        let lock = lock(&absolute)?;
        Ok(Self { path: absolute, _lock: lock })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn ensure_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let now = fs::metadata(path)?.permissions().mode() & 0o777;
    // The process's mask may have taken bits away, and whoever made it before may have left too many.
    if now == mode { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(mode)) }
}

/// The lock ends with the process, however that ends.
fn lock(directory: &Path) -> Result<File, StateDirError> {
    let path = directory.join(LOCK);
    let opened = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|cause| StateDirError::Lock { path: path.clone(), cause })?;
    let taken = coffer_base::lock::exclusive(file, PATIENCE).map_err(|cause| StateDirError::Lock { path, cause })?;
    taken.ok_or_else(|| StateDirError::Used { path: directory.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_daemon_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/state");
        let first = StateDir::take(&path).unwrap();
        let error = StateDir::take(&path).err().unwrap();
        assert!(error.to_string().starts_with("another daemon uses "), "{error}");
        drop(first);
        StateDir::take(&path).unwrap();
    }

    #[test]
    fn modes_are_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("images")).unwrap();
        let taken = StateDir::take(dir.path()).unwrap();
        for (name, mode) in LAYOUT {
            let now = fs::metadata(taken.path().join(name)).unwrap().permissions().mode();
            assert_eq!(now & 0o777, *mode, "{name}");
        }
    }
}
