//! The files of backups, in a directory that only the daemon enters: `backups/instances/[PROJECT_]INSTANCE/BACKUP` and
//! `backups/custom/POOL/PROJECT_VOLUME/BACKUP`.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use coffer_model::{BackupName, BackupOwner};
use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, unlinkat};

use crate::Engine;
use crate::error::EngineError;
use crate::instance::files::private_directory;

impl Engine {
    /// The directory of all backups.
    pub(super) fn backups_path(&self) -> PathBuf {
        self.inner.settings.dir.join("backups")
    }

    /// The directory of the backups of one thing, made where it is missing.
    pub(super) fn ensure_backup_directory(&self, owner: &BackupOwner) -> Result<OwnedFd, EngineError> {
        let path = self.backups_path().join(owner.directory());
        // Twice: the one above is a pool's, and may go with the last backup of another volume just now.
        let mut made = make_both(&path);
        if made.as_ref().is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound) {
            made = make_both(&path);
        }
        made.map_err(|cause| EngineError::system(format!("making {}", path.display()), cause))?;
        self.backup_directory(owner)
    }

    /// The directory of the backups of one thing.
    pub(super) fn backup_directory(&self, owner: &BackupOwner) -> Result<OwnedFd, EngineError> {
        let path = self.backups_path().join(owner.directory());
        directory(&path).map_err(|cause| EngineError::system(format!("opening {}", path.display()), cause))
    }

    /// Removes the files of all backups of one thing; the store forgets them with it.
    pub(crate) fn remove_backup_files(&self, owner: &BackupOwner) {
        let path = self.backups_path().join(owner.directory());
        match std::fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => tracing::warn!("removing {}: {cause}", path.display()),
            _ => {}
        }
        if let (BackupOwner::Volume { .. }, Some(pool)) = (owner, path.parent()) {
            // The pool's directory goes with the last.
            let _ = std::fs::remove_dir(pool);
        }
    }

    /// Brings the files of a thing's backups along when it gets another name or project. May be called again after a crash.
    pub(crate) fn move_backup_files(&self, from: &BackupOwner, to: &BackupOwner) -> Result<(), EngineError> {
        if from != to {
            self.link_backup_files(from, to)?;
            self.remove_backup_files(from);
        }
        Ok(())
    }

    /// Gives the files of a thing's backups a second name, under what it is going to be. Whichever the store knows when this is
    /// cut is kept, and the other swept.
    pub(crate) fn link_backup_files(&self, from: &BackupOwner, to: &BackupOwner) -> Result<(), EngineError> {
        let failed = |cause| EngineError::system(format!("bringing along the backups of {from}"), cause);
        let there = match directory(&self.backups_path().join(from.directory())) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            there => there.map_err(failed)?,
        };
        let target = self.ensure_backup_directory(to)?;
        for file in names(&self.backups_path().join(from.directory())).map_err(failed)? {
            match linkat(&there, &file, &target, &file, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        rustix::fs::fsync(&target).map_err(|errno| failed(errno.into()))
    }

    /// The files of all backups: the directories that they are in, below that of all backups, and their own names.
    pub(crate) fn backup_files(&self) -> Result<Vec<(PathBuf, String)>, EngineError> {
        files_below(&self.backups_path()).map_err(|cause| EngineError::system("listing the files of backups", cause))
    }

    /// Removes the directories of backups that have nothing in them.
    pub(super) fn remove_empty_directories(&self) {
        let top = self.backups_path();
        let pools = below(&top, Path::new("custom")).unwrap_or_default();
        for directory in directories_below(&top).unwrap_or_default().iter().chain(&pools) {
            // One that has something stays.
            let _ = std::fs::remove_dir(top.join(directory));
        }
    }
}

/// The directories of backups' files.
fn directories_below(top: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories = below(top, Path::new("instances"))?;
    for pool in below(top, Path::new("custom"))? {
        directories.extend(below(top, &pool)?);
    }
    Ok(directories)
}

/// The files of backups below a directory of such.
pub(crate) fn files_below(top: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for directory in directories_below(top)? {
        files.extend(names(&top.join(&directory))?.into_iter().map(|name| (directory.clone(), name)));
    }
    Ok(files)
}

/// Makes a directory and the one above it.
fn make_both(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), private_directory)?;
    private_directory(path)
}

/// The directories in a directory, by their paths from the top. One that is missing is empty.
fn below(top: &Path, place: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(names(&top.join(place))?.into_iter().map(|name| place.join(name)).collect())
}

/// The names in a directory. One that is missing is empty.
fn names(path: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
    }
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
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
