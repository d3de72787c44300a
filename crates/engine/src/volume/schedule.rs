//! Names and ends of snapshots, by the volume's configuration.

use coffer_model::{Config, CustomVolume, Expiry, SnapshotName, Time, VolumeSnapshot};

use crate::error::EngineError;

/// The name of the next snapshot that gets none from the user.
pub(super) fn next_name(volume: &CustomVolume, have: &[VolumeSnapshot]) -> Result<SnapshotName, EngineError> {
    let pattern = volume.config.get("snapshots.pattern").unwrap_or("snap%d");
    let (before, after) = pattern.split_once("%d").unwrap_or((pattern, ""));
    let number = |snapshot: &VolumeSnapshot| snapshot.name.as_str().strip_prefix(before)?.strip_suffix(after)?.parse::<u64>().ok();
    let next = have.iter().filter_map(number).max().map_or(0, |last| last + 1);
    Ok(format!("{before}{next}{after}").parse()?)
}

/// When a snapshot that a user takes now goes by itself.
pub(super) fn expiry_by_hand(config: &Config, now: Time) -> Option<Time> {
    match config.parse::<Expiry>("snapshots.expiry.manual") {
        Some(manual) => manual.after(now),
        None => expiry(config, now),
    }
}

/// When a snapshot that is taken now by the schedule goes by itself.
pub(super) fn expiry(config: &Config, now: Time) -> Option<Time> {
    config.parse::<Expiry>("snapshots.expiry")?.after(now)
}
