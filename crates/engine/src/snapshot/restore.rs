//! Putting an instance back to one of its snapshots.

use coffer_base::fault;
use coffer_model::gate::Origin;
use coffer_model::{Checked, Instance, InstanceName, InstanceSnapshot, Profile, ProjectName, SnapshotName};
use coffer_storage::{StorageError, Volume};
use coffer_store::project::Feature;
use coffer_store::{StoreError, Tx};

use super::operation;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::instance::relocate::root_in_pool;
use crate::instance::start::Loaded;
use crate::instance::unsettled;
use crate::live::Claim;
use crate::operations::OperationView;

/// Where a restore that is under way remembers which snapshot it is of.
const RESTORING: &str = "volatile.restoring";

/// Where it remembers that the instance ran and is to run again.
const RUN_AGAIN: &str = "volatile.restoring.start";

impl Engine {
    /// Puts an instance back to one of its snapshots, in an operation. One that runs is killed first and started again:
    /// what it holds in memory belongs to what is given up.
    ///
    /// # Errors
    /// If there is no such instance or snapshot, or the gate refuses what the instance was, because a profile, a pool or
    /// a network is gone.
    pub fn restore_snapshot(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        name: &SnapshotName,
    ) -> Result<OperationView, EngineError> {
        let (loaded, snapshot) = self.load_snapshot(project, instance, name)?;
        self.check_restored(&loaded, &snapshot)?;
        let new = operation("Restoring snapshot", &loaded.instance, name);
        let (engine, caller, instance, name) = (self.clone(), caller.clone(), loaded.instance, name.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim("restoring")?;
            engine.restore(&claim, &instance, &name, &caller)
        }))
    }

    fn restore(&self, claim: &Claim, instance: &Instance, name: &SnapshotName, caller: &Caller) -> Result<(), EngineError> {
        let (loaded, snapshot) = self.load_snapshot(&instance.project, &instance.name, name)?;
        self.check_restored(&loaded, &snapshot)?;
        let runs = claim.cell().status().is_up();
        self.note_restore(instance, Some((name, runs)))?;
        claim.cell().change(|live| live.restarting = runs);
        let restored = self.restore_killed(claim, instance, &snapshot, runs, caller);
        let started = match &restored {
            Err(_) if claim.cell().status().is_up() => Ok(()),
            _ if runs => self.start(claim, instance, Some(caller)),
            _ => Ok(()),
        };
        claim.cell().change(|live| live.restarting = false);
        // Whatever came of it, there is nothing for the next daemon to finish.
        self.note_restore(instance, None)?;
        restored.and(started)?;
        let context = Some(serde_json::json!({ "snapshot": name.as_str() }));
        let source = format!("/1.0/instances/{}", instance.name);
        self.events().lifecycle_with(Some(&instance.project), "instance-restored", source, context, Some(caller));
        Ok(())
    }

    /// The instance as it will be, if the gate lets it be so. Its root stays in the pool that it is in now.
    fn check_restored(&self, now: &Loaded, snapshot: &InstanceSnapshot) -> Result<(Checked<Instance>, Vec<Profile>), EngineError> {
        let mut new = snapshot.restored(&now.instance);
        let profiles = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, &new.project, Feature::Profiles)?;
            coffer_store::profile::for_instance(conn, &home, &new.profiles)
        })?;
        let then = new.expanded_devices(&profiles);
        if then.root().is_none_or(|(_, pool)| pool != now.instance.pool) {
            let root = root_in_pool(&then, &now.instance.pool);
            let root = root.or_else(|| root_in_pool(&now.instance.expanded_devices(&now.profiles), &now.instance.pool));
            new.devices.0.extend(root);
        }
        self.check_change(now, new, Origin::Server)
    }

    fn restore_killed(
        &self,
        claim: &Claim,
        instance: &Instance,
        snapshot: &InstanceSnapshot,
        runs: bool,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        fault::point("restore.recorded").map_err(|cause| EngineError::system("restoring", cause))?;
        if runs {
            self.stop(claim, instance, None, true, Some(caller))?;
        }
        self.restore_stopped(instance, snapshot)
    }

    /// Gives a stopped instance the files and the configuration of a snapshot. May be called again after a crash.
    pub(crate) fn restore_stopped(&self, instance: &Instance, snapshot: &InstanceSnapshot) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("restoring", cause);
        let (project, name) = (&instance.project, &instance.name);
        let old = self.load(project, name)?;
        let (checked, profiles) = self.check_restored(&old, snapshot)?;
        let pool = self.pool_driver(&old.instance.pool)?;
        let snapshots = pool.snapshots().ok_or_else(|| self.no_snapshots(&old.instance))?;
        match snapshots.restore(&Volume::instance(project, name), &snapshot.name) {
            Ok(()) => {}
            // It is done; the space comes back when the pool is opened next.
            Err(error @ StorageError::Reclaim { .. }) => tracing::warn!("{}", coffer_base::chain(&error)),
            Err(error) => return Err(error.into()),
        }
        fault::point("restore.volume-restored").map_err(cut)?;
        let config = checked.expanded_config(&profiles);
        let new = Loaded { instance: checked.clone().into_inner(), id: old.id, profiles, config };
        // What remains is that it is to run again, if it ran: should the daemon die now, the next one starts it.
        self.inner.store.write(|tx| {
            coffer_store::instance::update(tx, &checked)?;
            coffer_store::instance::set_volatile(tx, project, name, &[(RESTORING, None::<&str>)])?;
            unsettled::note(tx, &new.instance, &new.expanded())
        })?;
        fault::point("restore.recorded-whole").map_err(cut)?;
        self.schedule_may_have_changed(&new.config);
        let size = new.root_size()?;
        if size != old.root_size()? {
            self.resize_root(&new.instance, size)?;
        }
        self.write_backup(&self.load(project, name)?)?;
        self.forget_change(&new.instance)
    }

    /// Finishes the restore in which a daemon died, if there is one; says whether the instance is to be started.
    ///
    /// One that still runs was not yet stopped: there is nothing to finish.
    pub(crate) fn finish_restore(&self, instance: &Instance, runs: bool) -> Result<Option<bool>, EngineError> {
        let name: Option<SnapshotName> = instance.config.parse(RESTORING);
        let run_again = instance.config.flag(RUN_AGAIN, false);
        if name.is_none() && !run_again {
            return Ok(None);
        }
        if !runs {
            self.clean_up(&instance.project, &instance.name)?;
            if let Some(name) = name {
                // Also one that nobody sees, which is to go as soon as it is restored.
                let found = self.inner.store.read(|conn| coffer_store::snapshot::get(conn, &instance.project, &instance.name, &name))?;
                let snapshot = found.ok_or_else(|| EngineError::not_found("snapshot", format_args!("{}/{name}", instance.name)))?;
                self.restore_stopped(instance, &snapshot)?;
                tracing::info!(instance = %instance.name, snapshot = %name, "finished restoring it");
            }
        }
        self.note_restore(instance, None)?;
        Ok(Some(run_again && !runs))
    }

    /// Remembers that a restore is under way, or that it is not.
    pub(crate) fn note_restore(&self, instance: &Instance, to: Option<(&SnapshotName, bool)>) -> Result<(), EngineError> {
        Ok(self.inner.store.write(|tx| note_restore_in(tx, instance, to))?)
    }
}

/// Notes a restore among other writes.
pub(crate) fn note_restore_in(tx: &Tx<'_>, instance: &Instance, to: Option<(&SnapshotName, bool)>) -> Result<(), StoreError> {
    let keys = [(RESTORING, to.map(|(name, _)| name.as_str())), (RUN_AGAIN, to.filter(|(_, runs)| *runs).map(|_| "true"))];
    coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys)
}
