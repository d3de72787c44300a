//! A storage pool: what every driver can do, and the powers that only some have.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use coffer_base::{Bytes, Progress};
use coffer_model::{Config, Fingerprint, PoolName, SnapshotName};

use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::place::Place;
use crate::replica::{Foreign, Replicas};
use crate::volume::Volume;
use crate::{btrfs, ceph, cephfs, config, dir, lvm, mounts, overlay, zfs};

/// What a pool is made of or opened from.
#[derive(Debug, Clone)]
pub struct PoolSpec {
    /// Its name.
    pub name: PoolName,
    /// Its driver.
    pub driver: DriverKind,
    /// Its configuration; making the pool fills in what is left open: `source`, `size`, `volatile.initial_source`.
    pub config: Config,
    /// The server's state directory, which holds `storage-pools/` and `disks/`.
    pub state_dir: PathBuf,
}

/// What the code that fills a new volume may say.
pub type FillError = Box<dyn std::error::Error + Send + Sync>;

/// Puts the content into a new volume, given its empty directory.
pub type Fill<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> Result<(), FillError>;

/// Space and inodes of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Bytes in all.
    pub space_total: u64,
    /// Bytes in use.
    pub space_used: u64,
    /// Inodes in all; 0 where the file system does not count them.
    pub inodes_total: u64,
    /// Inodes in use.
    pub inodes_used: u64,
}

/// How much a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that the volume holds, shared with others or not. This is what a limit counts.
    pub used: u64,
    /// Bytes that would be freed with the volume, where that is known.
    pub exclusive: Option<u64>,
    /// The most bytes it may hold, where that is limited.
    pub limit: Option<u64>,
}

/// Whether a size that was asked for is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// It is: a write beyond it fails.
    Enforced,
    /// It is not, because of this.
    Ignored(&'static str),
}

/// Something that stands in a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// A volume or snapshot.
    Volume(Volume),
    /// Something that this server would not have put there, by its path below the pool.
    Foreign(PathBuf),
}

/// A storage pool that is ready for use. There is one object for each pool: it also holds the pool's locks.
///
/// What is made appears under its name only when it is whole, and what is removed loses its name at once.
pub trait Pool: Send + Sync {
    /// The pool's name.
    fn name(&self) -> &PoolName;

    /// Its driver.
    fn driver(&self) -> DriverKind;

    /// Where it stands on the host.
    fn path(&self) -> &Path;

    /// Space and inodes, in use and in all.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the pool is gone.
    fn resources(&self) -> Result<Resources, StorageError>;

    /// Says whether the pool is there. What has answered just now is not asked again where asking takes a program.
    fn answers(&self) -> bool {
        self.resources().is_ok()
    }

    /// Makes a changed configuration, which [`config::check_change`] has let pass, take effect.
    ///
    /// # Errors
    /// The kernel's answers while growing or remounting.
    fn update(&self, config: &Config) -> Result<(), StorageError>;

    /// Takes the pool off the host's file tree; opening it again brings it back.
    ///
    /// # Errors
    /// Of class [`InUse`](crate::Class::InUse) while instances run from it.
    fn unmount(&self) -> Result<(), StorageError>;

    /// Removes the pool and the image volumes in it, and gives back what it was made of.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`] if it holds instances' or users' volumes, before anything is changed.
    fn delete(&self) -> Result<(), StorageError>;

    /// Lists what stands in the pool.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the pool is gone.
    fn list(&self) -> Result<Vec<Found>, StorageError>;

    /// Removes what was left half made or half removed, and says how many things that were.
    ///
    /// To be called when nothing else works on the pool: at the server's start.
    ///
    /// # Errors
    /// The first thing that could not be removed.
    fn clear_temporaries(&self) -> Result<usize, StorageError>;

