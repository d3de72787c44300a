//! Taking in what stands in pools and is in no record: after the database was lost, or with disks of another machine.
//!
//! What an instance is, its volume says itself, in its `backup.yaml`; where it stands says what it is called. It passes the gate
//! as any instance does. All that is taken in is recorded in one step: a cut leaves the records as they were, or whole.

mod instance;
mod search;
mod volume;

use std::collections::BTreeSet;

use coffer_base::fault;
use coffer_model::{Checked, Config, CustomVolume, Instance, InstanceSnapshot, PoolName, ProjectName, VolumeKind, VolumeSnapshot};
use coffer_storage::Volume;

use self::search::Searched;
use self::volume::lost_volume;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

/// A pool that is in no record, to be looked through.
#[derive(Debug, Clone)]
pub struct UnknownPool {
    /// Its name.
    pub name: PoolName,
    /// Its driver.
    pub driver: String,
    /// Free text.
    pub description: String,
    /// Its configuration; `source` says what it is made of.
    pub config: Config,
}

/// A volume that is in no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVolume {
    /// The pool it is in.
    pub pool: PoolName,
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: VolumeKind,
    /// How many snapshots it has.
    pub snapshots: usize,
}

/// What was found in pools that is in no record.
#[derive(Debug, Clone, Default)]
pub struct UnknownVolumes {
    /// The volumes.
    pub volumes: Vec<UnknownVolume>,
    /// What is missing to take them in, in words: `Profile "web" in project "default"`.
    pub missing: Vec<String>,
}

/// An instance that passed all checks, and its snapshots.
type LostInstance = (Checked<Instance>, Vec<InstanceSnapshot>);

/// A user's volume that passed all checks, and its snapshots.
type LostVolume = (Checked<CustomVolume>, Vec<VolumeSnapshot>);

/// What is to be recorded.
#[derive(Default)]
struct Taken {
    instances: Vec<LostInstance>,
    volumes: Vec<LostVolume>,
}

impl Engine {
    /// Finds volumes in these pools, and in all that are known, that are in no record; and says what is missing to take them in.
    ///
    /// # Errors
    /// If a pool cannot be opened.
    pub fn find_unknown(&self, pools: &[UnknownPool]) -> Result<UnknownVolumes, EngineError> {
        let mut searched = self.search(pools)?;
        let (found, _) = self.look_through(&mut searched)?;
        Ok(found)
    }

    /// Takes in everything that [`Engine::find_unknown`] finds: pools, instances with their snapshots, users' volumes. An
    /// instance that runs is under control again.
    ///
    /// # Errors
    /// If something is missing; then nothing was taken in.
    pub fn take_in(&self, caller: &Caller, pools: &[UnknownPool]) -> Result<(), EngineError> {
        let mut searched = self.search(pools)?;
        let (found, taken) = self.look_through(&mut searched)?;
        if !found.missing.is_empty() {
            return Err(EngineError::Refused(format!("before this can be taken in, make what is missing: {}", found.missing.join("; "))));
        }
        self.inner.store.try_write(|tx| {
            for place in searched.iter().filter(|place| !place.known) {
                coffer_store::pool::insert(tx, &place.pool)?;
            }
            for (volume, snapshots) in &taken.volumes {
                coffer_store::volume::insert(tx, volume)?;
                for snapshot in snapshots {
                    coffer_store::volume_snapshot::insert(tx, volume, snapshot)?;
                }
            }
            for (instance, snapshots) in &taken.instances {
                // The pools and volumes that it refers to are there only now.
                let home = coffer_store::project::home(tx, &instance.project, coffer_store::project::Feature::Profiles)?;
                let profiles = coffer_store::profile::for_instance(tx, &home, &instance.profiles)?;
                self.references(tx, instance, &profiles)?;
                coffer_store::instance::insert(tx, instance)?;
                for snapshot in snapshots {
                    coffer_store::snapshot::insert(tx, &instance.project, &instance.name, snapshot)?;
                }
            }
            Ok::<_, EngineError>(())
        })?;
        for place in searched {
            let (name, known) = (place.pool.name.clone(), place.known);
            let driver = place.keep();
            if !known {
                // Its images were unpacked from files that are no more.
                self.settle_volumes(driver.as_ref(), &name);
            }
            self.inner.pools.remember(&name, driver);
        }
        fault::point("adopt.recorded").map_err(|cause| EngineError::system("taking in", cause))?;
        let instances: Vec<Instance> = taken.instances.into_iter().map(|(instance, _)| instance.into_inner()).collect();
        let mut running = false;
        for instance in &instances {
            running |= self.take_control(instance)?;
            self.write_backup(&self.load(&instance.project, &instance.name)?)?;
            self.lifecycle(instance, "instance-created", Some(caller));
        }
        if running {
            // Their NICs stand on bridges that may have been made again meanwhile.
            self.recover_networks();
        }
        Ok(())
    }

    /// Looks at all volumes that are in no record.
    fn look_through(&self, searched: &mut [Searched]) -> Result<(UnknownVolumes, Taken), EngineError> {
        let (mut found, mut taken, mut missing) = (UnknownVolumes::default(), Taken::default(), BTreeSet::new());
        for place in searched {
            for volume in self.unknown_in(place)? {
                let snapshots = place.driver().snapshots().map_or(Ok(Vec::new()), |all| all.list(&volume))?;
                let (project, name) = whose(&volume)?;
                let (pool, kind) = (place.pool.name.clone(), volume.kind());
                found.volumes.push(UnknownVolume { pool, project: project.clone(), name, kind, snapshots: snapshots.len() });
                if self.inner.store.read(|conn| coffer_store::project::get(conn, &project))?.is_none() {
                    missing.insert(format!("Project {:?}", project.as_str()));
                    continue;
                }
                match kind {
                    VolumeKind::Container => match self.lost_instance(place, &volume, &snapshots, &mut missing) {
                        Ok(lost) => taken.instances.extend(lost),
                        Err(error) => drop(missing.insert(format!("{volume} in pool {}: {}", place.pool.name, coffer_base::chain(&error)))),
                    },
                    VolumeKind::Custom => taken.volumes.push(lost_volume(place, &volume, &snapshots)?),
                    VolumeKind::Image => {}
                }
            }
        }
        found.missing = missing.into_iter().collect();
        Ok((found, taken))
    }
}

/// Whose a volume is and its name.
fn whose(volume: &Volume) -> Result<(ProjectName, String), EngineError> {
    Ok(match volume.directory().split_once('_') {
        Some((project, name)) => (project.parse()?, name.to_owned()),
        None => (ProjectName::default_project(), volume.directory().to_owned()),
    })
}
