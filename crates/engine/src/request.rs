//! What the use cases are asked for and what they answer, in the model's words.

mod copy;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use coffer_image::Compressor;
use coffer_model::{
    AliasName, Backup, BackupName, Config, Devices, Fingerprint, Health, Image, Instance, InstanceName, InstanceSnapshot, Network, Origin,
    Pool, PoolName, Profile, ProfileName, ProjectName, SnapshotName, Status, Time, VolumeName,
};
use coffer_remote::Protocol;

use crate::operations::OperationView;

pub use copy::{CopyInstance, MoveInstance};

/// Which projects a list covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One project.
    Project(ProjectName),
    /// All of them.
    All,
}

/// How much of an instance a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What is configured, and its status.
    Plain,
    /// With its state: processes, memory, addresses.
    Full,
}

/// An instance as a reader sees it.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// What is kept of it.
    pub instance: Instance,
    /// The configuration with its profiles'.
    pub expanded_config: Config,
    /// The devices with its profiles'.
    pub expanded_devices: Devices,
    /// What it is doing.
    pub status: Status,
    /// Whether it has said that it is ready.
    pub ready: bool,
    /// Its state, where [`Detail::Full`] was asked for.
    pub state: Option<InstanceState>,
    /// Its snapshots, the oldest first, where [`Detail::Full`] was asked for.
    pub snapshots: Vec<SnapshotView>,
    /// Its backups, where [`Detail::Full`] was asked for.
    pub backups: Vec<Backup>,
}

/// A snapshot as a reader sees it.
#[derive(Debug, Clone)]
pub struct SnapshotView {
    /// What is kept of it.
    pub snapshot: InstanceSnapshot,
    /// The configuration with its profiles', as these are now.
    pub expanded_config: Config,
    /// The devices with its profiles', as these are now.
    pub expanded_devices: Devices,
}

/// A new snapshot.
#[derive(Debug, Clone)]
pub struct CreateSnapshot {
    /// Its name; the instance's pattern finds one when there is none.
    pub name: Option<SnapshotName>,
    /// When it is deleted by itself.
    pub expiry: Expiry,
}

/// When a new snapshot is deleted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// As the instance's configuration says.
    AsConfigured,
    /// Never.
    Never,
    /// Then.
    At(Time),
}

/// What an instance uses just now.
#[derive(Debug, Clone)]
pub struct InstanceState {
    /// What it is doing.
    pub status: Status,
    /// Whether it has said that it is ready.
    pub ready: bool,
    /// How it is, where its health is checked.
    pub health: Option<Health>,
    /// Its init's pid on the host; 0 when it does not run.
    pub pid: u32,
    /// Number of processes; -1 when it does not run.
    pub processes: i64,
    /// CPU time used since its start, in nanoseconds.
    pub cpu_usage: u64,
    /// Memory in use, in bytes.
    pub memory_usage: u64,
    /// The most memory that was in use.
    pub memory_peak: u64,
    /// Swap in use, in bytes.
    pub swap_usage: u64,
    /// The most swap that was in use.
    pub swap_peak: u64,
    /// Bytes on disk by disk device, where the pool can tell at once.
    pub disk: BTreeMap<String, u64>,
    /// Network interfaces by their names inside.
    pub network: BTreeMap<String, coffer_network::LinkState>,
    /// When it was started; `None` when it does not run.
    pub started_at: Option<Time>,
}

/// What a new instance is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The image with this fingerprint, or the only one whose fingerprint begins so.
    Fingerprint(String),
    /// The image that has this alias.
    Alias(AliasName),
    /// The newest image that has all of these properties.
    Properties(Config),
    /// An image that a server elsewhere has.
    Remote(RemoteSource),
    /// Nothing: an empty root.
    None,
}

/// A new instance.
#[derive(Debug, Clone)]
pub struct CreateInstance {
    /// The project it is made in.
    pub project: ProjectName,
    /// Its name; the server finds one when there is none.
    pub name: Option<InstanceName>,
    /// Its architecture; empty is the image's.
    pub architecture: String,
    /// Free text.
    pub description: String,
    /// Whether it goes when it stops.
    pub ephemeral: bool,
    /// Its profiles; `None` is the image's, or else `default`.
    pub profiles: Option<Vec<ProfileName>>,
    /// Its own configuration.
    pub config: Config,
    /// Its own devices.
    pub devices: Devices,
    /// What it is made from.
    pub source: Source,
    /// Whether it is started at once.
    pub start: bool,
}