    /// Makes a volume and lets `fill` put its content in. If that fails there is no volume.
    ///
    /// The top of a user's volume begins with mode 0711 and keeps what the content makes of it; others are closed.
    ///
    /// # Errors
    /// [`StorageError::VolumeExists`]; [`StorageError::Fill`] with what `fill` said.
    fn create(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError>;

    /// Makes a volume as [`Pool::create`] does, of a size from the start where volumes have one and cannot always be made smaller.
    ///
    /// # Errors
    /// Those of [`Pool::create`]; [`StorageError::VolumeRefused`] for a size that no file system fits into.
    fn create_sized(&self, volume: &Volume, _size: Option<Bytes>, fill: Fill<'_>) -> Result<(), StorageError> {
        self.create(volume, fill)
    }

    /// Makes a volume with the content of another one of this pool, and the named snapshots of that too.
    ///
    /// A snapshot may be copied into a volume, which then has none, and into a snapshot of another volume.
    ///
    /// # Errors
    /// [`StorageError::VolumeExists`], [`StorageError::NoVolume`], the kernel's answers.
    fn copy(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError>;

    /// Renames a volume, its snapshots along with it, or a snapshot.
    ///
    /// # Errors
    /// [`StorageError::VolumeExists`], [`StorageError::NoVolume`].
    fn rename(&self, from: &Volume, to: &Volume) -> Result<(), StorageError>;

    /// Removes a volume or a snapshot.
    ///
    /// # Errors
    /// [`StorageError::HasSnapshots`], [`StorageError::MountedInside`], [`StorageError::NoVolume`]: nothing was changed.
    /// [`StorageError::Reclaim`]: it is gone, but not all of its space is free.
    fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError>;

    /// Says whether a volume or snapshot is there.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the pool is gone.
    fn exists(&self, volume: &Volume) -> Result<bool, StorageError>;

    /// Makes a volume's content reachable and hands out its directory, open for reading.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`].
    fn mount(&self, volume: &Volume) -> Result<OwnedFd, StorageError>;

    /// Hands out a volume's own directory with the files beside an instance's root, of which nothing is mounted for that.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`].
    fn directory(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.mount(volume)
    }

    /// Makes all that a volume holds reachable as one tree to read, with ids as they are on disk, also while an instance
    /// runs from it; that must be held still meanwhile.
    ///
    /// # Errors
    /// As [`Pool::mount`].
    fn read(&self, volume: &Volume) -> Result<View, StorageError> {
        self.mount(volume).map(View::of)
    }

    /// Ends what [`Pool::mount`] began; the descriptors must be closed.
    ///
    /// # Errors
    /// The kernel's answers.
    fn unmount_volume(&self, volume: &Volume) -> Result<(), StorageError>;

    /// How much a volume holds, if that can be said without walking through it.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`].
    fn usage(&self, volume: &Volume) -> Result<Option<Usage>, StorageError>;

    /// Limits how much a volume may hold, or lifts the limit.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`], the kernel's answers.
    fn set_quota(&self, volume: &Volume, size: Option<Bytes>) -> Result<Enforcement, StorageError>;

    /// Snapshots, if the driver has them.
    fn snapshots(&self) -> Option<&dyn Snapshots>;

    /// Doing what is said of single volumes, if the driver has keys of its own for them.
    fn keys(&self) -> Option<&dyn VolumeKeys> {
        None
    }

    /// Image volumes that new volumes are cloned from, if that is cheap; else images are unpacked into each volume.
    fn images(&self) -> Option<&dyn Images>;

    /// Volumes as streams in the driver's own format, if it has one.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    /// Telling what changed in volumes, where that is known without looking at every file.
    fn history(&self) -> Option<&dyn History> {
        None
    }

    /// Making states of a volume out of each other, where they share what is the same.
    fn succession(&self) -> Option<&dyn Succession> {
        None
    }

    /// Taking volumes over from another pool of the same driver, if that is more than copying files.
    fn replicas(&self) -> Option<&dyn Replicas> {
        None
    }

    /// Receiving streams in the driver's own format that somebody else wrote, if the driver has to hand them to the kernel.
    fn foreign(&self) -> Option<&dyn Foreign> {
        None
    }

    /// Roots that are mounted with their ids mapped, where the pool's mounts cannot be mapped later.
    fn mapped(&self) -> Option<&dyn Mapped> {
        None
    }
}

/// The power to do what is said of single volumes in keys that only some drivers have. What else is among the keys is passed over.
pub trait VolumeKeys: Sync {
    /// Checks the keys of a volume that is to be made or changed against what the pool is made of. Nothing is changed.
    ///
    /// # Errors
    /// [`StorageError::Value`] with the key that cannot be had.
    fn check(&self, keys: &Config) -> Result<(), StorageError>;

    /// Takes note of what holds of a volume that is there, as it must be when a pool was opened. Nothing is changed.
    fn learn(&self, volume: &Volume, keys: &Config);

    /// Says what holds of a volume and its snapshots from now on. If it is there it is changed, as far as a key takes effect at once;
    /// else it will be made so.
    ///
    /// # Errors
    /// What the driver's programs said; then what was said before still holds.
    fn configure(&self, volume: &Volume, keys: &Config) -> Result<(), StorageError>;

    /// Forgets what was said of a volume that was not made after all. One that is removed is forgotten with that.
    fn forget(&self, volume: &Volume);
}

/// The power to tell what changed between two states of a volume.
pub trait History {
    /// Tells what changed from an earlier snapshot of a volume to a later one, or to the volume as it is now; nothing where that
    /// is not known for certain, because one did not come from the other.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`], the kernel's answers.
    fn difference(&self, earlier: &Volume, later: &Volume) -> Result<Option<Difference>, StorageError>;
}

/// What changed between two states of a volume, and both to read.
pub struct Difference {
    /// The earlier state.
    pub(crate) earlier: View,
    /// The later state, of one moment.
    pub(crate) later: View,
    /// The inodes in which anything changed.
    pub(crate) inodes: HashSet<u64>,
}

/// Fills one of several states of a volume, given its number and its directory, which is empty or, if so said, holds the state
/// before.
pub type FillInTurn<'a> = &'a mut dyn FnMut(usize, BorrowedFd<'_>, Before) -> Result<(), FillError>;

/// What a directory holds before it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The state before: of the one that is made just before, or the base.
    Earlier,
}

/// The power to make states of a volume one out of the other, so that what is the same in them is kept once.
pub trait Succession {
    /// Makes volumes in their order, all but the last of them snapshots of the last. The first begins as `base`, if there is one.
    ///
    /// # Errors
    /// [`StorageError::VolumeExists`], [`StorageError::Fill`]; then there is none of them.
    fn create_in_turn(&self, base: Option<&Volume>, states: &[Volume], fill: FillInTurn<'_>) -> Result<(), StorageError>;
}

/// The power to say in a stream of the driver's own format what makes a snapshot.
pub trait Streams {
    /// Writes what makes a snapshot out of nothing, or out of an earlier snapshot of the same volume. One that does not come from that is
    /// made out of nothing where the format says which it is.
    ///
    /// # Errors
    /// [`StorageError::VolumeRefused`] if other subvolumes are nested in it; [`StorageError::NoVolume`], the kernel's answers.
    fn send(&self, snapshot: &Volume, base: Option<&Volume>, into: BorrowedFd<'_>) -> Result<(), StorageError>;
}

/// The power to mount an instance's root for a user namespace, where ids cannot be mapped in a mount that is there.
pub trait Mapped {
    /// Mounts an instance's root at its place and opens it, for an instance that runs from it until
    /// [`Pool::unmount_volume`]. Its ids go through the map of a user namespace; without one they are as they are on disk.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`]; of class [`InUse`](crate::Class::InUse) if the file system has no idmapped mounts, or
    /// some program has a file of the volume open.
    fn mount_root(&self, volume: &Volume, ids: Option<BorrowedFd<'_>>) -> Result<OwnedFd, StorageError>;
}

/// A volume's content, which can be read as long as this lives.
pub struct View {
    directory: OwnedFd,
    /// What ends with it.
    _kept: Option<Box<dyn Send>>,
}

impl View {
    /// What is reachable by itself.
    pub(crate) fn of(directory: OwnedFd) -> Self {
        Self { directory, _kept: None }
    }

    /// What is reachable as long as something else lives.
    pub(crate) fn with(directory: OwnedFd, kept: impl Send + 'static) -> Self {
        Self { directory, _kept: Some(Box::new(kept)) }
    }
}

impl AsFd for View {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The power to keep earlier states of volumes.
pub trait Snapshots {
    /// Keeps the present state of a volume under a name.
    ///
    /// Files that are open or being written come as they are in that moment.
    ///
    /// # Errors
    /// [`StorageError::VolumeExists`], [`StorageError::NoVolume`].
    fn snapshot(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError>;

    /// Gives a volume the content of one of its snapshots. Its size limit stays. The volume must not be in use.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`]; on any error before [`StorageError::Reclaim`] the volume is as it was.
    fn restore(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError>;

    /// Says whether a snapshot is of one moment, also while the volume is written to.
    fn at_once(&self) -> bool {
        true
    }

    /// Says whether taking a snapshot puts all that was written into its volume before on the disk for good.
    fn commits(&self) -> bool {
        false
    }

    /// Says whether a snapshot of an instance takes far less than all of its volume would, in time and in room.
    fn is_light(&self) -> bool {
        true
    }

    /// The names of a volume's snapshots, sorted.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the pool is gone.
    fn list(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError>;
}

/// The power to clone new volumes from an image that was unpacked once.
pub trait Images {
    /// Makes sure that the image is unpacked in the pool; says whether it had to be done now.
    ///
    /// Callers that want the same image at the same time wait for the first one.
    ///
    /// # Errors
    /// [`StorageError::Fill`] with what `fill` said; then there is no image volume.
    fn ensure(&self, image: &Fingerprint, fill: Fill<'_>) -> Result<bool, StorageError>;

    /// Makes a volume with the content of an image that [`Images::ensure`] has seen to.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`] for the image, [`StorageError::VolumeExists`] for the volume.
    fn clone_image(&self, image: &Fingerprint, volume: &Volume) -> Result<(), StorageError>;
}

/// Makes a pool. On failure everything is taken back, and `warn` hears what could not be.
///
/// # Errors
/// [`StorageError::Key`], [`StorageError::Value`], [`StorageError::Source`] and [`StorageError::PoolExists`] before
/// anything is changed; the kernel's and the programs' answers.
pub fn create_pool(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    config::check_pool(&spec.name, spec.driver, &spec.config)?;
    match spec.driver {
        DriverKind::Dir => dir::create(spec, warn),
        DriverKind::Overlay => overlay::create(spec, warn),
        DriverKind::Btrfs => btrfs::create(spec, warn),
        DriverKind::Lvm => lvm::create(spec, warn),
        DriverKind::Zfs => zfs::create(spec, warn),
        DriverKind::Ceph => ceph::create(spec, warn),
        DriverKind::Cephfs => cephfs::create(spec, warn),
    }
}

/// Opens a pool that was made before, mounting it where that is needed. May be called again at any time.
///
/// # Errors
/// [`StorageError::Unavailable`] if what it was made of is not there; it never makes a pool.
pub fn open_pool(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    match spec.driver {
        DriverKind::Dir => dir::open(spec),
        DriverKind::Overlay => overlay::open(spec),
        DriverKind::Btrfs => btrfs::open(spec),
        DriverKind::Lvm => lvm::open(spec),
        DriverKind::Zfs => zfs::open(spec),
        DriverKind::Ceph => ceph::open(spec),
        DriverKind::Cephfs => cephfs::open(spec),
    }
}

/// What a pool stands on that was made without a source: its file, or its place.
#[must_use]
pub fn own_source(state_dir: &Path, pool: &PoolName) -> PathBuf {
    let file = state_dir.join("disks").join(format!("{pool}.img"));
    if file.exists() { file } else { Place::path_of(state_dir, pool) }
}

/// Says whether something is mounted where a pool stands.
#[must_use]
pub fn is_mounted(spec: &PoolSpec) -> bool {
    let path = Place::path_of(&spec.state_dir, &spec.name);
    mounts::below(&path).is_ok_and(|found| found.iter().any(|(point, _)| *point == path))
}

/// Makes a volume from an image in the cheapest way that the pool has.
///
/// # Errors
/// Those of [`Images::ensure`] and [`Images::clone_image`], or of [`Pool::create`].
pub fn create_from_image(pool: &dyn Pool, volume: &Volume, image: &Fingerprint, fill: Fill<'_>) -> Result<(), StorageError> {
    match pool.images() {
        Some(images) => {
            images.ensure(image, fill)?;
            images.clone_image(image, volume)
        }
        None => pool.create(volume, fill),
    }
}

/// Refuses to begin something for which there is certainly no room in a pool.
///
/// # Errors
/// [`StorageError::NoRoom`].
pub fn require_room(pool: &dyn Pool, volume: &Volume, need: u64) -> Result<(), StorageError> {
    let resources = pool.resources()?;
    let free = resources.space_total.saturating_sub(resources.space_used);
    if need <= free {
        return Ok(());
    }
    let (need, free) = (Bytes(need), Bytes(free));
    Err(StorageError::NoRoom { pool: pool.name().clone(), volume: volume.clone(), need, free })
}

/// What stands in a pool without being known: volumes to remove or to adopt, and foreign things.
///
/// # Errors
/// Those of [`Pool::list`].
pub fn leftovers(pool: &dyn Pool, known: &BTreeSet<Volume>) -> Result<Vec<Found>, StorageError> {
    let unknown = |found: &Found| match found {
        Found::Volume(volume) => !known.contains(volume),
        Found::Foreign(_) => true,
    };
    Ok(pool.list()?.into_iter().filter(unknown).collect())
}
