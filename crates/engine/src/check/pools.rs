//! Pools against the store: volumes that are missing, volumes that nobody knows, and `backup.yaml` in each instance's volume.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use coffer_model::{CustomVolume, Instance, Phase, Pool, SnapshotName, VolumeKind};
use coffer_storage::{Found, Pool as Driver, Volume, leftovers};
use coffer_store::backup::{self, Document};

use super::{Check, FindingKind};
use crate::Engine;
use crate::error::EngineError;
use crate::snapshot::is_whole;
use crate::volume::VolumePlace;

/// What is wrong with an instance.
enum Wrong {
    HalfMade,
    NoVolume,
    NoSnapshot(SnapshotName),
    Backup(String),
}

impl Check<'_> {
    /// Compares every pool.
    pub(super) fn pools(&mut self) -> Result<(), EngineError> {
        for pool in self.engine.inner.store.read(coffer_store::pool::list)? {
            let thing = format!("storage pool {}", pool.name);
            if !pool.made {
                // Somebody may be making it just now.
                continue;
            }
            match self.engine.pool_driver(&pool.name) {
                Ok(driver) => self.pool(&pool, driver.as_ref())?,
                Err(error) => self.tell(
                    FindingKind::PoolUnavailable,
                    thing,
                    coffer_base::chain(&error),
                    "bring back what the pool is made of; it is opened when it is there",
                ),
            }
        }
        Ok(())
    }

    fn pool(&mut self, pool: &Pool, driver: &dyn Driver) -> Result<(), EngineError> {
        // The disk first: what appears between the two looks is in the store before it is on disk.
        let found = leftovers(driver, &BTreeSet::new())?;
        let known = self.engine.known_volumes(pool)?;
        let strangers = found.into_iter().filter(|found| !matches!(found, Found::Volume(volume) if known.contains(volume)));
        for stranger in strangers.filter(|_| !self.engine.is_working()).collect::<Vec<_>>() {
            self.stranger(pool, driver, stranger)?;
        }
        for instance in self.engine.inner.store.read(|conn| coffer_store::instance::list(conn, None))? {
            if instance.pool == pool.name {
                self.instance(&instance, driver)?;
            }
        }
        for volume in self.engine.inner.store.read(|conn| coffer_store::volume::list(conn, Some(&pool.name), None))? {
            self.volume(&volume, driver)?;
        }
        Ok(())
    }

    fn stranger(&mut self, pool: &Pool, driver: &dyn Driver, found: Found) -> Result<(), EngineError> {
        let volume = match found {
            Found::Foreign(path) => {
                let thing = format!("{} in storage pool {}", path.display(), pool.name);
                self.tell(FindingKind::ForeignThing, thing, "it is nothing that this server would have put there", "move it elsewhere");
                return Ok(());
            }
            // It was being deleted while the two looks were taken.
            Found::Volume(volume) if !driver.exists(&volume)? => return Ok(()),
            Found::Volume(volume) => volume,
        };
        let (kind, thing) = (FindingKind::VolumeWithoutRecord, format!("{volume} in storage pool {}", pool.name));
        match (volume.kind(), volume.snapshot_name()) {
            (VolumeKind::Image, _) => {
                let pool = pool.name.clone();
                self.mend(kind, thing, "it was unpacked from an image that is no more", "remove it", move |engine| {
                    Ok(engine.pool_driver(&pool)?.delete_volume(&volume)?)
                });
            }
            (VolumeKind::Container | VolumeKind::Custom, None) => {
                self.tell(kind, thing, "it is in no record", "\"coffer admin recover\" takes it in");
            }
            (VolumeKind::Container | VolumeKind::Custom, Some(_)) => {
                self.tell(kind, thing, "it is in no record", "look whether it is of use, and remove it");
            }
        }
        Ok(())
    }

    fn instance(&mut self, instance: &Instance, driver: &dyn Driver) -> Result<(), EngineError> {
        if self.engine.wrong_with(instance, driver)?.is_empty() {
            return Ok(());
        }
        // Somebody may be working on it; what he is at is his to finish. Then it is looked at again.
        let Ok(_claim) = self.engine.inner.cells.get(&instance.project, &instance.name).claim("checking") else { return Ok(()) };
        let now = self.engine.inner.store.read(|conn| coffer_store::instance::get(conn, &instance.project, &instance.name))?;
        let Some(now) = now.filter(|now| now.pool == instance.pool) else { return Ok(()) };
        for wrong in self.engine.wrong_with(&now, driver)? {
            self.report(&now, wrong);
        }
        Ok(())
    }

    fn report(&mut self, instance: &Instance, wrong: Wrong) {
        let (thing, instance) = (format!("instance {} in project {}", instance.name, instance.project), instance.clone());
        match wrong {
            Wrong::HalfMade => self.tell(
                FindingKind::HalfMade,
                thing,
                "its creation or deletion was cut off",
                "what is left of it is removed when the daemon starts next",
            ),
            Wrong::NoVolume => {
                let problem = format!("its volume is not in storage pool {}", instance.pool);
                self.tell(FindingKind::RecordWithoutVolume, thing, problem, "bring its files back, or delete the instance");
            }
            Wrong::NoSnapshot(name) => {
                let thing = format!("snapshot {name} of {thing}");
                self.mend(FindingKind::RecordWithoutVolume, thing, "its volume is gone", "forget it", move |engine| {
                    let (project, owner) = (&instance.project, &instance.name);
                    engine.inner.store.write(|tx| coffer_store::snapshot::delete(tx, project, owner, &name))?;
                    engine.write_backup(&engine.load(project, owner)?)
                });
            }
            Wrong::Backup(problem) => self.mend(FindingKind::StaleBackupYaml, thing, problem, "write it anew", move |engine| {
                engine.write_backup(&engine.load(&instance.project, &instance.name)?)
            }),
        }
    }

    fn volume(&mut self, volume: &CustomVolume, driver: &dyn Driver) -> Result<(), EngineError> {
        if is_right(volume, driver)? {
            return Ok(());
        }
        let place = VolumePlace::of(volume);
        let Ok(_claim) = self.engine.inner.volumes.claim(&place, "checking") else { return Ok(()) };
        let now = self.engine.inner.store.read(|conn| coffer_store::volume::get(conn, &volume.pool, &volume.project, &volume.name))?;
        let Some(now) = now else { return Ok(()) };
        if is_right(&now, driver)? {
            return Ok(());
        }
        let thing = format!("storage volume {} of project {} in storage pool {}", now.name, now.project, now.pool);
        if now.phase == Phase::Ready && now.renamed_from.is_none() {
            let advice = "bring its files back, or delete the volume";
            self.tell(FindingKind::RecordWithoutVolume, thing, "it is not in the pool", advice);
        } else {
            let advice = "it is finished, or removed, when the daemon starts next";
            self.tell(FindingKind::HalfMade, thing, "its making, renaming or deletion was cut off", advice);
        }
        Ok(())
    }
}