/// The writable part of an instance: all of it, as a `PUT` replaces it.
#[derive(Debug, Clone)]
pub struct InstanceChange {
    /// Its architecture; empty leaves it.
    pub architecture: String,
    /// Free text.
    pub description: String,
    /// Whether it goes when it stops.
    pub ephemeral: bool,
    /// Its profiles.
    pub profiles: Vec<ProfileName>,
    /// Its own configuration.
    pub config: Config,
    /// Its own devices.
    pub devices: Devices,
}

/// The parts of an instance that a `PATCH` changes; keys of maps are merged, and a key set to nothing is removed.
#[derive(Debug, Clone, Default)]
pub struct InstancePatch {
    /// Free text.
    pub description: Option<String>,
    /// Whether it goes when it stops.
    pub ephemeral: Option<bool>,
    /// Its profiles.
    pub profiles: Option<Vec<ProfileName>>,
    /// Keys to set or remove.
    pub config: Config,
    /// Devices to set; one without keys is removed.
    pub devices: Devices,
}

/// What to do with a running or stopped instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
    /// Freeze its processes.
    Freeze,
    /// Let them go on.
    Unfreeze,
}

/// A change of an instance's state.
#[derive(Debug, Clone, Copy)]
pub struct StateChange {
    /// What to do.
    pub action: Action,
    /// Whether a frozen instance is unfrozen where others are started.
    pub or_unfreeze: bool,
    /// How long a clean stop may take; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Whether to kill instead of asking.
    pub force: bool,
}

/// A command to run inside an instance.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables over the defaults.
    pub environment: BTreeMap<String, String>,
    /// The user id inside.
    pub user: u32,
    /// The group id inside.
    pub group: u32,
    /// The working directory inside; empty is the user's default.
    pub cwd: String,
    /// The terminal's columns and rows; `None` runs it on pipes.
    pub terminal: Option<(u16, u16)>,
    /// The operation that tells how it ended: the next daemon has it too.
    pub operation: Option<OperationView>,
}

/// A command that runs inside an instance.
#[derive(Debug)]
pub struct ExecSession {
    /// The runtime's number for it; 0 when it never ran.
    pub id: u64,
    /// Its streams; `None` when it never ran, or runs without a client.
    pub streams: Option<ExecStreams>,
    /// Answers its exit status, in LXD's form: the code, or 128 + signal; an error if the instance went away first.
    pub exit: tokio::sync::oneshot::Receiver<i32>,
    /// Why the program never ran, for its standard error.
    pub complaint: Option<String>,
}

/// The streams of a running command, non-blocking.
#[derive(Debug)]
pub enum ExecStreams {
    /// The master side of its terminal.
    Terminal(OwnedFd),
    /// Our ends of its pipes.
    Pipes {
        /// Write here what it reads.
        stdin: OwnedFd,
        /// Read here what it writes.
        stdout: OwnedFd,
        /// Read here its errors.
        stderr: OwnedFd,
    },
}

/// A change of an image's writable part.
#[derive(Debug, Clone)]
pub struct ImageChange {
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Whether it is kept up to date.
    pub auto_update: bool,
    /// Its properties.
    pub properties: Config,
    /// Profiles for instances made from it.
    pub profiles: Vec<ProfileName>,
    /// When it expires.
    pub expires_at: Option<Time>,
}

/// What an upload says of itself.
#[derive(Debug, Clone, Default)]
pub struct ImageUpload {
    /// The name of the uploaded file.
    pub filename: String,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Properties over the image's own.
    pub properties: Config,
    /// Profiles for instances made from it.
    pub profiles: Vec<ProfileName>,
    /// The fingerprint it must have.
    pub fingerprint: Option<Fingerprint>,
    /// Aliases it gets.
    pub aliases: Vec<(AliasName, String)>,
    /// The secret with which whoever sent it, and is not trusted otherwise, may wait for it.
    pub secret: Option<String>,
}

/// An image with the names it has.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// The image.
    pub image: Image,
    /// Its aliases with their descriptions.
    pub aliases: Vec<(AliasName, String)>,
    /// Where it came from, if that was noted.
    pub origin: Option<Origin>,
}

