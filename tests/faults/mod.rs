//! `kill -9` of the daemon at every named point of a use case leaves a complete thing or nothing.

mod archives;
mod copies;
mod errors;
mod instances;
mod parents;
mod volumes;

use std::time::Duration;

use coffer_testkit::{Daemon, ImageServer, OciRegistry, Offer, Options, Packing, can_run, has_fault_points, images};
use serde_json::json;

use crate::setting::ready_daemon;

/// The points, each with what a test must do to reach it.
const POINTS: &[(&str, UseCase)] = &[
    ("create.recorded", UseCase::Launch),
    ("create.volume-made", UseCase::Launch),
    ("create.backup-written", UseCase::Launch),
    ("create.finished", UseCase::Launch),
    ("start.volume-mounted", UseCase::Launch),
    ("start.devices-ready", UseCase::Launch),
    ("start.monitor-spawned", UseCase::Launch),
    ("start.running", UseCase::Launch),
    ("files.volume-mounted", UseCase::Files),
    ("stop.asked", UseCase::Stop),
    ("stop.ended", UseCase::Stop),
    ("stop.devices-removed", UseCase::Stop),
    ("delete.marked", UseCase::Delete),
    ("delete.snapshots-removed", UseCase::Delete),
    ("delete.volume-removed", UseCase::Delete),
    ("delete.forgotten", UseCase::Delete),
    ("snapshot.recorded", UseCase::Snapshot),
    ("snapshot.described", UseCase::Snapshot),
    ("snapshot.held-still", UseCase::Snapshot),
    ("snapshot.volume-made", UseCase::Snapshot),
    ("snapshot.finished", UseCase::Snapshot),
    ("snapshot-rename.recorded", UseCase::SnapshotRename),
    ("snapshot-rename.volume-renamed", UseCase::SnapshotRename),
    ("snapshot-delete.marked", UseCase::SnapshotDelete),
    ("snapshot-delete.volume-removed", UseCase::SnapshotDelete),
    ("restore.recorded", UseCase::Restore),
    ("restore.volume-restored", UseCase::Restore),
    ("restore.recorded-whole", UseCase::Restore),
    ("copy.recorded", UseCase::Copy),
    ("copy.volume-made", UseCase::Copy),
    ("copy.finished", UseCase::Copy),
    ("replace.recorded", UseCase::Replace),
    ("replace.filled", UseCase::Replace),
    ("move.recorded", UseCase::Move),
    ("move.copied", UseCase::Move),
    ("move.recorded-whole", UseCase::Move),
    ("move.volumes-moved", UseCase::Move),
    ("create.image-fetched", UseCase::RemoteLaunch),
    ("publish.packed", UseCase::Publish),
    ("backup.snapshot-taken", UseCase::Backup),
    ("backup.held", UseCase::Backup),
    ("backup.packed", UseCase::Backup),
    ("backup.stored", UseCase::Backup),
    ("backup.recorded", UseCase::Backup),
    ("import.recorded", UseCase::Import),
    ("import.volumes-made", UseCase::Import),
    ("import.finished", UseCase::Import),
    ("image.received", UseCase::Image),
    ("image.stored", UseCase::Image),
    ("image.recorded", UseCase::Image),
    ("image-layers.fetched", UseCase::Pull),
    ("image-layers.recorded", UseCase::Pull),
    ("image-refresh.replaced", UseCase::ImageRefresh),
    ("overlay.layered", UseCase::Layers),
    ("overlay.layer-made", UseCase::Layers),
    ("overlay.layer-frozen", UseCase::Layers),
    ("overlay.layer-withdrawn", UseCase::Layers),
    ("pool.recorded", UseCase::Pool),
    ("pool.made", UseCase::Pool),
    ("network.recorded", UseCase::Network),
    ("network.up", UseCase::Network),
    ("network-rename.down", UseCase::NetworkRename),
    ("network-rename.recorded", UseCase::NetworkRename),
    ("network-rename.up", UseCase::NetworkRename),
    ("volume.recorded", UseCase::Volume(Volumes::Create)),
    ("volume.made", UseCase::Volume(Volumes::Create)),
    ("volume-import.filled", UseCase::Volume(Volumes::Import)),
    ("volume-rename.backups-linked", UseCase::Volume(Volumes::Rename)),
    ("volume-rename.recorded", UseCase::Volume(Volumes::Rename)),
    ("volume-rename.done", UseCase::Volume(Volumes::Rename)),
    ("volume-move.copied", UseCase::Volume(Volumes::Move)),
    ("volume-move.switched", UseCase::Volume(Volumes::Move)),
    ("volume-refresh.recorded", UseCase::Volume(Volumes::Refresh)),
    ("volume-delete.marked", UseCase::Volume(Volumes::Delete)),
    ("volume-delete.removed", UseCase::Volume(Volumes::Delete)),
    ("volume-snapshot.recorded", UseCase::Volume(Volumes::Snapshot)),
    ("volume-snapshot.made", UseCase::Volume(Volumes::Snapshot)),
    ("volume-snapshot-rename.recorded", UseCase::Volume(Volumes::RenameSnapshot)),
    ("volume-snapshot-delete.marked", UseCase::Volume(Volumes::DeleteSnapshot)),
    ("adopt.recorded", UseCase::Adopt),
    ("change.applied", UseCase::Change),
    ("change.recorded", UseCase::Change),
    ("profile-change.recorded", UseCase::ProfileChange),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UseCase {
    Launch,
    Files,
    Stop,
    Delete,
    Snapshot,
    SnapshotRename,
    SnapshotDelete,
    Restore,
    Copy,
    Replace,
    Move,
    Publish,
    Backup,
    Import,
    Image,
    ImageRefresh,
    RemoteLaunch,
    Pull,
    Layers,
    Pool,
    Network,
    NetworkRename,
    Adopt,
    Change,
    ProfileChange,
    Volume(Volumes),
}

/// What is done with users' volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volumes {
    Create,
    Import,
    Rename,
    Move,
    Refresh,
    Delete,
    Snapshot,
    RenameSnapshot,
    DeleteSnapshot,
}

