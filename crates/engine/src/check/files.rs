//! The state directory against the store: images' files, backups' files, directories of instances that are no more.

use std::os::fd::AsFd;
use std::path::Path;

use coffer_model::entity::ImageForm;
use coffer_model::{Fingerprint, Instance};
use coffer_store::kept_backup;
use coffer_sys::socket::PacketSocket;

use super::{Check, FindingKind};
use crate::error::EngineError;
use crate::instance::start::SOCKET;

/// The directories that hold one directory for each instance, by its key.
const PLACES: [&str; 3] = ["logs", "run", "devlxd"];

impl Check<'_> {
    /// Compares the images directory.
    pub(super) fn images(&mut self) -> Result<(), EngineError> {
        let before = self.engine.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        let files = self.names("images")?;
        let after = self.engine.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        for image in before.iter().filter(|image| after.iter().any(|now| now.fingerprint == image.fingerprint)) {
            let (metadata, rootfs) = coffer_image::receive::names(&image.fingerprint);
            if !files.contains(&metadata) || image.form == ImageForm::Split && !files.contains(&rootfs) {
                let thing = format!("image {} of project {}", image.fingerprint, image.project);
                self.tell(FindingKind::RecordWithoutFile, thing, "its file is gone", "delete it and import it again");
            }
        }
        for file in files {
            let stem = file.strip_suffix(".rootfs").unwrap_or(&file);
            let Ok(fingerprint) = stem.parse::<Fingerprint>() else { continue };
            let known = |image: &coffer_model::Image| image.fingerprint == fingerprint;
            // One that is being stored has its files a moment before its record.
            if before.iter().chain(&after).any(known) || self.engine.is_working() {
                continue;
            }
            let thing = format!("image file {file}");
            self.mend(FindingKind::FileWithoutRecord, thing, "it belongs to no image", "set it aside in images/lost", |engine| {
                set_aside(&engine.inner.settings.dir.join("images"), &file)
            });
        }
        Ok(())
    }

    /// Compares the backups' files.
    pub(super) fn backups(&mut self) -> Result<(), EngineError> {
        let known = self.engine.inner.store.read(kept_backup::list)?;
        let files = self.engine.backup_files()?;
        let after = self.engine.inner.store.read(kept_backup::list)?;
        let file = |owned: &kept_backup::Owned| (owned.owner.directory(), owned.backup.name.as_str().to_owned());
        for (directory, name) in files.iter().filter(|found| !known.iter().chain(&after).any(|owned| file(owned) == **found)) {
            // One that is being made has its file a moment before its record.
            if self.engine.is_working() {
                continue;
            }
            let thing = format!("backup file {}/{name}", directory.display());
            self.mend(FindingKind::FileWithoutRecord, thing, "it belongs to no backup", "set it aside in backups/lost", |engine| {
                set_backup_aside(&engine.inner.settings.dir.join("backups"), directory, name)
            });
        }
        for owned in known.iter().filter(|owned| after.contains(owned) && !files.contains(&file(owned))) {
            let thing = format!("backup {} of {} in project {}", owned.backup.name, owned.owner, owned.owner.project());
            self.mend(FindingKind::RecordWithoutFile, thing, "its file is gone", "forget it", |engine| {
                Ok(engine.inner.store.write(|tx| kept_backup::delete(tx, &owned.owner, &owned.backup.name))?)
            });
        }
        Ok(())
    }

    /// Compares the directories that instances have beside their volumes.
    pub(super) fn directories(&mut self) -> Result<(), EngineError> {
        for place in PLACES {
            let names = self.names(place)?;
            let all = self.engine.inner.store.read(|conn| coffer_store::instance::list(conn, None))?;
            for name in names {
                let path = self.engine.inner.settings.dir.join(place).join(&name);
                if !path.is_dir() || name.starts_with('.') {
                    continue;
                }
                let owner = all.iter().find(|instance| instance.key() == name);
                if place == "run" && self.monitor(&name, &path, owner) || owner.is_some() {
                    continue;
                }
                let thing = format!("directory {place}/{name}");
                self.mend(FindingKind::OrphanDirectory, thing, "its instance is no more", "remove it", |_| {
                    std::fs::remove_dir_all(&path).map_err(|cause| EngineError::system(format!("removing {}", path.display()), cause))
                });
            }
        }
        Ok(())
    }

    /// Looks whether a monitor answers for what is no running instance; answers whether one answers at all.
    fn monitor(&mut self, name: &str, path: &Path, owner: Option<&Instance>) -> bool {
        let answers = std::fs::File::open(path).is_ok_and(|directory| PacketSocket::connect(directory.as_fd(), SOCKET).is_ok());
        if !answers {
            return false;
        }
        match owner {
            None => self.tell(
                FindingKind::OrphanMonitor,
                format!("monitor of {name}"),
                "its instance runs and is in no record",
                "\"coffer admin recover\" takes it in",
            ),
            Some(instance) => {
                let cell = self.engine.inner.cells.get(&instance.project, &instance.name);
                if cell.claim_beside_readers("checking").is_ok() && cell.running().is_err() {
                    let (thing, problem) = (format!("monitor of {name}"), "it answers, and its instance is recorded as stopped");
                    self.tell(FindingKind::OrphanMonitor, thing, problem, "restart the daemon: it takes its instance over");
                }
            }
        }
        true
    }

    fn names(&self, directory: &str) -> Result<Vec<String>, EngineError> {
        let path = self.engine.inner.settings.dir.join(directory);
        let listing = |cause| EngineError::system(format!("listing {}", path.display()), cause);
        let entries = std::fs::read_dir(&path).map_err(listing)?;
        entries.map(|entry| Ok(entry.map_err(listing)?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// Sets the files of images and backups aside that a state directory without a database holds: its records were lost, and the
/// recovery that follows would take the files for remains of what was cut off.
pub(crate) fn set_all_aside(state: &Path) -> Result<(), EngineError> {
    let names = |path: &Path| -> Result<Vec<String>, EngineError> {
        let listing = |cause| EngineError::system(format!("listing {}", path.display()), cause);
        let entries = std::fs::read_dir(path).map_err(listing)?;
        entries.map(|entry| Ok(entry.map_err(listing)?.file_name().to_string_lossy().into_owned())).collect()
    };
    let images = state.join("images");
    for name in names(&images)?.iter().filter(|name| name.strip_suffix(".rootfs").unwrap_or(name).parse::<Fingerprint>().is_ok()) {
        set_aside(&images, name)?;
    }
    let backups = state.join("backups");
    let failed = |cause| EngineError::system(format!("listing {}", backups.display()), cause);
    for (directory, name) in crate::backup::files_below(&backups).map_err(failed)? {
        set_backup_aside(&backups, &directory, &name)?;
    }
    Ok(())
}

/// Sets the file of a backup aside, by the name that tells of what it is.
fn set_backup_aside(backups: &Path, directory: &Path, name: &str) -> Result<(), EngineError> {
    let owner: Vec<_> = directory.iter().skip(1).map(|part| part.to_string_lossy()).collect();
    move_into(&backups.join(directory).join(name), &backups.join("lost"), &format!("{}_{name}", owner.join("_")))
}

/// Moves a file into the directory `lost` beside it: somebody may still want what it holds.
fn set_aside(directory: &Path, name: &str) -> Result<(), EngineError> {
    move_into(&directory.join(name), &directory.join("lost"), name)
}

/// Moves a file into a directory of lost things.
fn move_into(from: &Path, lost: &Path, name: &str) -> Result<(), EngineError> {
    crate::instance::files::private_directory(lost)
        .and_then(|()| std::fs::rename(from, lost.join(name)))
        .map_err(|cause| EngineError::system(format!("setting {} aside", from.display()), cause))
}
