//! The use cases, one a file: the only room that combines store, drivers and runtime.
//!
//! Never: HTTP or the wire's words; a kernel call of its own; an instance, profile or pool written without the gate's proof.

pub mod device;
pub mod error;
pub mod events;
pub mod files;
pub mod host;
pub mod operations;
pub mod request;

mod adopt;
mod apparmor;
mod backup;
mod check;
mod defaults;
mod guest;
mod image;
mod instance;
mod kinds;
mod live;
mod metrics;
mod monitor;
mod network;
mod operation_log;
mod policy;
mod profile;
mod project;
mod recover;
mod runtime_files;
mod server;
mod shutdown;
mod snapshot;
mod storage;
mod trust;
mod used_by;
mod volume;
mod warning;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coffer_store::Store;

pub use adopt::{UnknownPool, UnknownVolume, UnknownVolumes};
pub use check::{Finding, FindingKind};
pub use coffer_image::pack::UnknownCompressor;
pub use coffer_image::{Compressor, Incoming, Metadata, ReceiveError};
pub use coffer_model::{Warning, WarningKind, WarningStatus};
pub use coffer_network::links::BridgeState;
pub use coffer_network::{Lease, LinkState};
pub use coffer_remote::{Protocol, ProtocolError};
pub use coffer_runtime::cgroup::{DiskTraffic, Figures as CgroupFigures, ProcessorTime, Stats as CgroupStats};
pub use coffer_storage::Resources;
pub use coffer_storage::config::tables as storage_keys;
pub use error::{EngineError, ErrorKind};
pub use events::{Caller, Event, EventBody, Events, Lifecycle, LogLine, Replay};
pub use files::{FileInfo, FileKind, Files, NewFile, SftpDoor};
pub use guest::{Door, Guest, GuestEvent, GuestEventBody};
pub use image::ExportedFile;
pub use image::push::{ExpectImage, PushImage};
pub use instance::exec_resumed::EXECUTING;
pub use metrics::{FilesystemMetrics, InstanceMetrics, Metrics};
pub use monitor::MonitorError;
pub use operations::{Class, NewOperation, OperationHandle, OperationStatus, OperationView, Operations};
pub use policy::TIMED_OUT;
pub use project::ProjectUsage;
pub use request::*;
pub use server::Environment;
pub use trust::{NewToken, Newcomer};
pub use volume::{CopyVolume, CreateVolume, RenameVolume, SnapshotExpiry, VolumeChange, VolumePlace, VolumeUsage, VolumeView};

/// Where the daemon finds things.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state directory.
    pub dir: PathBuf,
    /// The monitor program.
    pub monitor: PathBuf,
    /// The unpacking program.
    pub unpack: PathBuf,
    /// The program that serves instances' files.
    pub files: PathBuf,
    /// The group that may use the socket.
    pub group: Option<String>,
}

/// Decides whether an object is still the one that a client read; `None` lets every change through.
pub type Precondition<'a, T> = Option<&'a (dyn Fn(&T) -> bool + Send + Sync)>;

/// All use cases. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    store: Arc<Store>,
    events: Events,
    operations: Operations,
    cells: live::Cells,
    pools: storage::Pools,
    volumes: volume::Claims,
    warnings: warning::Warnings,
    networks: network::Networks,
    guests: guest::Guests,
    cpus: instance::cpus::Assigned,
    confinement: apparmor::Confinement,
    unpacker: coffer_image::Unpacker,
    trust: trust::Trust,
    pulls: image::pull::Pulls,
    layer_pins: image::oci::layers::Pins,
    /// Somebody changed what is to be done with images by and by.
    images_configured: tokio::sync::Notify,
    facts: instance::resolve::HostFacts,
    hierarchies: coffer_runtime::cgroup::Hierarchies,
    file_program: coffer_file_server::FileProgram,
    /// Where monitors come from.
    nursery: coffer_runtime::Nursery,
    /// The number of the next connection to a monitor.
    next_connection: AtomicU64,
    ready: AtomicBool,
    shutting_down: AtomicBool,
    runtime: tokio::runtime::Handle,
    /// When this daemon's life began.
    begun: std::time::Instant,
    end: tokio::sync::watch::Sender<bool>,
    /// Told when a backup was made, whose time may be over before that of all others.
    expiry: tokio::sync::Notify,
    /// Held while the first pool and bridge are made.
    first_use: std::sync::Mutex<()>,
    /// Rung when something may be due earlier than was thought: a snapshot's schedule or expiry changed.
    snapshot_alarm: tokio::sync::Notify,
}

