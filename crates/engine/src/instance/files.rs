//! Where an instance's files are on the host, and its `backup.yaml`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use coffer_model::{Config, Instance, InstanceSnapshot, Profile, Volume as StoredVolume, VolumeKind};
use coffer_storage::Volume;
use coffer_store::backup::{self, BackupError};
use rustix::fs::{Mode, OFlags};

use super::start::Loaded;
use crate::Engine;
use crate::error::EngineError;

/// The file in the run directory that holds the server's own keys of this start.
const START_KEYS: &str = "keys.json";

/// How a document gets into its directory.
type Write = fn(BorrowedFd<'_>, &backup::Document) -> Result<(), BackupError>;

impl Engine {
    /// The directory of an instance's log files.
    pub(crate) fn log_directory(&self, instance: &Instance) -> PathBuf {
        self.inner.settings.dir.join("logs").join(instance.key())
    }

    /// The directory of an instance's monitor socket and exit record.
    pub(crate) fn run_path(&self, instance: &Instance) -> PathBuf {
        self.inner.settings.dir.join("run").join(instance.key())
    }

    /// The directory of what an instance's mounts stand on while it runs.
    pub(crate) fn device_directory(&self, instance: &Instance) -> PathBuf {
        self.inner.settings.dir.join("devices").join(instance.key())
    }

    /// Makes the run directory anew, so that nothing of an earlier run is mistaken for this one's.
    pub(crate) fn fresh_run_directory(&self, instance: &Instance) -> Result<OwnedFd, EngineError> {
        let path = self.run_path(instance);
        let making = |cause| EngineError::system(format!("instance {}: making its run directory", instance.name), cause);
        match std::fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(making(cause)),
            _ => {}
        }
        private_directory(&path).map_err(making)?;
        self.open_run_directory(instance)
    }

    /// Writes down beside the monitor's socket what the server remembers of an instance that runs. It is worth something as long
    /// as that: a daemon whose records were lost knows by it which interfaces and ids are the instance's.
    pub(crate) fn write_start_keys(&self, instance: &Instance) -> io::Result<()> {
        let own: Config = instance.config.iter().filter(|(key, _)| key.starts_with("volatile.")).collect();
        std::fs::write(self.run_path(instance).join(START_KEYS), serde_json::to_vec(&own.0)?)
    }

    /// Reads what [`Engine::write_start_keys`] wrote; nothing if nobody did.
    pub(crate) fn start_keys(&self, instance: &Instance) -> Config {
        let read = std::fs::read(self.run_path(instance).join(START_KEYS));
        Config(read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Opens the run directory.
    pub(crate) fn open_run_directory(&self, instance: &Instance) -> Result<OwnedFd, EngineError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(self.run_path(instance), flags, Mode::empty())
            .map_err(|cause| EngineError::system(format!("instance {}: opening its run directory", instance.name), cause))
    }

    /// Writes all that is known of an instance into its own volume, so that the database could be rebuilt from it.
    pub(crate) fn write_backup(&self, loaded: &Loaded) -> Result<(), EngineError> {
        let document = self.document(loaded)?;
        self.write_document(loaded, &document, backup::write)
    }

    /// Writes as [`Engine::write_backup`] does, with a snapshot that is just about to be taken. Where taking it has the pool's
    /// file system commit anyway, the document is on the disk with that commit.
    pub(crate) fn write_backup_ahead(&self, loaded: &Loaded, snapshot: &InstanceSnapshot, commits: bool) -> Result<(), EngineError> {
        let mut snapshots = self.snapshots_with_profiles(&loaded.instance)?;
        snapshots.push((snapshot.clone(), loaded.profiles.clone()));
        let document = self.document_with(loaded, &snapshots)?;
        self.write_document(loaded, &document, if commits { backup::write_before_commit } else { backup::write })
    }

    fn write_document(&self, loaded: &Loaded, document: &backup::Document, write: Write) -> Result<(), EngineError> {
        let instance = &loaded.instance;
        if self.inner.cells.peek(&instance.project, &instance.name).1.is_some()
            && let Err(cause) = self.write_start_keys(instance)
        {
            tracing::warn!(instance = %instance.name, "writing down what belongs to this start of it: {cause}");
        }
        let directory = self.pool_driver(&instance.pool)?.directory(&Volume::instance(&instance.project, &instance.name))?;
        write(directory.as_fd(), document)
            .map_err(|error| EngineError::Refused(format!("instance {}: backup.yaml: {}", instance.name, coffer_base::chain(&error))))
    }

    /// All that is known of an instance.
    pub(crate) fn document(&self, loaded: &Loaded) -> Result<backup::Document, EngineError> {
        self.document_with(loaded, &self.snapshots_with_profiles(&loaded.instance)?)
    }

    fn document_with(&self, loaded: &Loaded, snapshots: &[(InstanceSnapshot, Vec<Profile>)]) -> Result<backup::Document, EngineError> {
        let instance = &loaded.instance;
        let pool = self.inner.store.read(|conn| coffer_store::pool::get(conn, &instance.pool))?;
        let pool = pool.ok_or_else(|| EngineError::not_found("storage pool", &instance.pool))?;
        let volume = StoredVolume {
            pool: instance.pool.clone(),
            project: instance.project.clone(),
            kind: VolumeKind::Container,
            name: instance.name.to_string(),
            description: String::new(),
            config: Config::default(),
            created_at: instance.created_at,
        };
        let (status, _) = self.inner.cells.peek(&instance.project, &instance.name);
        Ok(backup::Document::of(instance, status, &loaded.profiles, &pool, &volume)
            .with_snapshots(instance, snapshots.iter().map(|(snapshot, profiles)| (snapshot, profiles.clone()))))
    }
}

/// Makes a directory that only the daemon may enter; one that is there is fine.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
