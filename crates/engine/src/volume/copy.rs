//! Copying a volume, moving it to another pool, bringing a copy up to date.

use coffer_base::{Progress, Undo, fault};
use coffer_model::{Config, CustomVolume, Phase, Pool, SnapshotName, Time, VolumeSnapshot};
use coffer_storage::{Pool as Driver, StorageError, Volume, config, copy_between, copy_between_after};
use coffer_store::volume_snapshot;

use super::delete::remove_one;
use super::rename::refuse_unfinished;
use super::{CopyVolume, CreateVolume, RenameVolume, VolumePlace, resources, users};
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::{Engine, backup};

/// The snapshot that a refresh restores from. It is never whole, so nobody sees it and a start of the daemon removes it.
const REFRESH: &str = "coffer-refresh";

/// What is copied into a volume that is there.
struct Origin<'a> {
    pool: &'a dyn Driver,
    volume: Volume,
    /// The latest snapshot that both volumes have, with one content.
    common: Option<SnapshotName>,
}

impl Engine {
    /// Makes a volume from another one in an operation, or brings one up to date that was made so.
    ///
    /// # Errors
    /// If there is no such volume or snapshot, the name is taken, or a key is refused.
    pub fn copy_volume(&self, caller: &Caller, request: CopyVolume) -> Result<OperationView, EngineError> {
        let source = self.custom_volume(&request.from)?;
        refuse_unfinished(&source)?;
        if let Some(name) = &request.snapshot {
            self.volume_snapshot(&request.from, name)?;
        }
        let target = self.custom_volume(&request.to).ok();
        match &target {
            Some(_) if !request.refresh => {
                return Err(EngineError::exists("storage volume", format!("{} in pool {}", request.to.key.name, request.to.pool)));
            }
            Some(target) => self.refuse_refresh(&request, &source, target)?,
            None => drop(self.copied(&request, &source)?),
        }
        self.pool_driver(&request.to.pool)?;
        let words = if target.is_some() { "Refreshing storage volume" } else { "Copying storage volume" };
        let new = NewOperation::task(words, &request.to.key.project, resources(&request.to));
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let places = [request.from.clone(), request.to.clone()];
            let _claim = engine.inner.volumes.claim_all(&places, "copying")?;
            if target.is_some() {
                engine.refresh(&request, operation)?;
                engine.tell_volume(&request.to, "storage-volume-updated", Some(&caller));
            } else {
                engine.copy_now(&request, operation)?;
                engine.tell_volume(&request.to, "storage-volume-created", Some(&caller));
            }
            Ok(())
        }))
    }

    /// Moves a volume that no running instance uses to another pool, its snapshots along with it, in an operation.
    ///
    /// # Errors
    /// If there is no such volume, it is in use, or the new name is taken.
    pub fn move_volume(&self, caller: &Caller, request: RenameVolume) -> Result<OperationView, EngineError> {
        self.refuse_bad_rename(&request.from, &request.to)?;
        self.pool_driver(&request.to.pool)?;
        let new = NewOperation::task("Moving storage volume", &request.to.key.project, resources(&request.to));
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            if request.from.pool == request.to.pool {
                return engine.rename_volume(&caller, &request);
            }
            engine.move_now(&request, operation)?;
            let (to, old) = (&request.to, &request.from.key.name);
            engine.events().renamed(Some(&to.key.project), "storage-volume-renamed", to.url(), old, Some(&caller));
            Ok(())
        }))
    }

    fn move_now(&self, request: &RenameVolume, operation: &OperationHandle) -> Result<(), EngineError> {
        let RenameVolume { from, to } = request;
        let _claim = self.inner.volumes.claim_all(&[from.clone(), to.clone()], "moving")?;
        self.refuse_bad_rename(from, to)?;
        let source = self.custom_volume(from)?;
        let copy = CopyVolume {
            from: from.clone(),
            snapshot: None,
            to: to.clone(),
            description: String::new(),
            config: source.config.clone(),
            snapshots: true,
            refresh: false,
        };
        self.copy_now(&copy, operation)?;
        fault::point("volume-move.copied").map_err(|cause| EngineError::system("moving the volume", cause))?;
        self.link_backup_files(&backup::of_volume(from), &backup::of_volume(to))?;
        // From here on the new one is the volume.
        self.inner.store.try_write(|tx| {
            users::repoint(tx, from, to)?;
            coffer_store::kept_backup::hand_over(tx, (&from.pool, &from.key), (&to.pool, &to.key))?;
            Ok::<_, EngineError>(coffer_store::volume::set_phase(tx, &from.pool, &from.key.project, &from.key.name, Phase::Deleting)?)
        })?;
        fault::point("volume-move.switched").map_err(|cause| EngineError::system("moving the volume", cause))?;
        self.finish_deletion(self.pool_driver(&from.pool)?.as_ref(), from)
    }

    /// What is kept of a copy, through the gate.
    fn copied(&self, request: &CopyVolume, source: &CustomVolume) -> Result<coffer_model::Checked<CustomVolume>, EngineError> {
        let pool = self.pool(&request.to.pool)?.pool;
        let mut config = carried(&pool, &source.config)?;
        // The genuine client says the source's keys of the copy, whatever pool that goes to.
        config.merge(&carried(&pool, &request.config)?);
        let description = if request.description.is_empty() { source.description.clone() } else { request.description.clone() };
        self.new_volume(&pool, &CreateVolume { place: request.to.clone(), description, config, content: source.content })
    }

    fn copy_now(&self, request: &CopyVolume, operation: &OperationHandle) -> Result<(), EngineError> {
        let source = self.custom_volume(&request.from)?;
        let new = self.copied(request, &source)?;
        let (from, to) = (self.pool_driver(&request.from.pool)?, self.pool_driver(&request.to.pool)?);
        let snapshots = match (request.snapshots, &request.snapshot) {
            (true, None) => self.volume_snapshots(&request.from)?.1,
            _ => Vec::new(),
        };
        let snapshots = self.carried_snapshots(&request.to, snapshots)?;
        let names: Vec<SnapshotName> = snapshots.iter().map(|snapshot| snapshot.name.clone()).collect();
        let origin = content_of(request);
        let progress = operation.progress();
        self.make_volume(&new, &snapshots, to.as_ref(), &mut |to| {
            let mut whole = false;
            let copied = operation.cancellable(|| {
                copy(from.as_ref(), &origin, to, &request.to.volume(), &names, &progress)?;
                whole = true;
                Ok(())
            });
            if copied.is_err() && whole {
                // It was cancelled at the last moment.
                super::delete::remove_from_pool(to, &request.to.volume())?;
            }
            copied
        })
    }

    /// Snapshots as their copies in a pool are: without the keys that only other drivers have.
    fn carried_snapshots(&self, to: &VolumePlace, snapshots: Vec<VolumeSnapshot>) -> Result<Vec<VolumeSnapshot>, EngineError> {
        let pool = self.pool(&to.pool)?.pool;
        let driver = pool.driver.parse()?;
        let carried =
            |snapshot: VolumeSnapshot| VolumeSnapshot { config: config::carried(driver, &pool.config, &snapshot.config), ..snapshot };
        Ok(snapshots.into_iter().map(carried).collect())
    }

    fn refuse_refresh(&self, request: &CopyVolume, source: &CustomVolume, target: &CustomVolume) -> Result<(), EngineError> {
        refuse_unfinished(target)?;
        if request.from == request.to {
            return Err(EngineError::Refused(format!("storage volume {} cannot be refreshed from itself", source.name)));
        }
        if source.content != target.content {
            let what =
                format!("storage volume {} is of content type {} and {} of {}", source.name, source.content, target.name, target.content);
            return Err(EngineError::Refused(what));
        }
        self.refuse_running_users(&request.to, "refreshed")
    }

    /// Gives a volume the snapshots of its source that it lacks, takes away those that the source lost, and at last makes
    /// its content the source's, in one step.
    fn refresh(&self, request: &CopyVolume, operation: &OperationHandle) -> Result<(), EngineError> {
        let (source, target) = (self.custom_volume(&request.from)?, self.custom_volume(&request.to)?);
        self.refuse_refresh(request, &source, &target)?;
        let (from, to) = (self.pool_driver(&request.from.pool)?, self.pool_driver(&request.to.pool)?);
        let progress = operation.progress();
        let mut common = None;
        if request.snapshots && request.snapshot.is_none() {
            let (wanted, have) = (self.volume_snapshots(&request.from)?.1, self.volume_snapshots(&request.to)?.1);
            let wanted = self.carried_snapshots(&request.to, wanted)?;
            let same = |a: &VolumeSnapshot, b: &VolumeSnapshot| a.name == b.name && a.created_at == b.created_at;
            for gone in have.iter().filter(|old| !wanted.iter().any(|new| same(new, old))) {
                self.inner.store.write(|tx| volume_snapshot::set_phase(tx, &target, &gone.name, Phase::Deleting))?;
                self.finish_deletion_of_snapshot(to.as_ref(), &request.to, &target, &gone.name)?;
            }
            for new in wanted {
                let name = new.name.clone();
                if !have.iter().any(|old| same(&new, old)) {
                    let origin = Origin { pool: from.as_ref(), volume: request.from.volume().snapshot(&name), common };
                    self.copy_snapshot(&origin, to.as_ref(), &target, new, &progress)?;
                }
                common = Some(name);
            }
        }
        let name: SnapshotName = REFRESH.parse()?;
        let content = VolumeSnapshot {
            name: name.clone(),
            description: String::new(),
            config: target.config.clone(),
            created_at: Time::now(),
            expires_at: None,
            phase: Phase::Creating,
            renamed_from: None,
        };
        let origin = Origin { pool: from.as_ref(), volume: content_of(request), common };
        self.copy_snapshot(&origin, to.as_ref(), &target, content, &progress)?;
        let power = to.snapshots().ok_or_else(|| EngineError::Refused(format!("storage pool {} keeps no snapshots", request.to.pool)))?;
        let restored = power.restore(&request.to.volume(), &name);
        self.finish_deletion_of_snapshot(to.as_ref(), &request.to, &target, &name)?;
        match restored {
            Err(error @ StorageError::Reclaim { .. }) => tracing::warn!("{}", coffer_base::chain(&error)),
            restored => restored?,
        }
        Ok(())
    }

    /// Gives a volume a snapshot with the content of another volume or snapshot.
    fn copy_snapshot(
        &self,
        origin: &Origin<'_>,
        to: &dyn Driver,
        target: &CustomVolume,
        snapshot: VolumeSnapshot,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let store = &self.inner.store;
        let place = VolumePlace::of(target).volume().snapshot(&snapshot.name);
        let keep = snapshot.phase;
        let new = VolumeSnapshot { phase: Phase::Creating, ..snapshot };
        store.write(|tx| volume_snapshot::insert(tx, target, &new))?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a snapshot: {warning}"));
        undo.push(format!("forgetting snapshot {}", new.name), || store.write(|tx| volume_snapshot::delete(tx, target, &new.name)));
        undo.push(format!("removing snapshot {}", new.name), || remove_one(to, &place));
        fault::point("volume-refresh.recorded").map_err(|cause| EngineError::system("refreshing the volume", cause))?;
        match &origin.common {
            Some(common) if origin.pool.name() != to.name() => {
                copy_between_after(origin.pool, &origin.volume, to, &place, common, progress)?;
            }
            _ => copy(origin.pool, &origin.volume, to, &place, &[], progress)?,
        }
        store.write(|tx| volume_snapshot::set_phase(tx, target, &new.name, keep))?;
        undo.keep();
        Ok(())
    }
}

/// The keys of a volume that a copy in a pool has too: neither the server's own nor those that only other drivers have.
fn carried(pool: &Pool, keys: &Config) -> Result<Config, EngineError> {
    let keys = config::carried(pool.driver.parse()?, &pool.config, keys);
    Ok(keys.iter().filter(|(key, _)| !key.starts_with("volatile.")).collect())
}

fn content_of(request: &CopyVolume) -> Volume {
    let volume = request.from.volume();
    request.snapshot.as_ref().map_or_else(|| volume.clone(), |name| volume.snapshot(name))
}

/// Copies in the way that the two pools have.
fn copy(
    from: &dyn Driver,
    origin: &Volume,
    to: &dyn Driver,
    target: &Volume,
    snapshots: &[SnapshotName],
    progress: &Progress,
) -> Result<(), StorageError> {
    if from.name() == to.name() {
        to.copy(origin, target, snapshots, progress)
    } else {
        copy_between(from, origin, to, target, snapshots, progress)
    }
}
