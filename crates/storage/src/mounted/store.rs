//! What a driver must do with volumes that are mounted one by one, and how it says why it could not.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use coffer_base::Bytes;
use coffer_base::run::RunError;
use coffer_model::{Config, PoolName, SnapshotName};
use rustix::mount::MountAttrFlags;

use super::Name;
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::mounts::MountOption;
use crate::pool::Resources;
use crate::replica::StateId;
use crate::volume::Volume;

/// What is known of a thing in a store without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Info {
    /// The most it may hold, if that is limited.
    pub(crate) limit: Option<u64>,
    /// How much it held when it was last looked at.
    pub(crate) used: Option<u64>,
}

/// What to mount a volume from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file_system: &'static str,
    pub(crate) device: PathBuf,
    pub(crate) options: Vec<MountOption>,
    pub(crate) attributes: MountAttrFlags,
}

/// A driver's volumes, by name. Nothing of it looks at mounts: that is the pool's work.
pub(crate) trait Store: Send + Sync {
    /// Which driver it is.
    fn driver(&self) -> DriverKind;

    /// Everything in the store that this server put there.
    fn scan(&self) -> Result<Vec<(Name, Info)>, Fault>;

    /// Makes an empty file system. `config` has the volume's keys, completed from the pool's.
    fn create(&self, name: &Name, config: &Config) -> Result<Info, Fault>;

    /// Gives a thing another name, and its snapshots of these names along with it.
    fn rename(&self, from: &Name, to: &Name, snapshots: &[SnapshotName]) -> Result<(), Fault>;

    /// Removes a thing that has no snapshots and is mounted nowhere.
    fn remove(&self, name: &Name) -> Result<(), Fault>;

    /// Lets a whole new state take the place of a volume, whose snapshots stay.
    fn replace(&self, next: &Name, volume: &Name, scratch: &Name) -> Result<(), Fault>;

    /// Says what is wrong here with a volume's own keys, if anything; changes nothing.
    fn check(&self, keys: &Config) -> Result<(), Fault>;

    /// Lets what changed of a volume's completed keys take effect on it at once, where it does that. It has this limit.
    fn configure(&self, _name: &Name, _before: &Config, _after: &Config, _limit: Option<Bytes>) -> Result<(), Fault> {
        Ok(())
    }

    /// Makes a thing ready to be mounted. `config` has the volume's keys, completed from the pool's.
    fn attach(&self, name: &Name, config: &Config) -> Result<Source, Fault>;

    /// Ends that, once it is mounted nowhere any more.
    fn detach(&self, name: &Name) -> Result<(), Fault>;

    /// How volumes are limited in size.
    fn limits(&self) -> Limits<'_>;

    /// Copies that share their data, if there are any.
    fn clones(&self) -> Option<&dyn Clones>;

    /// Streams of volumes in the store's own format, if it has one.
    fn replication(&self) -> Option<&dyn Replication> {
        None
    }

    /// Says whether a copy of a volume is to share the data of what it was made from, where the store can do that.
    fn copies_share(&self, _config: &Config) -> bool {
        true
    }

    /// Removes what a kill left that no name tells of, and says how many things that were.
    fn tidy(&self) -> Result<usize, Fault> {
        Ok(0)
    }

    /// Space, in all and in use.
    fn resources(&self) -> Result<Resources, Fault>;

    /// Says whether what the pool stands on is there.
    fn answers(&self) -> bool {
        self.resources().is_ok()
    }

    /// Lets a changed configuration take effect.
    fn update(&self, config: &Config) -> Result<(), Fault>;

    /// Takes the store off the host; nothing of it is mounted.
    fn close(&self) -> Result<(), Fault>;

    /// Removes the store, in which no volume is left, and gives back what it was made of.
    fn destroy(&self) -> Result<(), Fault>;
}

