//! Snapshots as streams of `btrfs send`.

use std::os::fd::{AsFd, BorrowedFd};

use coffer_sys::btrfs;

use super::{BtrfsPool, subvolume};
use crate::error::StorageError;
use crate::pool::Streams;
use crate::volume::Volume;

impl Streams for BtrfsPool {
    fn send(&self, snapshot: &Volume, base: Option<&Volume>, into: BorrowedFd<'_>) -> Result<(), StorageError> {
        let failed = |cause| self.place.volume_failed(snapshot, "sending", cause);
        let opened = self.place.open_volume(snapshot)?;
        if subvolume::has_children(opened.as_fd()).map_err(failed)? {
            return Err(StorageError::VolumeRefused {
                pool: self.place.pool.clone(),
                volume: snapshot.clone(),
                doing: "sending",
                why: "other subvolumes are nested in it, which a stream leaves out; export it without --optimized-storage".into(),
            });
        }
        let base = base.map(|base| self.place.open_volume(base)).transpose()?;
        let base = base.as_ref().map(|base| btrfs::subvolume_id(base.as_fd())).transpose().map_err(failed)?;
        btrfs::send(opened.as_fd(), base, into).map_err(failed)
    }
}
