//! Names and ends of snapshots, by the volume's configuration.

use coffer_model::{Config, CustomVolume, Expiry, SnapshotName, SnapshotPattern, Time, VolumeSnapshot};

use crate::error::EngineError;

/// The name of the next snapshot that gets none from the user.
pub(super) fn next_name(volume: &CustomVolume, have: &[VolumeSnapshot]) -> Result<SnapshotName, EngineError> {
    let pattern: SnapshotPattern = volume.config.parse("snapshots.pattern").unwrap_or_default();
    Ok(pattern.name(&jiff::ZonedDateTime::now(), have.iter().map(|snapshot| snapshot.name.as_str())).parse()?)
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
