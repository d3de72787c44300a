//! Making a backup: a file in the state directory that holds all of an instance.

use std::os::fd::{AsFd, OwnedFd};

use coffer_base::fault;
use coffer_image::backup::{INDEX, INSTANCE, SNAPSHOTS};
use coffer_image::{Compressor, Member, PackRequest};
use coffer_model::{BackupName, Instance, InstanceBackup, InstanceName, ProjectName, Time};
use coffer_storage::Volume;
use coffer_store::backup::{Document, Index};

use super::files;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::publish::shifted;
use crate::instance::start::Loaded;
use crate::live::Claim;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::CreateBackup;

/// The stage under which packing reports its progress.
const STAGE: &str = "create_backup";

impl Engine {
    /// Makes a backup of an instance, running or not, in an operation.
    ///
    /// # Errors
    /// If there is no such instance, the name is taken, or the compression is unknown.
    pub fn create_backup(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        request: CreateBackup,
    ) -> Result<OperationView, EngineError> {
        let loaded = self.load(project, instance)?;
        let compressor = self.compressor(request.compressor, "backups.compression_algorithm")?;
        let taken: Vec<BackupName> = self.backups(project, instance)?.into_iter().map(|backup| backup.name).collect();
        let name = match &request.name {
            Some(name) if taken.contains(name) => return Err(EngineError::exists("backup", format_args!("{instance}/{name}"))),
            Some(name) => name.clone(),
            None => next_name(&taken)?,
        };
        let mut new = NewOperation::instance("Backing up instance", project, instance.as_str());
        // Without the instance's name: this is where clients look for the backup's.
        new.resources.insert("backups", vec![format!("/1.0/backups/{name}")]);
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let instance = loaded.instance;
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim("backing up")?;
            engine.back_up(&claim, &instance, &name, &request, compressor, operation)?;
            engine.backup_lifecycle(&instance, &name, "instance-backup-created", &caller);
            Ok(())
        }))
    }

    fn back_up(
        &self,
        claim: &Claim,
        instance: &Instance,
        name: &BackupName,
        request: &CreateBackup,
        compressor: Compressor,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system(format!("instance {}: backing it up", instance.name), cause);
        let directory = self.ensure_backup_directory(instance)?;
        let file = files::unnamed(directory.as_fd()).map_err(cut)?;
        let packed = {
            // Its snapshots hold still by themselves.
            let _still = self.hold_still(claim, instance)?;
            self.pack_backup(instance, request, compressor, &file, operation)?
        };
        if packed.skipped_sockets > 0 {
            tracing::debug!(instance = %instance.name, "left {} sockets out of its backup", packed.skipped_sockets);
        }
        rustix::fs::fdatasync(&file).map_err(|errno| cut(errno.into()))?;
        fault::point("backup.packed").map_err(cut)?;
        files::name(directory.as_fd(), file.as_fd(), name).map_err(cut)?;
        fault::point("backup.stored").map_err(cut)?;
        let backup = InstanceBackup {
            name: name.clone(),
            created_at: Time::now(),
            expires_at: request.expires_at,
            instance_only: request.instance_only,
            size: packed.size,
        };
        let recorded = self.inner.store.write(|tx| coffer_store::instance_backup::insert(tx, &instance.project, &instance.name, &backup));
        if let Err(error) = recorded {
            files::remove(directory.as_fd(), name).map_err(cut)?;
            return Err(error.into());
        }
        self.inner.expiry.notify_one();
        fault::point("backup.recorded").map_err(cut)
    }

    fn pack_backup(
        &self,
        instance: &Instance,
        request: &CreateBackup,
        compressor: Compressor,
        file: &OwnedFd,
        operation: &OperationHandle,
    ) -> Result<coffer_image::Packed, EngineError> {
        // Loaded only now: nobody changes it while it is claimed.
        let loaded = self.load(&instance.project, &instance.name)?;
        let document = self.backup_document(&loaded, !request.instance_only)?;
        let pool = self.pool_driver(&instance.pool)?;
        let own = Volume::instance(&instance.project, &instance.name);
        let names: Vec<String> = document.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect();
        let index = Index::of(&loaded.instance.name, pool.driver().as_str(), document.clone());
        let yaml = |error| EngineError::Refused(format!("instance {}: {}", instance.name, coffer_base::chain(&error)));
        let mut members = vec![Member::Text { name: INDEX.into(), text: index.to_yaml().map_err(yaml)? }];
        let mut directories = Vec::new();
        if !names.is_empty() {
            members.push(Member::Directory { name: SNAPSHOTS.into() });
        }
        for name in &names {
            directories.push(pool.read(&own.snapshot(&name.parse()?))?);
            self.put_volume(&mut members, format!("{SNAPSHOTS}/{name}"), directories.len() - 1, &loaded);
        }
        directories.push(pool.read(&own)?);
        self.put_volume(&mut members, INSTANCE.into(), directories.len() - 1, &loaded);
        members.push(Member::Text { name: format!("{INSTANCE}/backup.yaml"), text: document.to_yaml().map_err(yaml)? });
        let directories: Vec<_> = directories.iter().map(AsFd::as_fd).collect();
        let request = PackRequest {
            members: &members,
            directories: &directories,
            compressor,
            reproducible: None,
            output: file.as_fd(),
            stage: STAGE,
        };
        operation.cancellable(|| Ok(self.inner.unpacker.pack(&request, &operation.progress())?))
    }

    /// Adds what a volume holds: only what an instance's directory may hold, whatever stands there.
    fn put_volume(&self, members: &mut Vec<Member>, name: String, directory: usize, loaded: &Loaded) {
        let ids = shifted(&loaded.instance.config).map(|map| map.host);
        members.push(Member::Directory { name: name.clone() });
        for (entry, ids, optional) in [("metadata.yaml", None, true), ("templates", None, true), ("rootfs", ids, false)] {
            members.push(Member::Tree { name: format!("{name}/{entry}"), directory, entry: entry.into(), ids, optional });
        }
    }

    /// What the index says: the instance with its profiles and pool, and its snapshots if they are wanted.
    fn backup_document(&self, loaded: &Loaded, snapshots: bool) -> Result<Document, EngineError> {
        let mut document = self.document(loaded)?;
        if !snapshots {
            document.snapshots.clear();
        }
        Ok(document)
    }
}

/// The first of `backup0`, `backup1`, … that is free.
fn next_name(taken: &[BackupName]) -> Result<BackupName, EngineError> {
    for number in 0..=taken.len() {
        let name: BackupName = format!("backup{number}").parse()?;
        if !taken.contains(&name) {
            return Ok(name);
        }
    }
    Err(EngineError::Refused("no free name was found; give the backup one".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled() {
        let names = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<BackupName>>();
        assert_eq!(next_name(&[]).unwrap().as_str(), "backup0");
        assert_eq!(next_name(&names(&["backup0", "mine", "backup2"])).unwrap().as_str(), "backup1");
        assert_eq!(next_name(&names(&["backup0", "backup1"])).unwrap().as_str(), "backup2");
    }
}
