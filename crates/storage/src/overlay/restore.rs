//! Giving an instance the state of one of its snapshots.

use std::os::fd::AsFd;

use coffer_model::SnapshotName;

use super::OverlayPool;
use super::layers;
use crate::dir::quota;
use crate::error::StorageError;
use crate::volume::Volume;

impl OverlayPool {
    pub(super) fn restore_volume(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.release(volume)?;
        let snapshot = volume.snapshot(name);
        let failed = |cause| self.place().missing_or(&snapshot, "reading the layers of", cause);
        let bare = self.bare()?;
        let source = bare.volume(&snapshot).map_err(failed)?;
        let stack = layers::state(source.as_fd()).map_err(failed)?.map(|state| layers::read(state.as_fd())).transpose().map_err(failed)?;
        let old = self.place().open_volume(volume)?;
        let left = layers::of(old.as_fd()).map_err(|cause| self.place().volume_failed(volume, "reading the layers of", cause))?;
        let scratch = {
            let _shared = self.shared();
            let scratch = self.dir.prepare(volume, &mut |target| {
                quota::inherit(old.as_fd(), target)?;
                self.copy_plain(source.as_fd(), target, stack.as_ref(), true)
            })?;
            if let Err(error) = self.place().exchange(&scratch, volume) {
                let _ = self.dir.discard(&scratch);
                return Err(error);
            }
            scratch
        };
        drop(old);
        self.dir.reclaim(volume, &scratch)?;
        self.sweep(volume, &left)
    }
}
