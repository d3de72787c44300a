//! States of a volume that are made one out of the other, and what changed between two of them.

use std::os::fd::{AsFd, OwnedFd};

use coffer_sys::btrfs;

use super::{BtrfsPool, subvolume};
use crate::error::StorageError;
use crate::place::{Scratch, open_directory};
use crate::pool::{Before, Difference, FillInTurn, History, Pool, Succession, View};
use crate::volume::Volume;

impl History for BtrfsPool {
    fn difference(&self, earlier: &Volume, later: &Volume) -> Result<Option<Difference>, StorageError> {
        let failed = |cause| self.place.volume_failed(later, "comparing", cause);
        let (before, now) = (self.place.open_volume(earlier)?, self.place.open_volume(later)?);
        // The numbers of inodes are unique within one subvolume alone.
        if subvolume::has_children(before.as_fd()).map_err(failed)? || subvolume::has_children(now.as_fd()).map_err(failed)? {
            return Ok(None);
        }
        let view = if later.snapshot_name().is_some() { View::of(now) } else { self.hold(now).map_err(failed)? };
        let first = btrfs::lineage(before.as_fd()).map_err(failed)?;
        let second = btrfs::lineage(view.as_fd()).map_err(failed)?;
        // Two snapshots of one subvolume, neither changed since: whatever differs was changed in that subvolume between them.
        let in_line = first.is_untouched() && second.is_untouched() && first.parent == second.parent && first.made <= second.made;
        if !in_line {
            return Ok(None);
        }
        let inodes = btrfs::changed_since(view.as_fd(), first.made).map_err(failed)?;
        Ok(Some(Difference { earlier: View::of(before), later: view, inodes }))
    }
}

impl Succession for BtrfsPool {
    fn create_in_turn(&self, base: Option<&Volume>, states: &[Volume], fill: FillInTurn<'_>) -> Result<(), StorageError> {
        let Some(last) = states.last() else { return Ok(()) };
        states.iter().try_for_each(|state| self.place.require_free(state))?;
        let scratch = self.place.scratch()?;
        let mut made = Vec::new();
        let result = self.grow(base, states, &scratch, &mut made, fill).and_then(|()| self.place.publish(&scratch, last));
        if let Err(error) = result {
            self.discard_quietly(&scratch);
            for state in made {
                // What cannot be taken back shows as a leftover.
                let _ = self.delete_volume(state);
            }
            if last.snapshot_name().is_some() {
                self.place.tidy_snapshots(last);
            }
            return Err(error);
        }
        if last.snapshot_name().is_some() {
            let made = self.place.open_volume(last)?;
            btrfs::set_read_only(made.as_fd(), true).map_err(|cause| self.place.volume_failed(last, "closing", cause))?;
        }
        Ok(())
    }
}

impl BtrfsPool {
    /// Fills one subvolume state by state, with a snapshot of each but the last, so that they are all of one line.
    fn grow<'s>(
        &self,
        base: Option<&Volume>,
        states: &'s [Volume],
        scratch: &Scratch,
        made: &mut Vec<&'s Volume>,
        fill: FillInTurn<'_>,
    ) -> Result<(), StorageError> {
        let Some((last, snapshots)) = states.split_last() else { return Ok(()) };
        let failed = |cause| self.place.volume_failed(last, "creating", cause);
        let (directory, mut before) = self.begin(base, scratch, last)?;
        for (number, state) in states.iter().enumerate() {
            fill(number, directory.as_fd(), before).map_err(|cause| self.place.fill_failed(state, cause))?;
            crate::place::close_top(state, directory.as_fd()).map_err(failed)?;
            before = Before::Earlier;
            if number < snapshots.len() {
                let spot = self.place.spot(state, true)?;
                btrfs::create_snapshot(spot.directory.as_fd(), spot.name.as_ref(), directory.as_fd(), true).map_err(failed)?;
                made.push(state);
            }
        }
        Ok(())
    }

    /// Makes the subvolume to be filled, out of nothing or of a base in which nothing is nested.
    fn begin(&self, base: Option<&Volume>, scratch: &Scratch, volume: &Volume) -> Result<(OwnedFd, Before), StorageError> {
        let failed = |cause| self.place.volume_failed(volume, "creating", cause);
        let (place, name) = (scratch.directory.as_fd(), scratch.name.as_ref());
        if let Some(base) = base {
            let base = self.place.open_volume(base)?;
            if !subvolume::has_children(base.as_fd()).map_err(failed)? {
                btrfs::create_snapshot(place, name, base.as_fd(), false).map_err(failed)?;
                return Ok((open_directory(place, &scratch.name).map_err(failed)?, Before::Earlier));
            }
        }
        btrfs::create_subvolume(place, name).map_err(failed)?;
        let directory = open_directory(place, &scratch.name).map_err(failed)?;
        crate::place::begin_top(volume, directory.as_fd()).map_err(failed)?;
        Ok((directory, Before::Nothing))
    }

    /// Keeps what a volume is at this moment as long as the answer lives.
    fn hold(&self, volume: OwnedFd) -> std::io::Result<View> {
        let scratch = self.place.scratch().map_err(std::io::Error::other)?;
        btrfs::create_snapshot(scratch.directory.as_fd(), scratch.name.as_ref(), volume.as_fd(), true)?;
        let held = Held(scratch);
        Ok(View::with(open_directory(held.0.directory.as_fd(), &held.0.name)?, held))
    }
}

/// A snapshot among the temporaries that goes with this.
struct Held(Scratch);

impl Drop for Held {
    fn drop(&mut self) {
        // What cannot be removed now goes with the temporaries.
        let _ = subvolume::remove(self.0.directory.as_fd(), self.0.name.as_ref());
    }
}
