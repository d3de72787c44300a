//! Making a user's volume from a backup, ours or LXD's, or from an ISO image.
//!
//! As with instances the index is the only document that counts, and what it says passes the gate like any new volume.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use coffer_base::{Bytes, fault};
use coffer_image::backup::{DISK_SUFFIX, STREAM_SUFFIX, VOLUME, VOLUME_SNAPSHOTS};
use coffer_image::{Form, Incoming, Limits};
use coffer_model::{Checked, Config, ContentType, CustomVolume, IdMap, Time, VolumeSnapshot};
use coffer_storage::{DriverKind, FillError, Pool as Driver, disk_file};
use coffer_store::backup::{BackupError, Content, Index, StreamFormat, VolumeParts};

use super::fill::Wanted;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::{ImportVolume, VolumeArchive};
use crate::volume::{CreateVolume, VolumePlace, remove_from_pool, resources};

/// What other servers keep for one driver alone; it means nothing in a pool of another.
const OF_DRIVERS: [&str; 6] = ["block.", "btrfs.", "ceph.", "cephfs.", "lvm.", "zfs."];

/// Where LXD notes which ids a volume's files have on disk.
const LAST_MAP: &str = "volatile.idmap.last";

/// What is to be made.
struct Plan {
    volume: Checked<CustomVolume>,
    snapshots: Vec<VolumeSnapshot>,
    /// The id maps that the files went through: the volume's and each snapshot's.
    maps: Vec<Option<IdMap>>,
    /// The format of a driver's own that the archive's volumes are in.
    streams: Option<StreamFormat>,
}

impl Engine {
    /// Begins to receive a volume's backup or an ISO image: the caller writes its bytes into the answer. What is not imported
    /// leaves nothing.
    ///
    /// # Errors
    /// If the project or pool does not exist, the name is taken, or an ISO image has none.
    pub fn receive_volume(&self, request: &ImportVolume) -> Result<Incoming, EngineError> {
        self.pool_driver(&request.pool)?;
        match (&request.name, request.archive) {
            (Some(name), _) => self.refuse_taken(&self.volume_place(&request.pool, &request.project, name)?)?,
            (None, VolumeArchive::Iso) => {
                return Err(EngineError::Refused("an ISO image does not say what its volume is called: name it".into()));
            }
            (None, VolumeArchive::Backup) => {}
        }
        self.receive_archive()
    }

    /// Makes a volume from what was received, in an operation.
    ///
    /// # Errors
    /// If it is no backup, something in it is not accepted, or the name is taken.
    pub fn import_volume(&self, caller: &Caller, request: ImportVolume, incoming: Incoming) -> Result<OperationView, EngineError> {
        let archive = incoming.into_file()?;
        let plan = match request.archive {
            VolumeArchive::Backup => self.plan_from_backup(&request, &archive)?,
            VolumeArchive::Iso => self.plan_from_iso(&request, &archive)?,
        };
        let place = VolumePlace::of(&plan.volume);
        self.refuse_taken(&place)?;
        let words = match request.archive {
            VolumeArchive::Backup => "Restoring backup",
            VolumeArchive::Iso => "Creating storage volume from ISO image",
        };
        let new = NewOperation::task(words, &place.key.project, resources(&place));
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let _claim = engine.inner.volumes.claim(&place, "importing")?;
            let driver = engine.pool_driver(&place.pool)?;
            engine.make_volume(&plan.volume, &plan.snapshots, driver.as_ref(), &mut |driver| {
                match request.archive {
                    VolumeArchive::Backup => engine.fill_from_backup(driver, &plan, &archive, operation)?,
                    VolumeArchive::Iso => fill_from_iso(driver, &place, &archive)?,
                }
                fault::point("volume-import.filled").map_err(|cause| EngineError::system("importing the volume", cause))
            })?;
            engine.tell_volume(&place, "storage-volume-created", Some(&caller));
            Ok(())
        }))
    }

    fn refuse_taken(&self, place: &VolumePlace) -> Result<(), EngineError> {
        let (pool, key) = (&place.pool, &place.key);
        match self.inner.store.read(|conn| coffer_store::volume::get(conn, pool, &key.project, &key.name))? {
            Some(_) => Err(EngineError::exists("storage volume", format!("{} in pool {pool}", key.name))),
            None => Ok(()),
        }
    }

    fn plan_from_backup(&self, request: &ImportVolume, archive: &OwnedFd) -> Result<Plan, EngineError> {
        let texts = self.inner.unpacker.inspect_backup(archive.as_fd(), Limits::default())?;
        let bad = |error: BackupError| {
            EngineError::Refused(format!("this is no backup of a volume that can be imported: {}", coffer_base::chain(&error)))
        };
        let index = Index::parse(Content::Volume, &texts.index, None).map_err(bad)?;
        self.require_readable(index.streams(), &request.pool)?;
        let config = index.config.as_ref().ok_or(BackupError::Missing("config")).map_err(bad)?;
        let VolumeParts { description, config, content, mut snapshots, .. } = config.custom_volume().map_err(bad)?;
        let name = match &request.name {
            Some(name) => name.clone(),
            None => index.name.parse()?,
        };
        let maps = std::iter::once(&config).chain(snapshots.iter().map(|snapshot| &snapshot.config));
        let maps = maps.map(|config| map_of(name.as_str(), config)).collect::<Result<_, _>>()?;
        let (mut names, now) = (BTreeSet::new(), Time::now());
        let pool = self.pool(&request.pool)?.pool;
        let driver = pool.driver.parse()?;
        for snapshot in &mut snapshots {
            snapshot.config = coffer_storage::config::carried(driver, &pool.config, &kept(driver, &snapshot.config));
            coffer_storage::config::check_volume(&request.pool, driver, &snapshot.config)?;
            if snapshot.created_at == Time::UNIX_EPOCH {
                snapshot.created_at = now;
            }
            if !names.insert(snapshot.name.clone()) {
                return Err(EngineError::Refused(format!("the backup has two snapshots that are called {}", snapshot.name)));
            }
        }
        let place = self.volume_place(&request.pool, &request.project, &name)?;
        let config = coffer_storage::config::carried(driver, &pool.config, &kept(driver, &config));
        let create = CreateVolume { place, description, config, content };
        let volume = self.new_volume(&pool, &create)?;
        Ok(Plan { volume, snapshots, maps, streams: index.streams() })
    }

    fn plan_from_iso(&self, request: &ImportVolume, file: &OwnedFd) -> Result<Plan, EngineError> {
        let name = request.name.as_ref().ok_or_else(|| EngineError::Refused("the volume of an ISO image needs a name".into()))?;
        let size = rustix::fs::fstat(file).map_err(|errno| EngineError::system("looking at the ISO image", errno))?.st_size;
        let config = [("size", size.to_string().as_str())].into_iter().collect();
        let place = self.volume_place(&request.pool, &request.project, name)?;
        let create = CreateVolume { place, description: String::new(), config, content: ContentType::Iso };
        let volume = self.new_volume(&self.pool(&request.pool)?.pool, &create)?;
        Ok(Plan { volume, snapshots: Vec::new(), maps: Vec::new(), streams: None })
    }

    fn fill_from_backup(
        &self,
        driver: &dyn Driver,
        plan: &Plan,
        archive: &OwnedFd,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        let own = VolumePlace::of(&plan.volume).volume();
        let (form, suffix) = match plan.volume.content {
            ContentType::Filesystem => (Form::Files, ""),
            ContentType::Block | ContentType::Iso => (Form::Disk, DISK_SUFFIX),
        };
        let suffix = if plan.streams.is_some() { STREAM_SUFFIX } else { suffix };
        let size = (form == Form::Files).then(|| plan.volume.config.parse::<Bytes>("size")).flatten();
        let map = |number: usize| plan.maps.get(number).copied().flatten();
        let mut wanted: Vec<Wanted> = Vec::new();
        for (number, snapshot) in plan.snapshots.iter().enumerate() {
            let name = format!("{VOLUME_SNAPSHOTS}/{}{suffix}", snapshot.name);
            wanted.push(Wanted { name, form, volume: own.snapshot(&snapshot.name), size, shifted: map(number + 1) });
        }
        wanted.push(Wanted { name: format!("{VOLUME}{suffix}"), form, volume: own.clone(), size, shifted: map(0) });
        let mut whole = false;
        let unpacked = operation.cancellable(|| {
            self.unpack_volumes(driver, &wanted, archive.as_fd(), plan.streams, &operation.progress())?;
            whole = true;
            Ok(())
        });
        if unpacked.is_err() && whole {
            // It was cancelled at the last moment.
            remove_from_pool(driver, &own)?;
        }
        unpacked
    }
}