/// An image that a server elsewhere has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSource {
    /// The server's address.
    pub server: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Its certificate, where it is to be that one; empty asks the host's authorities.
    pub certificate: String,
    /// An alias, or a fingerprint or the beginning of one.
    pub name: String,
    /// Opens an image that is not public.
    pub secret: String,
    /// The project that it is in there; empty is the default one.
    pub project: String,
}

/// An image to be fetched.
#[derive(Debug, Clone)]
pub struct PullImage {
    /// Where it is.
    pub source: RemoteSource,
    /// Whether it follows its alias.
    pub auto_update: bool,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Properties over its own.
    pub properties: Config,
    /// Profiles for instances made from it.
    pub profiles: Vec<ProfileName>,
    /// Aliases it gets.
    pub aliases: Vec<(AliasName, String)>,
}

/// An image to be fetched from an address.
#[derive(Debug, Clone)]
pub struct PullUrl {
    /// The address.
    pub url: String,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Properties over its own.
    pub properties: Config,
    /// Profiles for instances made from it.
    pub profiles: Vec<ProfileName>,
    /// Aliases it gets.
    pub aliases: Vec<(AliasName, String)>,
}

/// A profile with the instances that use it, as URLs.
#[derive(Debug, Clone)]
pub struct ProfileView {
    /// The profile.
    pub profile: Profile,
    /// URLs of its users.
    pub used_by: Vec<String>,
}

/// A network: a managed one, or an interface of the host.
#[derive(Debug, Clone)]
pub struct NetworkView {
    /// Its name.
    pub name: String,
    /// `bridge`, `physical`, `loopback`, …
    pub kind: String,
    /// What is kept of it; `None` when it is not ours.
    pub managed: Option<Network>,
    /// URLs of its users.
    pub used_by: Vec<String>,
}

/// A pool with its users.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// The pool.
    pub pool: Pool,
    /// URLs of its users.
    pub used_by: Vec<String>,
    /// `Created`, `Pending` or `Unavailable`.
    pub status: &'static str,
}

/// A new image, made of an instance or a snapshot.
#[derive(Debug, Clone)]
pub struct PublishImage {
    /// The instance.
    pub instance: InstanceName,
    /// Its snapshot; `None` is the instance as it is now.
    pub snapshot: Option<SnapshotName>,
    /// The compressor; `None` is the server's own choice.
    pub compressor: Option<Compressor>,
    /// Properties instead of those that the instance's image had; none keeps these.
    pub properties: Config,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// When it should no longer be used.
    pub expires_at: Option<Time>,
    /// The name of its file.
    pub filename: String,
    /// Profiles for instances made from it.
    pub profiles: Vec<ProfileName>,
    /// Aliases it gets.
    pub aliases: Vec<(AliasName, String)>,
    /// Makes the same image of the same files, whenever that is done.
    pub reproducible: Option<Reproducible>,
}

/// How an image is made that depends on nothing but its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reproducible {
    /// The second since 1970 at which the image says it was made; what was written later is taken to have been written then.
    pub epoch: i64,
    /// Whether metadata and root file system become a file each.
    pub split: bool,
}

/// A new backup of an instance.
#[derive(Debug, Clone)]
pub struct CreateBackup {
    /// Its name; the server finds one when there is none.
    pub name: Option<BackupName>,
    /// When it is deleted by itself; `None` if never.
    pub expires_at: Option<Time>,
    /// Whether the snapshots are left out.
    pub without_snapshots: bool,
    /// Whether it is in the storage driver's own format, where the driver has one.
    pub optimized: bool,
    /// The compressor; `None` is the server's own choice.
    pub compressor: Option<Compressor>,
}

/// An instance to be made from a backup.
#[derive(Debug, Clone)]
pub struct ImportBackup {
    /// The project it is made in.
    pub project: ProjectName,
    /// Its name; `None` is the one in the backup.
    pub name: Option<InstanceName>,
    /// The pool it is made in; `None` is the one that the backup comes from, or the default profile's.
    pub pool: Option<PoolName>,
}

/// A user's volume to be made from a file.
#[derive(Debug, Clone)]
pub struct ImportVolume {
    /// The pool it is made in.
    pub pool: PoolName,
    /// The project it is made for.
    pub project: ProjectName,
    /// Its name; `None` is the one in the backup.
    pub name: Option<VolumeName>,
    /// What the file is.
    pub archive: VolumeArchive,
}

/// What file a volume is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeArchive {
    /// A backup of one.
    Backup,
    /// An ISO image, which becomes a volume that is only read.
    Iso,
}