impl Engine {
    /// The volumes that the store knows in a pool, whole or not.
    pub(super) fn known_volumes(&self, pool: &Pool) -> Result<BTreeSet<Volume>, EngineError> {
        Ok(self.inner.store.read(|conn| {
            let images = coffer_store::image::list(conn, None)?;
            let mut known: BTreeSet<Volume> = images.iter().map(|image| Volume::image(&image.fingerprint)).collect();
            for instance in coffer_store::instance::list(conn, None)? {
                if instance.pool != pool.name {
                    continue;
                }
                let own = Volume::instance(&instance.project, &instance.name);
                for snapshot in coffer_store::snapshot::of_instance(conn, &instance.project, &instance.name)? {
                    known.extend(std::iter::once(&snapshot.name).chain(&snapshot.renamed_from).map(|name| own.snapshot(name)));
                }
                known.insert(own);
            }
            for volume in coffer_store::volume::list(conn, Some(&pool.name), None)? {
                let own = Volume::custom(&volume.project, &volume.name);
                for snapshot in coffer_store::volume_snapshot::list(conn, &volume)? {
                    known.extend(std::iter::once(&snapshot.name).chain(&snapshot.renamed_from).map(|name| own.snapshot(name)));
                }
                known.extend(volume.renamed_from.as_ref().map(Volume::of_key));
                known.insert(own);
            }
            Ok(known)
        })?)
    }

    fn wrong_with(&self, instance: &Instance, driver: &dyn Driver) -> Result<Vec<Wrong>, EngineError> {
        if instance.phase != Phase::Ready {
            return Ok(vec![Wrong::HalfMade]);
        }
        let own = Volume::instance(&instance.project, &instance.name);
        if !driver.exists(&own)? {
            return Ok(vec![Wrong::NoVolume]);
        }
        let mut wrong = Vec::new();
        for (snapshot, _) in self.snapshots_with_profiles(instance)? {
            if is_whole(&snapshot) && !driver.exists(&own.snapshot(&snapshot.name))? {
                wrong.push(Wrong::NoSnapshot(snapshot.name));
            }
        }
        let wanted = self.document(&self.load(&instance.project, &instance.name)?)?;
        match backup::read(driver.directory(&own)?.as_fd()) {
            Ok(Some(found)) if lasting(&found) == lasting(&wanted) => {}
            Ok(Some(_)) => wrong.push(Wrong::Backup("the backup.yaml in its volume does not say what its record says".to_owned())),
            Ok(None) => wrong.push(Wrong::Backup("its volume has no backup.yaml".to_owned())),
            Err(error) => wrong.push(Wrong::Backup(format!("the backup.yaml in its volume is of no use: {}", coffer_base::chain(&error)))),
        }
        Ok(wrong)
    }
}

fn is_right(volume: &CustomVolume, driver: &dyn Driver) -> Result<bool, EngineError> {
    let settled = volume.phase == Phase::Ready && volume.renamed_from.is_none();
    Ok(settled && driver.exists(&Volume::custom(&volume.project, &volume.name))?)
}

/// What of a document says who an instance is, without what changes from one start to the next.
fn lasting(document: &Document) -> impl PartialEq + use<> {
    let container = document.container.clone().unwrap_or_default();
    let mut config = container.config;
    config.retain(|key, _| !key.starts_with("volatile."));
    let snapshots: Vec<String> = document.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect();
    let pool = document.pool.as_ref().map(|pool| pool.name.clone());
    (container.name, container.project, config, container.devices, container.profiles, container.description, snapshots, pool)
}
