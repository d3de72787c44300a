//! Removing layers that nothing stands on any more.
//!
//! What is used stands on disk, in the volumes' own lists, and is read there each time: nothing that is only remembered
//! decides that data goes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::PoisonError;

use coffer_base::fault;
use coffer_model::VolumeKind;
use rustix::fs::RenameFlags;

use super::OverlayPool;
use super::layers::{self, Bare, LayerId, Stack};
use crate::error::StorageError;
use crate::mounts;
use crate::place::{Scratch, names, open_directory};
use crate::pool::Found;
use crate::tree;
use crate::volume::Volume;

impl OverlayPool {
    /// Removes those layers of a volume's former stack that nothing stands on any more.
    pub(super) fn sweep(&self, volume: &Volume, stack: &Stack) -> Result<(), StorageError> {
        let unused = {
            let _alone = self.layers.write().unwrap_or_else(PoisonError::into_inner);
            let unused = self.unused(stack.0.iter().copied().collect())?;
            self.withdraw_layers(&unused)?
        };
        for scratch in unused {
            fault::point("overlay.layer-withdrawn").map_err(|cause| self.place().volume_failed(volume, "removing the layers of", cause))?;
            self.dir.reclaim(volume, &scratch)?;
        }
        Ok(())
    }

    /// Removes what was left half made or half removed, and layers that nothing stands on.
    pub(super) fn clear(&self) -> Result<usize, StorageError> {
        let doing = "clearing temporaries of";
        let failed = |cause| self.place().failed(doing, cause);
        let (directory, found) = self.place().temporaries()?;
        for (mount, _) in mounts::below(&self.place().scratch_path("")).map_err(failed)?.iter().rev() {
            mounts::unmount(mount).map_err(failed)?;
        }
        let removed = |cause| StorageError::PoolTree { pool: self.place().pool.clone(), doing, cause };
        for name in &found {
            tree::remove(directory.as_fd(), name).map_err(removed)?;
        }
        let _alone = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let home = open_directory(self.place().open()?.as_fd(), layers::HOME).map_err(failed)?;
        let all = names(home.as_fd()).map_err(failed)?;
        let unused = self.unused(all.iter().filter_map(|name| LayerId::parse(name.to_str()?)).collect())?;
        for scratch in self.withdraw_layers(&unused)? {
            self.dir.discard(&scratch).map_err(removed)?;
        }
        Ok(found.len() + unused.len())
    }

    /// Those of some layers that no list names.
    fn unused(&self, mut layers: BTreeSet<LayerId>) -> Result<BTreeSet<LayerId>, StorageError> {
        let mut volumes: Vec<Volume> = self.place().list()?.into_iter().filter_map(layered).collect();
        // Most stand on an image: the fewest lists are read if those come first.
        volumes.sort_by_key(|volume| volume.kind() != VolumeKind::Image);
        let bare = self.bare()?;
        for volume in volumes {
            if layers.is_empty() {
                return Ok(layers);
            }
            let failed = |cause| self.place().volume_failed(&volume, "reading the layers of", cause);
            let top = match bare.volume(&volume) {
                // It has just been removed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(failed)?,
            };
            for layer in layers::of(top.as_fd()).map_err(failed)?.0 {
                layers.remove(&layer);
            }
        }
        Ok(layers)
    }

    /// Takes layers away from where they are looked for.
    fn withdraw_layers(&self, layers: &BTreeSet<LayerId>) -> Result<Vec<Scratch>, StorageError> {
        let failed = |cause| self.place().failed("removing a layer of", cause);
        let Bare(top) = Bare(self.place().open()?);
        let home = open_directory(top.as_fd(), layers::HOME).map_err(failed)?;
        let mut withdrawn = Vec::new();
        for id in layers {
            let scratch = self.place().scratch()?;
            match rustix::fs::renameat_with(&home, id.to_string(), &scratch.directory, scratch.name.as_str(), RenameFlags::NOREPLACE) {
                Ok(()) => withdrawn.push(scratch),
                // One that never came to be.
                Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Ok(withdrawn)
    }
}

fn layered(found: Found) -> Option<Volume> {
    match found {
        Found::Volume(volume) if !OverlayPool::is_plain(&volume) => Some(volume),
        Found::Volume(_) | Found::Foreign(_) => None,
    }
}
