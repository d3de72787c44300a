//! Taking a snapshot.

use coffer_base::{Undo, fault};
use coffer_model::{Instance, InstanceName, InstanceSnapshot, Phase, ProjectName, SnapshotName, SnapshotPattern, Time};
use coffer_storage::Volume;

use super::operation;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::instance::start::Loaded;
use crate::live::Claim;
use crate::operations::OperationView;
use crate::request::{CreateSnapshot, Expiry};

impl Engine {
    /// Takes a snapshot of an instance, which goes on running, in an operation.
    ///
    /// # Errors
    /// If there is no such instance, the name is taken, or the pool cannot keep snapshots.
    pub fn create_snapshot(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        request: CreateSnapshot,
    ) -> Result<OperationView, EngineError> {
        let loaded = self.load(project, instance)?;
        let name = self.inner.store.try_read(|conn| new_name(conn, &loaded, &request))?;
        let new = operation("Snapshotting instance", &loaded.instance, &name);
        let (engine, caller, instance) = (self.clone(), caller.clone(), loaded.instance);
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("snapshotting")?;
            engine.take_snapshot(&claim, &instance, &request, Some(&caller))
        }))
    }

    /// Takes a snapshot. The claim is the caller's. On failure nothing stays.
    ///
    /// It waits for the disk four times, and each has its reason: the record must be there before the volume, so that whoever
    /// finds a volume after a power loss knows what it is; `backup.yaml` takes its name only with its content on the disk, so that
    /// there is a whole one at any moment; the snapshot itself; and its being whole must outlast the answer to the client. That
    /// `backup.yaml` has its name for good is part of the snapshot where taking one commits the file system, as on btrfs, where a
    /// commit of its own would cost as much as the snapshot; elsewhere it is a fifth. Hence it is written first, and the snapshot
    /// holds a description of itself.
    pub(crate) fn take_snapshot(
        &self,
        claim: &Claim,
        instance: &Instance,
        request: &CreateSnapshot,
        caller: Option<&Caller>,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("snapshotting", cause);
        let (project, store) = (&instance.project, &self.inner.store);
        let (loaded, snapshot) = self.record_snapshot(instance, request)?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a snapshot: {warning}"));
        undo.push(format!("forgetting snapshot {}/{}", instance.name, snapshot.name), || {
            store.write(|tx| coffer_store::snapshot::delete(tx, project, &instance.name, &snapshot.name))
        });
        fault::point("snapshot.recorded").map_err(cut)?;
        undo.push(format!("describing instance {} without snapshot {}", instance.name, snapshot.name), || self.write_backup(&loaded));
        let commits = self.pool_driver(&loaded.instance.pool)?.snapshots().is_some_and(|power| power.commits());
        self.write_backup_ahead(&loaded, &snapshot, commits)?;
        fault::point("snapshot.described").map_err(cut)?;
        self.snapshot_volume(claim, &loaded.instance, &snapshot.name)?;
        let volume = Volume::instance(project, &instance.name).snapshot(&snapshot.name);
        let pool = self.pool_driver(&loaded.instance.pool)?;
        undo.push(format!("removing volume {volume}"), move || pool.delete_volume(&volume));
        fault::point("snapshot.volume-made").map_err(cut)?;
        store.write(|tx| coffer_store::snapshot::set_phase(tx, project, &instance.name, &snapshot.name, Phase::Ready))?;
        undo.keep();
        fault::point("snapshot.finished").map_err(cut)?;
        self.snapshot_lifecycle(instance, &snapshot.name, "instance-snapshot-created", caller);
        if snapshot.expires_at.is_some() {
            self.look_at_snapshots_again();
        }
        Ok(())
    }

    /// Writes down what the instance is now, under a name that nobody else gets meanwhile.
    fn record_snapshot(&self, instance: &Instance, request: &CreateSnapshot) -> Result<(Loaded, InstanceSnapshot), EngineError> {
        let loaded = self.load(&instance.project, &instance.name)?;
        if loaded.instance.phase != Phase::Ready {
            return Err(EngineError::Refused(format!("instance {} is not whole: it is being made or deleted", instance.name)));
        }
        let snapshot = self.inner.store.try_write(|tx| {
            let now = Time::now();
            let expires_at = match request.expiry {
                Expiry::AsConfigured => {
                    loaded.config.parse::<coffer_model::Expiry>("snapshots.expiry").and_then(|expiry| expiry.after(now))
                }
                Expiry::Never => None,
                Expiry::At(time) => Some(time),
            };
            let snapshot = InstanceSnapshot::of(&loaded.instance, new_name(tx, &loaded, request)?, now, expires_at);
            coffer_store::snapshot::insert(tx, &instance.project, &instance.name, &snapshot)?;
            Ok::<_, EngineError>(snapshot)
        })?;
        Ok((loaded, snapshot))
    }

    fn snapshot_volume(&self, claim: &Claim, instance: &Instance, name: &SnapshotName) -> Result<(), EngineError> {
        let pool = self.pool_driver(&instance.pool)?;
        let snapshots = pool.snapshots().ok_or_else(|| self.no_snapshots(instance))?;
        let still = if snapshots.at_once() { None } else { self.hold_still(claim, instance)? };
        fault::point("snapshot.held-still").map_err(|cause| EngineError::system("snapshotting", cause))?;
        snapshots.snapshot(&Volume::instance(&instance.project, &instance.name), name)?;
        drop(still);
        Ok(())
    }

    /// Says that the pool of an instance keeps no snapshots.
    pub(crate) fn no_snapshots(&self, instance: &Instance) -> EngineError {
        EngineError::Refused(format!("instance {}: the driver of storage pool {} keeps no snapshots", instance.name, instance.pool))
    }
}

/// The name that was asked for, if it is free, or the next of the instance's pattern.
fn new_name(conn: &coffer_store::Conn, loaded: &Loaded, request: &CreateSnapshot) -> Result<SnapshotName, EngineError> {
    let (project, instance) = (&loaded.instance.project, &loaded.instance.name);
    let taken: Vec<SnapshotName> =
        coffer_store::snapshot::of_instance(conn, project, instance)?.into_iter().map(|snapshot| snapshot.name).collect();
    match &request.name {
        Some(name) if taken.contains(name) => Err(EngineError::exists("snapshot", format_args!("{instance}/{name}"))),
        Some(name) => Ok(name.clone()),
        None => {
            let pattern: SnapshotPattern = loaded.config.parse("snapshots.pattern").unwrap_or_default();
            Ok(pattern.name(&jiff::ZonedDateTime::now(), taken.iter().map(SnapshotName::as_str)).parse()?)
        }
    }
}
