//! Removing datasets that others were cloned from: their data must stay until the last of those is gone.
//!
//! Such a dataset loses its name at once and goes to the pool's `deleted` folder, as it does with LXD, rolled back to the
//! last state that something still needs, so that it takes no more room than that. It goes with the last clone.

use uuid::Uuid;

use super::dataset::{self, Root};
use super::store::COPY;
use crate::mounted::Fault;

/// The folder of what is deleted but still needed.
pub(super) const DELETED: &str = "deleted";

/// What limits a dataset that is in use, and means nothing for one that only keeps data.
const LIMITS: [&str; 4] = ["quota", "refquota", "reservation", "refreservation"];

/// Removes a dataset, or parks it; then what was only kept for it.
pub(super) fn remove(root: &Root, name: &str) -> Result<(), Fault> {
    let lineage = dataset::lineage(name)?;
    let Some((_, state)) = lineage.last_needed().and_then(|last| last.split_once('@')) else {
        dataset::destroy(name)?;
        return lineage.origin.map_or(Ok(()), |origin| release(root, &origin));
    };
    let parked = root.below(&format!("{DELETED}/{}", Uuid::new_v4()));
    dataset::rename(name, &parked)?;
    // Room that cannot be freed now is freed with the rest.
    let _ = dataset::set(&parked, &LIMITS.map(|limit| format!("{limit}=none")));
    let _ = dataset::roll_back(&format!("{parked}@{state}"));
    Ok(())
}

/// Removes a snapshot that nothing is cloned from any more, and what was parked for its sake.
pub(super) fn release(root: &Root, origin: &str) -> Result<(), Fault> {
    let mut next = Some(origin.to_owned());
    while let Some(origin) = next.take() {
        let Some((name, snapshot)) = origin.split_once('@') else { break };
        let lineage = match dataset::lineage(name) {
            // Somebody else was quicker.
            Err(Fault::Missing) => break,
            other => other?,
        };
        let needed = |(found, clones): &(String, Vec<String>)| *found != origin || !clones.is_empty();
        if !name.starts_with(&root.below(&format!("{DELETED}/"))) {
            // What never changes keeps its one snapshot for the next clone.
            if snapshot.starts_with(COPY) && !lineage.snapshots.iter().any(|found| found.0 == origin && needed(found)) {
                gone(dataset::destroy(&origin))?;
            }
            break;
        }
        if let Some(last) = lineage.last_needed() {
            if !lineage.snapshots.iter().all(needed) {
                gone(dataset::destroy(&origin))?;
                gone(dataset::roll_back(last))?;
            }
            break;
        }
        gone(dataset::destroy(name))?;
        next = lineage.origin;
    }
    Ok(())
}

/// Removes what a kill left of the steps above, and says how many things that were.
pub(super) fn tidy(root: &Root) -> Result<usize, Fault> {
    let mut removed = 0;
    let names = dataset::names(&root.0)?;
    let parked = root.below(&format!("{DELETED}/"));
    let whole = names.iter().filter(|name| name.starts_with(&parked) && !name.contains('@'));
    for name in whole {
        let lineage = match dataset::lineage(name) {
            Err(Fault::Missing) => continue,
            other => other?,
        };
        if lineage.last_needed().is_none() {
            gone(dataset::destroy(name))?;
            removed += 1;
            lineage.origin.map_or(Ok(()), |origin| release(root, &origin))?;
        }
    }
    let mut kept: Vec<&str> = names
        .iter()
        .filter_map(|name| name.split_once('@'))
        .filter(|(_, snapshot)| snapshot.starts_with(COPY))
        .map(|(name, _)| name)
        .collect();
    kept.dedup();
    for name in kept {
        let lineage = match dataset::lineage(name) {
            Err(Fault::Missing) => continue,
            other => other?,
        };
        let idle = |(found, clones): &&(String, Vec<String>)| clones.is_empty() && found.contains(&format!("@{COPY}"));
        for (snapshot, _) in lineage.snapshots.iter().filter(idle) {
            gone(dataset::destroy(snapshot))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What is gone already is as good as removed.
fn gone(removed: Result<(), Fault>) -> Result<(), Fault> {
    match removed {
        Err(Fault::Missing) => Ok(()),
        other => other,
    }
}