/// How a store limits the size of volumes.
pub(crate) enum Limits<'a> {
    /// Volumes are devices, whose file systems have to be changed with them.
    Devices(&'a dyn Devices),
    /// Volumes take what room they need, up to a limit that can be changed at any time.
    Quotas(&'a dyn Quotas),
}

/// Volumes that are devices of some size.
pub(crate) trait Devices {
    /// Changes the size of a device and answers what it came to.
    fn resize(&self, name: &Name, size: Bytes) -> Result<u64, Fault>;
}

/// Volumes that have limits.
pub(crate) trait Quotas {
    /// Limits how much a thing may hold, or lifts the limit.
    fn limit(&self, name: &Name, size: Option<Bytes>, config: &Config) -> Result<(), Fault>;
}

/// Copies that share their data with what they were made from.
pub(crate) trait Clones {
    /// Makes a copy that can be written, or a snapshot that can be mounted. `config` has the keys of what it becomes.
    fn clone_thing(&self, from: &Name, to: &Name, config: &Config) -> Result<(), Fault>;
}

/// Streams that make a thing in another store out of what that has already.
pub(crate) trait Replication: Sync {
    /// The states of things that are in the store, but for those that others may have made up.
    fn states(&self) -> Result<BTreeSet<StateId>, Fault>;

    /// The present state of a thing.
    fn state(&self, name: &Name) -> Result<Option<StateId>, Fault>;

    /// Holds the present state of a thing to be sent to somebody who has these states: those of another store, or of this one.
    fn depart(&self, name: &Name, known: &BTreeSet<StateId>, own: bool) -> Result<Departure, Fault>;

    /// Writes the stream; one that is for a pool rather than an archive stays compressed as it is on disk.
    fn write(&self, departure: &Departure, to_pool: bool, into: File) -> Result<(), Fault>;

    /// Lets a state go again that was held.
    fn forget(&self, departure: &Departure);

    /// Takes away what was only kept while the streams of an archive were received, and closes those things that never change again.
    fn settle(&self, names: &[(&Name, bool)]) -> Result<(), Fault>;

    /// Makes a thing out of a stream. On failure there is none.
    fn receive(&self, name: &Name, arrival: &Arrival<'_>, stream: File) -> Result<(), Fault>;
}

/// A state that is being sent.
#[derive(Debug)]
pub(crate) struct Departure {
    /// What the store calls it.
    pub(crate) state: String,
    /// What it is sent as a change of, and what the store calls that.
    pub(crate) base: Option<(StateId, String)>,
    /// About how many bytes the stream will have.
    pub(crate) size: u64,
    /// Whether it was made to be sent.
    pub(crate) own: bool,
}

/// What is known of something that is being received.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    /// The state in this store that the stream changes.
    pub(crate) base: Option<StateId>,
    /// The things that came before it in the same archive, if it is from outside.
    pub(crate) outside: Option<&'a [&'a Name]>,
    /// Whether it never changes once it is whole.
    pub(crate) frozen: bool,
    /// The keys of the volume that it becomes.
    pub(crate) config: &'a Config,
}

/// Why a store could not do something.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A program failed.
    Tool(RunError),
    /// The kernel said no.
    Kernel(io::Error),
    /// A mount failed; what the file system said about it.
    Mount(PathBuf, io::Error, Option<String>),
    /// It is in use.
    Busy(String),
    /// It makes no sense, or the driver cannot do it.
    Refused(String),
    /// A key has a value that cannot be had here.
    Key(&'static str, String),
    /// There is no such thing.
    Missing,
}

impl Fault {
    /// As an error of a step on a volume.
    pub(crate) fn of_volume(self, pool: &PoolName, volume: &Volume, doing: &'static str) -> StorageError {
        let (pool, volume) = (pool.clone(), volume.clone());
        match self {
            Self::Tool(cause) => StorageError::VolumeTool { pool, volume, doing, cause },
            Self::Kernel(cause) => StorageError::Volume { pool, volume, doing, cause },
            Self::Mount(source_path, cause, said) => StorageError::Mount { pool, source_path, said, cause },
            Self::Busy(why) => StorageError::VolumeBusy { pool, volume, why },
            Self::Refused(why) => StorageError::VolumeRefused { pool, volume, doing, why },
            Self::Key(key, why) => StorageError::Value { pool, key, why },
            Self::Missing => StorageError::NoVolume { pool, volume },
        }
    }

    /// As an error of a step on a whole pool.
    pub(crate) fn of_pool(self, pool: &PoolName, doing: &'static str) -> StorageError {
        let pool = pool.clone();
        match self {
            Self::Tool(cause) => StorageError::PoolTool { pool, doing, cause },
            Self::Kernel(cause) => StorageError::Pool { pool, doing, cause },
            Self::Mount(source_path, cause, said) => StorageError::Mount { pool, source_path, said, cause },
            Self::Busy(why) | Self::Refused(why) => StorageError::PoolRefused { pool, doing, why },
            Self::Key(key, why) => StorageError::Value { pool, key, why },
            Self::Missing => StorageError::Unavailable { pool, why: "it is gone".into() },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(error) => f.write_str(&coffer_base::chain(error)),
            Self::Kernel(error) | Self::Mount(_, error, _) => write!(f, "{error}"),
            Self::Busy(why) | Self::Refused(why) => f.write_str(why),
            Self::Key(key, why) => write!(f, "key {key}: {why}"),
            Self::Missing => f.write_str("it is not there"),
        }
    }
}