/// Puts a received ISO image into its volume.
fn fill_from_iso(driver: &dyn Driver, place: &VolumePlace, image: &OwnedFd) -> Result<(), EngineError> {
    let mut fill = |top: std::os::fd::BorrowedFd<'_>| -> Result<(), FillError> {
        let mut source = std::fs::File::from(image.try_clone()?);
        std::io::Seek::rewind(&mut source)?;
        let disk = disk_file::create(top, Bytes(0))?;
        std::io::copy(&mut source, &mut std::fs::File::from(disk))?;
        Ok(())
    };
    Ok(driver.create(&place.volume(), &mut fill)?)
}

/// What is kept of a volume's configuration that comes with a backup: neither the server's own keys nor another driver's.
fn kept(driver: DriverKind, config: &Config) -> Config {
    let taken = |name: &str| coffer_storage::config::volume_takes(driver, name);
    let foreign = |name: &str| !taken(name) && OF_DRIVERS.iter().any(|prefix| name.starts_with(prefix));
    config.iter().filter(|(name, _)| !name.starts_with("volatile.") && !foreign(name)).collect()
}

/// The id map that the files of a volume went through on their server's disk; none where they have the ids that instances see.
fn map_of(volume: &str, config: &Config) -> Result<Option<IdMap>, EngineError> {
    let Some(text) = config.get(LAST_MAP).filter(|text| !matches!(*text, "" | "[]" | "null")) else { return Ok(None) };
    let unusable = || EngineError::Refused(format!("storage volume {volume}: {LAST_MAP} is {text}: only one range of ids is supported"));
    IdMap::from_volatile(text).map(Some).ok_or_else(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_was_to_its_old_server_stays_there() {
        let config: Config =
            [("size", "1GiB"), ("zfs.blocksize", "4KiB"), ("volatile.uuid", "u"), ("user.a", "b"), ("strange", "1")].into_iter().collect();
        let kept = |driver| kept(driver, &config).0.into_keys().collect::<Vec<_>>();
        assert_eq!(kept(DriverKind::Lvm), ["size", "strange", "user.a"], "what nobody knows is for the gate to refuse");
        assert_eq!(kept(DriverKind::Zfs), ["size", "strange", "user.a", "zfs.blocksize"]);
    }

    #[test]
    fn maps_of_ids_are_read() {
        let of = |text: &str| map_of("v", &[(LAST_MAP, text)].into_iter().collect()).map(|map| map.map(|map| map.host.start));
        assert_eq!(of("[]").unwrap(), None);
        let one = IdMap { host: coffer_model::IdRange { start: 1_000_000, size: 65536 } }.to_volatile();
        assert_eq!(of(&one).unwrap(), Some(1_000_000));
        assert!(of("[1]").unwrap_err().to_string().contains("only one range"));
    }
}
