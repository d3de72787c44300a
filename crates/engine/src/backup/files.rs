//! The files of backups: `backups/instances/[PROJECT_]INSTANCE/BACKUP`, in a directory that only the daemon enters.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use coffer_model::{BackupName, Instance};
use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, unlinkat};

use crate::Engine;
use crate::error::EngineError;
use crate::instance::files::private_directory;

impl Engine {
    /// The directory of all instances' backups.
    pub(super) fn backups_path(&self) -> PathBuf {
        self.inner.settings.dir.join("backups").join("instances")
    }

    /// The directory of an instance's backups, made where it is missing.
    pub(super) fn ensure_backup_directory(&self, instance: &Instance) -> Result<OwnedFd, EngineError> {
        let path = self.backups_path().join(instance.key());
        private_directory(&path).map_err(|cause| EngineError::system(format!("making {}", path.display()), cause))?;
        self.backup_directory(instance)
    }

    /// The directory of an instance's backups.
    pub(super) fn backup_directory(&self, instance: &Instance) -> Result<OwnedFd, EngineError> {
        let path = self.backups_path().join(instance.key());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|cause| EngineError::system(format!("opening {}", path.display()), cause))
    }
}

/// A file without a name: the kernel drops it with its last descriptor.
pub(super) fn unnamed(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(openat(directory, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?)
}

/// Gives a file its name. Nothing of that name may be there.
pub(super) fn name(directory: BorrowedFd<'_>, file: BorrowedFd<'_>, name: &BackupName) -> io::Result<()> {
    linkat(file, "", directory, name.as_str(), AtFlags::EMPTY_PATH)?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Removes a backup's file. One that is not there is no error.
pub(super) fn remove(directory: BorrowedFd<'_>, name: &BackupName) -> io::Result<()> {
    match unlinkat(directory, name.as_str(), AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a backup's file and says how large it is.
pub(super) fn open(directory: BorrowedFd<'_>, name: &BackupName) -> io::Result<(File, u64)> {
    let file = File::from(openat(directory, name.as_str(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    let size = file.metadata()?.len();
    Ok((file, size))
}
