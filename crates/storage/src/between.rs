//! Copying volumes from one pool to another.

use std::os::fd::{AsFd, BorrowedFd};

use coffer_base::Progress;
use coffer_model::SnapshotName;

use crate::error::StorageError;
use crate::pool::{Before, FillError, Pool, Succession, require_room};
use crate::replica::{self, Replicas};
use crate::tree::{self, Change};
use crate::volume::Volume;

/// Makes a volume with the content of one in another pool, and the named snapshots of that too, the oldest first.
///
/// # Errors
/// [`StorageError::NoRoom`] before anything is made; those of [`Pool::mount`] on one side and [`Pool::create`] on the other; then there is no new volume.
pub fn copy_between(
    source: &dyn Pool,
    from: &Volume,
    target: &dyn Pool,
    to: &Volume,
    snapshots: &[SnapshotName],
    progress: &Progress,
) -> Result<(), StorageError> {
    if let Some((sender, receiver)) = streams(source, target) {
        return replica::take_over((source, sender), from, (target, receiver), to, snapshots, progress);
    }
    let directory = source.read(from)?;
    let measured = tree::measure(directory.as_fd());
    let need =
        measured.map_err(|cause| StorageError::Tree { pool: source.name().clone(), volume: from.clone(), doing: "measuring", cause })?;
    require_room(target, to, need)?;
    drop(directory);
    let pairs = pairs(from, to, snapshots);
    match target.succession() {
        // With nothing to be shared with, a copy is just that.
        Some(power) if pairs.len() > 1 => in_turn(source, power, None, &pairs, progress),
        _ => one_by_one(source, target, &pairs, progress),
    }
}

/// Makes a volume with the content of one in another pool, where both have this snapshot of theirs already, with one content.
/// Where the target's pool can, the new one shares with it what did not change since.
///
/// # Errors
/// Those of [`copy_between`].
pub fn copy_between_after(
    source: &dyn Pool,
    from: &Volume,
    target: &dyn Pool,
    to: &Volume,
    common: &SnapshotName,
    progress: &Progress,
) -> Result<(), StorageError> {
    let (earlier, base) = (from.origin().snapshot(common), to.origin().snapshot(common));
    match target.succession() {
        // A stream finds out by itself what both have.
        _ if streams(source, target).is_some() => copy_between(source, from, target, to, &[], progress),
        Some(power) => in_turn(source, power, Some((&earlier, &base)), &pairs(from, to, &[]), progress),
        None => copy_between(source, from, target, to, &[], progress),
    }
}

/// The streams that go from one pool to the other, if both have the same.
fn streams<'a>(source: &'a dyn Pool, target: &'a dyn Pool) -> Option<(&'a dyn Replicas, &'a dyn Replicas)> {
    if source.driver() == target.driver() { source.replicas().zip(target.replicas()) } else { None }
}

/// What is copied to what, in order.
fn pairs(from: &Volume, to: &Volume, snapshots: &[SnapshotName]) -> Vec<(Volume, Volume)> {
    snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name))).chain([(from.clone(), to.clone())]).collect()
}

/// Makes each copy by itself.
fn one_by_one(source: &dyn Pool, target: &dyn Pool, pairs: &[(Volume, Volume)], progress: &Progress) -> Result<(), StorageError> {
    let copy = |from: &Volume, to: &Volume| {
        let directory = source.read(from)?;
        target.create(to, &mut |new| Ok(tree::copy(directory.as_fd(), new, progress)?))
    };
    for (number, (from, to)) in pairs.iter().enumerate() {
        if let Err(error) = copy(from, to) {
            for (_, made) in &pairs[..number] {
                // What cannot be taken back shows as a leftover.
                let _ = target.delete_volume(made);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Makes each copy out of the one before it.
fn in_turn(
    source: &dyn Pool,
    power: &dyn Succession,
    common: Option<(&Volume, &Volume)>,
    pairs: &[(Volume, Volume)],
    progress: &Progress,
) -> Result<(), StorageError> {
    let states: Vec<Volume> = pairs.iter().map(|(_, to)| to.clone()).collect();
    power.create_in_turn(common.map(|(_, base)| base), &states, &mut |number, directory, before| {
        let from = &pairs[number].0;
        let earlier = match number.checked_sub(1) {
            Some(last) => Some(&pairs[last].0),
            None => common.map(|(earlier, _)| earlier),
        };
        match (before, earlier) {
            (Before::Earlier, Some(earlier)) => follow(source, earlier, from, directory, progress),
            (Before::Earlier | Before::Nothing, _) => Ok(tree::copy(source.read(from)?.as_fd(), directory, progress)?),
        }
    })
}

/// Makes of a copy of an earlier state a copy of a later one.
fn follow(source: &dyn Pool, earlier: &Volume, later: &Volume, target: BorrowedFd<'_>, progress: &Progress) -> Result<(), FillError> {
    let known = source.history().map(|power| power.difference(earlier, later)).transpose()?.flatten();
    let Some(known) = known else { return Ok(tree::update(source.read(later)?.as_fd(), target, None, progress)?) };
    let change = Change { earlier: known.earlier.as_fd(), inodes: &known.inodes };
    Ok(tree::update(known.later.as_fd(), target, Some(&change), progress)?)
}
