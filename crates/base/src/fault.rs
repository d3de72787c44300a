//! Named failure points, compiled out unless the crate's `fault` feature is on.
//!
//! A test names a point and what happens there in the environment variable `COFFER_FAULT`, as `POINT=ACTION`:
//! `kill` ends the process as `kill -9` does, `error` makes the point return an error.

/// Every failure point by name, so that a test can go through all of them.
///
/// The names read `use case.step-just-finished`.
pub const POINTS: &[&str] = &[
    "create.recorded",
    "create.volume-made",
    "create.backup-written",
    "create.finished",
    "start.volume-mounted",
    "start.devices-ready",
    "start.monitor-spawned",
    "start.running",
    "files.volume-mounted",
    "stop.asked",
    "stop.ended",
    "stop.devices-removed",
    "delete.marked",
    "delete.snapshots-removed",
    "delete.volume-removed",
    "delete.forgotten",
    "snapshot.recorded",
    "snapshot.described",
    "snapshot.held-still",
    "snapshot.volume-made",
    "snapshot.finished",
    "snapshot-rename.recorded",
    "snapshot-rename.volume-renamed",
    "snapshot-delete.marked",
    "snapshot-delete.volume-removed",
    "restore.recorded",
    "restore.volume-restored",
    "restore.recorded-whole",
    "copy.recorded",
    "copy.volume-made",
    "copy.finished",
    "replace.recorded",
    "replace.filled",
    "move.recorded",
    "move.copied",
    "move.recorded-whole",
    "move.volumes-moved",
    "create.image-fetched",
    "publish.packed",
    "backup.snapshot-taken",
    "backup.held",
    "backup.packed",
    "backup.stored",
    "backup.recorded",
    "import.recorded",
    "import.volumes-made",
    "import.finished",
    "image.received",
    "image.stored",
    "image.recorded",
    "image-layers.fetched",
    "image-layers.recorded",
    "image-refresh.replaced",
    "overlay.layered",
    "overlay.layer-made",
    "overlay.layer-frozen",
    "overlay.layer-withdrawn",
    "pool.recorded",
    "pool.made",
    "network.recorded",
    "network.up",
    "network-rename.down",
    "network-rename.recorded",
    "network-rename.up",
    "volume.recorded",
    "volume.made",
    "volume-import.filled",
    "volume-rename.backups-linked",
    "volume-rename.recorded",
    "volume-rename.done",
    "volume-move.copied",
    "volume-move.switched",
    "volume-refresh.recorded",
    "volume-delete.marked",
    "volume-delete.removed",
    "volume-snapshot.recorded",
    "volume-snapshot.made",
    "volume-snapshot-rename.recorded",
    "volume-snapshot-delete.marked",
    "adopt.recorded",
    "change.applied",
    "change.recorded",
    "profile-change.recorded",
];

/// Marks a place where a test may cut the use case.
///
/// # Errors
/// Only in a build with the `fault` feature, when `COFFER_FAULT` names this point with the action `error`.
#[cfg(feature = "fault")]
pub fn point(name: &'static str) -> std::io::Result<()> {
    debug_assert!(POINTS.contains(&name), "failure point {name} is missing in POINTS");
    let Ok(wanted) = std::env::var("COFFER_FAULT") else { return Ok(()) };
    match wanted.split_once('=') {
        Some((point, "kill")) if point == name => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            Ok(())
        }
        Some((point, "error")) if point == name => Err(std::io::Error::other(format!("failure point {name}"))),
        _ => Ok(()),
    }
}

/// Marks a place where a test may cut the use case; does nothing in this build.
///
/// # Errors
/// None in this build.
#[cfg(not(feature = "fault"))]
#[inline(always)]
pub fn point(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}