/// The directories below the state directory, as LXD documents them, and their modes.
const DIRECTORIES: &[(&str, u32)] = &[
    ("backups", 0o700),
    ("backups/instances", 0o700),
    ("backups/custom", 0o700),
    ("database", 0o700),
    ("devices", 0o711),
    ("devlxd", 0o711),
    ("disks", 0o700),
    (image::oci::layers::DIRECTORY, 0o700),
    ("images", 0o700),
    ("logs", 0o700),
    ("networks", 0o711),
    ("run", 0o700),
    (apparmor::DIRECTORY, 0o700),
    ("storage-pools", 0o711),
];

impl Engine {
    /// Opens the state directory; makes it where it is missing. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// If the directory cannot be made, the store refuses, or the monitor program is missing.
    pub fn open(settings: Settings) -> Result<Self, EngineError> {
        make_directory(&settings.dir, 0o711)?;
        for (name, mode) in DIRECTORIES {
            make_directory(&settings.dir.join(name), *mode)?;
        }
        let database = settings.dir.join("database");
        if !Store::is_in(&database) {
            check::set_all_aside(&settings.dir)?;
        }
        let store = Arc::new(Store::open(&database)?);
        let facts = host::facts(&settings.dir)?;
        let hierarchies =
            coffer_runtime::cgroup::Hierarchies::find().map_err(|cause| EngineError::system("looking for control groups", cause))?;
        let monitor = |cause| EngineError::system(format!("loading the monitor program {}", settings.monitor.display()), cause);
        let monitor_program = coffer_runtime::MonitorProgram::load(&settings.monitor).map_err(monitor)?;
        let events = Events::default();
        let files = |cause| EngineError::system(format!("loading the file server {}", settings.files.display()), cause);
        let file_program = coffer_file_server::FileProgram::load(&settings.files).map_err(files)?;
        let nursery = coffer_runtime::Nursery::new(monitor_program, &facts.cgroup_parent);
        let inner = Inner {
            operations: Operations::new(events.clone(), operation_log::OperationLog::begin(&store)?),
            unpacker: coffer_image::Unpacker::at(&settings.unpack),
            trust: trust::Trust::load(&store)?,
            pulls: image::pull::Pulls::default(),
            layer_pins: image::oci::layers::Pins::default(),
            images_configured: tokio::sync::Notify::new(),
            warnings: warning::Warnings::load(&store)?,
            store,
            events,
            cells: live::Cells::default(),
            pools: storage::Pools::default(),
            volumes: volume::Claims::default(),
            networks: network::Networks::default(),
            guests: guest::Guests::default(),
            cpus: instance::cpus::Assigned::default(),
            confinement: apparmor::Confinement::new(&settings.dir, &facts.cgroup_parent),
            facts,
            hierarchies,
            file_program,
            nursery,
            next_connection: AtomicU64::new(1),
            ready: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            runtime: tokio::runtime::Handle::current(),
            begun: std::time::Instant::now(),
            end: tokio::sync::watch::Sender::new(false),
            expiry: tokio::sync::Notify::new(),
            first_use: std::sync::Mutex::new(()),
            snapshot_alarm: tokio::sync::Notify::new(),
            settings,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Says whether recovery is done and requests can be served.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.inner.ready.load(Ordering::SeqCst)
    }

    /// Where events are sent and listened to.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.inner.events
    }

    /// All operations of this daemon's life.
    #[must_use]
    pub fn operations(&self) -> &Operations {
        &self.inner.operations
    }

    /// Tells the listeners what somebody did with an instance beyond the use cases; `below` is the rest of the URL.
    pub fn tell_used(
        &self,
        project: &coffer_model::ProjectName,
        name: &coffer_model::InstanceName,
        below: &str,
        action: &'static str,
        context: Option<serde_json::Value>,
        caller: &Caller,
    ) {
        self.inner.events.lifecycle_with(Some(project), action, format!("/1.0/instances/{name}{below}"), context, Some(caller));
    }

    /// Tells the listeners what happened to an instance.
    fn lifecycle(&self, instance: &coffer_model::Instance, action: &'static str, caller: Option<&Caller>) {
        self.inner.events.lifecycle(Some(&instance.project), action, format!("/1.0/instances/{}", instance.name), caller);
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), EngineError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let making = |cause| EngineError::system(format!("making {}", path.display()), cause);
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(making)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(making)
}
