//! Bringing a copy up to date with what it is a copy of.

use std::collections::HashSet;

use coffer_base::{Progress, Undo};
use coffer_model::{Instance, InstanceSnapshot, Phase, SnapshotName, Status, Time};
use coffer_storage::{Volume, copy_between, copy_between_after};

use super::copy::{Beside, Model, OF_COPIED_FILES, copied_snapshot};
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::request::InstanceChange;

/// Where a refreshed copy remembers, until its next update, what it was refreshed from: `PROJECT/NAME`.
pub(crate) const REFRESHED_FROM: &str = "volatile.refreshed_from";

impl Engine {
    /// Brings a stopped copy up to date in an operation: only the snapshots that it lacks are copied, those that its source
    /// no longer has go, and its files become the source's.
    pub(crate) fn refresh_instance(
        &self,
        caller: &Caller,
        model: Model,
        target: Instance,
        with_snapshots: bool,
    ) -> Result<OperationView, EngineError> {
        let source = &model.instance;
        if (&source.project, &source.name) == (&target.project, &target.name) {
            return Err(EngineError::Refused(format!("instance {} cannot be refreshed from itself", target.name)));
        }
        let cell = self.inner.cells.get(&target.project, &target.name);
        if cell.status() != Status::Stopped {
            return Err(cell.wrong_state(cell.status(), "it can be refreshed only when it is stopped"));
        }
        let new = NewOperation::instance("Refreshing instance", &target.project, target.name.as_str());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let claim = cell.claim("refreshing")?;
            if cell.status() != Status::Stopped {
                return Err(cell.wrong_state(cell.status(), "it can be refreshed only when it is stopped"));
            }
            let from = engine.inner.cells.get(&model.instance.project, &model.instance.name).claim_beside_readers("copying")?;
            let progress = operation.progress();
            let mut common = None;
            if with_snapshots && model.snapshot.is_none() {
                engine.refresh_snapshots(&model, &target, &progress)?;
                common = model.snapshots.last().map(|snapshot| &snapshot.name);
            }
            let mut next = InstanceSnapshot::of(&target, hidden_name("refresh")?, Time::now(), None);
            for key in OF_COPIED_FILES {
                match model.instance.config.get(key) {
                    Some(value) => next.config.set(key, value),
                    None => next.config.unset(key),
                }
            }
            next.config.set(REFRESHED_FROM, refreshed_from(&model.instance));
            engine.replace_root(&claim, &target, &next, |volume| {
                engine.copy_root(&from, &model, &target.pool, volume, Beside::Common(common), &progress)
            })?;
            engine.lifecycle(&target, "instance-updated", Some(&caller));
            Ok(())
        }))
    }

    /// Leaves out of an update what belongs to the source of a refresh just before it.
    ///
    /// LXD's client follows a refresh by an update with all that it read of the source, also what the server keeps for
    /// itself: MAC addresses and ids, which must not be the copy's.
    pub(crate) fn without_keys_of_source(&self, target: &Instance, mut change: InstanceChange) -> InstanceChange {
        let from = target.config.get(REFRESHED_FROM).and_then(|text| text.split_once('/'));
        let Some((Ok(project), Ok(name))) = from.map(|(project, name)| (project.parse(), name.parse())) else { return change };
        let Ok(source) = self.load(&project, &name) else { return change };
        change.config.0.retain(|key, value| !key.starts_with("volatile.") || source.instance.config.get(key) != Some(value));
        change
    }

    /// Makes the target's snapshots those of the model. A snapshot is the same if its name and its moment are.
    fn refresh_snapshots(&self, model: &Model, target: &Instance, progress: &Progress) -> Result<(), EngineError> {
        let identity = |snapshot: &InstanceSnapshot| (snapshot.name.clone(), snapshot.created_at);
        let wanted: HashSet<_> = model.snapshots.iter().map(identity).collect();
        let mut there = HashSet::new();
        for view in self.snapshots(&target.project, &target.name)? {
            let found = identity(&view.snapshot);
            if wanted.contains(&found) {
                there.insert(found);
            } else {
                self.remove_claimed_snapshot(target, &view.snapshot.name)?;
            }
        }
        let mut common = None;
        for snapshot in &model.snapshots {
            if !there.contains(&identity(snapshot)) {
                self.copy_instance_snapshot(&model.instance, target, snapshot, common, progress)?;
            }
            common = Some(&snapshot.name);
        }
        Ok(())
    }

    fn copy_instance_snapshot(
        &self,
        source: &Instance,
        target: &Instance,
        snapshot: &InstanceSnapshot,
        common: Option<&SnapshotName>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let (project, name, store) = (&target.project, &target.name, &self.inner.store);
        let mut new = InstanceSnapshot { phase: Phase::Creating, ..copied_snapshot(snapshot) };
        store.write(|tx| {
            let home = coffer_store::project::home(tx, project, coffer_store::project::Feature::Profiles)?;
            new.profiles.retain(|profile| matches!(coffer_store::profile::get(tx, &home, profile), Ok(Some(_))));
            coffer_store::snapshot::insert(tx, project, name, &new)
        })?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back the copy of a snapshot: {warning}"));
        undo.push(format!("forgetting snapshot {name}/{}", new.name), || self.forget_snapshot(target, &new.name));
        let from = Volume::instance(&source.project, &source.name).snapshot(&snapshot.name);
        let to = Volume::instance(project, name).snapshot(&snapshot.name);
        let (here, there) = (self.pool_driver(&source.pool)?, self.pool_driver(&target.pool)?);
        match common {
            _ if source.pool == target.pool => here.copy(&from, &to, &[], progress)?,
            Some(common) => copy_between_after(here.as_ref(), &from, there.as_ref(), &to, common, progress)?,
            None => copy_between(here.as_ref(), &from, there.as_ref(), &to, &[], progress)?,
        }
        store.write(|tx| coffer_store::snapshot::set_phase(tx, project, name, &new.name, Phase::Ready))?;
        undo.keep();
        Ok(())
    }
}

/// What a copy remembers of its source.
pub(crate) fn refreshed_from(source: &Instance) -> String {
    format!("{}/{}", source.project, source.name)
}

/// A name for a snapshot that nobody sees.
pub(crate) fn hidden_name(what: &str) -> Result<SnapshotName, EngineError> {
    Ok(format!("{what}-{}", uuid::Uuid::new_v4()).parse()?)
}