#[test]
fn the_list_of_points_is_the_products() {
    let ours: Vec<_> = POINTS.iter().map(|(point, _)| *point).collect();
    assert_eq!(ours, coffer_base::fault::POINTS, "a point was added or renamed: say here what reaches it");
}

/// Runs a use case once for each of its points, in a daemon that dies there, and looks at what the next daemon makes of it.
#[track_caller]
fn each(use_case: UseCase, act: impl Fn(&mut Daemon, &str)) {
    let Some(mut daemon) = ready_with_points() else { return };
    let before = daemon.world();
    for point in points(use_case) {
        if use_case == UseCase::Launch {
            arm(&mut daemon, point);
        }
        act(&mut daemon, point);
        if exists(&daemon, "/1.0/instances/c1") {
            daemon.coffer(["delete", "--force", "c1"]).ok();
        }
        daemon.expect_nothing_since(&before);
    }
}

fn ready_with_points() -> Option<Daemon> {
    if can_run() && has_fault_points() { ready_daemon() } else { None }
}

fn points(use_case: UseCase) -> impl Iterator<Item = &'static str> {
    POINTS.iter().filter(move |(_, own)| *own == use_case).map(|(point, _)| *point)
}

/// Starts the daemon anew so that it dies at this point.
#[track_caller]
fn arm(daemon: &mut Daemon, point: &str) {
    daemon.stop();
    daemon.set_env("COFFER_FAULT", &format!("{point}=kill"));
    daemon.launch();
}

/// Expects that the daemon died, and starts one that will not.
#[track_caller]
fn revive(daemon: &mut Daemon, point: &str) {
    assert!(daemon.wait_end(Duration::from_secs(20)), "{point} was not reached\n{}", daemon.log());
    daemon.unset_env("COFFER_FAULT");
    daemon.launch();
    assert_eq!(daemon.api().get("/internal/fsck"), json!([]), "{point}: store, disk and kernel must say the same");
}

/// Sends a request that the daemon may not live to answer, and waits for the operation if it does.
fn post(daemon: &Daemon, method: &str, path: &str, body: &serde_json::Value) -> std::io::Result<()> {
    let answer = daemon.api().request(method, path, Some(body))?.json();
    if let Some(operation) = answer["operation"].as_str().filter(|operation| !operation.is_empty()) {
        daemon.api().request("GET", &format!("{operation}/wait?timeout=30"), None)?;
    }
    Ok(())
}

/// Like [`post`], with a file as the body.
fn send(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
    let mut all = vec![("Content-Type", "application/octet-stream")];
    all.extend_from_slice(headers);
    let answer = daemon.api().send("POST", path, &all, body)?.json();
    if let Some(operation) = answer["operation"].as_str().filter(|operation| !operation.is_empty()) {
        daemon.api().request("GET", &format!("{operation}/wait?timeout=30"), None)?;
    }
    Ok(())
}

#[track_caller]
fn exists(daemon: &Daemon, path: &str) -> bool {
    daemon.api().request("GET", path, None).unwrap_or_else(|error| panic!("GET {path}: {error}")).status == 200
}

/// Starting what a cut left behind must work.
trait RunAgain {
    fn run_again(&self);
}

impl RunAgain for Daemon {
    #[track_caller]
    fn run_again(&self) {
        self.change_state("c1", "start");
        assert_eq!(self.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
    }
}
