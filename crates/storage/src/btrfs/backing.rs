//! What a btrfs pool stands on: a file that the server makes, a block device, or a place on a btrfs that is there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_base::run::Program;
use coffer_base::{Bytes, Undo};
use coffer_model::Config;
use coffer_sys::btrfs;
use coffer_sys::loop_device::LoopDevice;
use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use uuid::Uuid;

use super::{LEAST_SIZE, options, subvolume};
use crate::block::{self, LoopFile, file_path};
use crate::error::StorageError;
use crate::mounts;
use crate::place::Place;
use crate::pool::PoolSpec;

/// How long making a file system may take.
const FORMAT_DEADLINE: Duration = Duration::from_secs(600);

/// Marks a subvolume that was made for a pool, so that it goes with it.
const MADE_FOR_POOL: &str = "trusted.coffer.made";

/// What a pool stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Backing {
    /// A file in the server's `disks` directory.
    File(PathBuf),
    /// The device whose file system has this identity.
    Device(Uuid),
    /// A device by its path: only in configurations that others wrote.
    DevicePath(PathBuf),
    /// A directory or subvolume of a btrfs that is mounted elsewhere.
    Directory(PathBuf),
    /// A subvolume at the pool's own place, on a btrfs that holds the state directory.
    InPlace,
}

/// Makes what a pool stands on, mounts it and lays it out.
pub(super) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<(Place, Backing), StorageError> {
    let source = spec.config.get("source").map(PathBuf::from);
    let path = Place::path_of(&spec.state_dir, &spec.name);
    let mut place = Place { pool: spec.name.clone(), path, mounted: true };
    let made = match source.clone() {
        None => create_file(&place, spec, warn),
        Some(source) if source == place.path => {
            place.mounted = false;
            create_in_place(&place, warn)
        }
        Some(source) => match kind_of(&source) {
            Some(FileType::BlockDevice) => create_on_device(&place, spec, &source, warn),
            Some(FileType::Directory) | None => create_in_directory(&place, spec, &source, warn),
            Some(_) => {
                Err(refused(&place, &source, "it is neither a block device nor a directory; leave it out and the server makes a file"))
            }
        },
    };
    let backing = made?;
    if let Some(source) = source {
        spec.config.set("volatile.initial_source", source.to_string_lossy());
    }
    // It has done its work; nobody should wipe a device because of a line that stayed behind.
    spec.config.unset("source.wipe");
    spec.config.set("source", backing.source(&place));
    Ok((place, backing))
}

/// Finds what a pool stands on and mounts it if it is not mounted.
pub(super) fn open(spec: &PoolSpec) -> Result<(Place, Backing), StorageError> {
    let path = Place::path_of(&spec.state_dir, &spec.name);
    let source = PathBuf::from(spec.config.get("source").unwrap_or_default());
    let backing = if source == path {
        Backing::InPlace
    } else if source == file_path(spec) {
        Backing::File(source)
    } else if let Ok(identity) = source.to_string_lossy().parse() {
        Backing::Device(identity)
    } else if kind_of(&source) == Some(FileType::BlockDevice) {
        Backing::DevicePath(source)
    } else {
        Backing::Directory(source)
    };
    let place = Place { pool: spec.name.clone(), path, mounted: backing != Backing::InPlace };
    backing.ensure_mounted(&place, &spec.config)?;
    if !place.is_laid_out()? {
        return Err(place.unavailable(format!("{} holds no storage pool", place.path.display())));
    }
    place.ensure_layout()?;
    Ok((place, backing))
}

impl Backing {
    /// Lets a changed configuration take effect: another size, other mount options.
    pub(super) fn update(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        if let (Self::File(file), Some(size)) = (self, config.parse::<Bytes>("size")) {
            grow(place, file, size).map_err(|cause| place.failed("growing", cause))?;
        }
        match self {
            Self::File(_) | Self::Device(_) | Self::DevicePath(_) => {
                let (options, _) = parsed_options(place, config)?;
                mounts::reconfigure(&place.path, &options).map_err(|(cause, said)| StorageError::Mount {
                    pool: place.pool.clone(),
                    source_path: self.source(place).into(),
                    said,
                    cause,
                })
            }
            // Its options are those of the file system's owner.
            Self::Directory(_) | Self::InPlace => Ok(()),
        }
    }

    /// Gives back what the pool stands on, once nothing of its volumes is left.
    pub(super) fn delete(&self, place: &Place) -> Result<(), StorageError> {
        let failed = |cause| place.failed("removing", cause);
        match self {
            Self::File(file) => {
                place.unmount()?;
                match std::fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => {}
                }
            }
            Self::Device(_) | Self::DevicePath(_) => {
                let device = self.device(place)?;
                place.unmount()?;
                clear(&device).map_err(failed)?;
            }
            Self::Directory(source) => {
                let ours = is_marked(place).map_err(failed)?;
                place.remove_layout()?;
                place.unmount()?;
                if ours {
                    remove_subvolume(source).map_err(failed)?;
                }
            }
            Self::InPlace => {
                place.remove_layout()?;
                return remove_subvolume(&place.path).map_err(failed);
            }
        }
        place.remove_directory()
    }

    /// What stands in the configuration as the source.
    fn source(&self, place: &Place) -> String {
        match self {
            Self::Device(identity) => identity.to_string(),
            Self::File(path) | Self::DevicePath(path) | Self::Directory(path) => path.to_string_lossy().into_owned(),
            Self::InPlace => place.path.to_string_lossy().into_owned(),
        }
    }

    /// The device that the pool is mounted from.
    fn device(&self, place: &Place) -> Result<PathBuf, StorageError> {
        match self {
            Self::Device(identity) => {
                find_device(*identity).ok_or_else(|| place.unavailable(format!("no block device holds the file system {identity}")))
            }
            Self::DevicePath(path) | Self::File(path) | Self::Directory(path) => Ok(path.clone()),
            Self::InPlace => Ok(place.path.clone()),
        }
    }

    fn ensure_mounted(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        if *self == Self::InPlace {
            return Ok(());
        }
        std::fs::create_dir_all(&place.path).map_err(|cause| place.failed("making the directory of", cause))?;
        let top = place.top().map_err(|cause| place.failed("opening", cause))?;
        if mounts::is_mount(top.as_fd()).map_err(|cause| place.failed("looking at", cause))? {
            return self.require_same(place, top.as_fd());
        }
        match self {
            Self::Directory(source) => {
                let opened = open_directory(source).map_err(|cause| place.unavailable(format!("opening {}: {cause}", source.display())))?;
                mounts::bind(opened.as_fd(), top.as_fd()).map_err(|cause| mount_failed(place, source, None, cause))
            }
            Self::File(file) => mount_file(place, file, config),
            Self::Device(_) | Self::DevicePath(_) => mount_device(place, &self.device(place)?, config),
            Self::InPlace => Ok(()),
        }
    }

    /// Makes sure that what is mounted at the pool's place is what should be.
    fn require_same(&self, place: &Place, top: BorrowedFd<'_>) -> Result<(), StorageError> {
        let mounted = btrfs::file_system_id(top).ok();
        let expected = match self {
            Self::Device(identity) => Some(*identity.as_bytes()),
            Self::File(path) | Self::DevicePath(path) => File::open(path).ok().and_then(|file| btrfs::superblock_id(file.as_fd()).ok()?),
            Self::Directory(path) => open_directory(path).ok().and_then(|directory| btrfs::file_system_id(directory.as_fd()).ok()),
            Self::InPlace => mounted,
        };
        if mounted.is_some() && mounted == expected {
            return Ok(());
        }
        Err(place.unavailable(format!("something else than {} is mounted at {}", self.source(place), place.path.display())))
    }
}

fn create_file(place: &Place, spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Backing, StorageError> {
    let file = file_path(spec);
    let failed = |cause| place.failed("making the file of", cause);
    let size = block::file_size(spec).map_err(failed)?;
    let mut undo = Undo::new(warn);
    LoopFile::new(file.clone()).create(size).map_err(failed)?;
    undo.push("removing the pool's file", || std::fs::remove_file(&file));
    format(place, &file, false)?;
    place.create_directory()?;
    undo.push("removing the pool's directory", || place.remove_directory());
    mount_file(place, &file, &spec.config)?;
    undo.push("unmounting the pool", || place.unmount());
    place.ensure_layout()?;
    if spec.config.get("size").is_none() {
        spec.config.set("size", format!("{}GiB", size.0 >> 30));
    }
    undo.keep();
    Ok(Backing::File(file))
}

fn create_on_device(place: &Place, spec: &PoolSpec, device: &Path, warn: &(dyn Fn(String) + Sync)) -> Result<Backing, StorageError> {
    block::refuse_size(spec)?;
    block::require_fit(device, LEAST_SIZE).map_err(|why| refused(place, device, why))?;
    let mut undo = Undo::new(warn);
    format(place, device, spec.config.flag("source.wipe", false))?;
    undo.push("clearing the device", || clear(device));
    let identity = File::open(device).and_then(|opened| btrfs::superblock_id(opened.as_fd()));
    let identity = identity.map_err(|cause| place.failed("looking at the device of", cause))?;
    let Some(identity) = identity.map(Uuid::from_bytes) else {
        return Err(refused(place, device, "no btrfs is found on it after formatting"));
    };
    place.create_directory()?;
    undo.push("removing the pool's directory", || place.remove_directory());
    mount_device(place, device, &spec.config)?;
    undo.push("unmounting the pool", || place.unmount());
    place.ensure_layout()?;
    undo.keep();
    Ok(Backing::Device(identity))
}

fn create_in_directory(place: &Place, spec: &PoolSpec, source: &Path, warn: &(dyn Fn(String) + Sync)) -> Result<Backing, StorageError> {
    block::refuse_size(spec)?;
    if source.starts_with(&spec.state_dir) {
        return Err(refused(place, source, "it is inside the server's state directory, where only the pool's own place may be the source"));
    }
    let failed = |cause| place.failed("making the subvolume of", cause);
    let mut undo = Undo::new(warn);
    let opened = if kind_of(source).is_some() {
        let opened = open_directory(source).map_err(failed)?;
        require_fit(place, source, opened.as_fd())?;
        opened
    } else {
        make_subvolume(place, source)?;
        undo.push("removing the pool's subvolume", || remove_subvolume(source));
        open_directory(source).map_err(failed)?
    };
    place.create_directory()?;
    undo.push("removing the pool's directory", || place.remove_directory());
    let top = place.top().map_err(|cause| place.failed("opening", cause))?;
    mounts::bind(opened.as_fd(), top.as_fd()).map_err(|cause| mount_failed(place, source, None, cause))?;
    drop(top);
    undo.push("unmounting the pool", || place.unmount());
    undo.push("emptying the pool", || place.remove_layout());
    place.ensure_layout()?;
    undo.keep();
    Ok(Backing::Directory(source.to_owned()))
}

fn create_in_place(place: &Place, warn: &(dyn Fn(String) + Sync)) -> Result<Backing, StorageError> {
    place.create_directory()?;
    place.remove_directory()?;
    let mut undo = Undo::new(warn);
    make_subvolume(place, &place.path)?;
    undo.push("removing the pool's subvolume", || remove_subvolume(&place.path));
    place.ensure_layout()?;
    undo.keep();
    Ok(Backing::InPlace)
}

/// Refuses a directory that is not empty, not on btrfs, or not root's.
fn require_fit(place: &Place, source: &Path, opened: BorrowedFd<'_>) -> Result<(), StorageError> {
    let failed = |cause| place.failed("looking at the source of", cause);
    if !btrfs::is_btrfs(opened).map_err(failed)? {
        return Err(refused(place, source, "it is not on a btrfs file system"));
    }
    let stat = rustix::fs::fstat(opened).map_err(|errno| failed(errno.into()))?;
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        return Err(refused(place, source, "it can be changed by others than root; give it to root (chown root:root, chmod go-w)"));
    }
    if !crate::place::names(opened).map_err(failed)?.is_empty() {
        return Err(refused(place, source, "it is not empty"));
    }
    Ok(())
}

fn make_subvolume(place: &Place, path: &Path) -> Result<(), StorageError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused(place, path, "it names no directory"));
    };
    let Ok(parent) = open_directory(parent) else {
        return Err(refused(place, path, "the directory it would be in does not exist"));
    };
    let failed = |cause| place.failed("making the subvolume of", cause);
    if !btrfs::is_btrfs(parent.as_fd()).map_err(failed)? {
        return Err(refused(place, path, "it is not on a btrfs file system"));
    }
    btrfs::create_subvolume(parent.as_fd(), name).map_err(failed)?;
    let mark = || -> io::Result<()> { Ok(rustix::fs::setxattr(path, MADE_FOR_POOL, b"1", XattrFlags::empty())?) };
    mark().map_err(failed)
}

fn is_marked(place: &Place) -> io::Result<bool> {
    let top = place.top()?;
    match rustix::fs::fgetxattr(&top, MADE_FOR_POOL, &mut [0u8; 8][..]) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn remove_subvolume(path: &Path) -> io::Result<()> {
    let opened = open_directory(path)?;
    if !btrfs::is_subvolume(opened.as_fd())? {
        return Ok(());
    }
    let id = btrfs::subvolume_id(opened.as_fd())?;
    drop(opened);
    let parent = open_directory(path.parent().unwrap_or(Path::new("/")))?;
    subvolume::destroy(parent.as_fd(), id)
}

/// Runs the one program of this driver: it makes the file system, with the pool's name as its label.
fn format(place: &Place, path: &Path, overwrite: bool) -> Result<(), StorageError> {
    let force = if overwrite { &["--force"][..] } else { &[] };
    let program = Program::new("mkfs.btrfs").args(force).arg("--label").arg(place.pool.as_str()).arg("--").arg(path);
    let formatted = program.deadline(FORMAT_DEADLINE).run();
    formatted.map(drop).map_err(|cause| StorageError::Format { pool: place.pool.clone(), source_path: path.to_owned(), cause })
}

fn mount_file(place: &Place, file: &Path, config: &Config) -> Result<(), StorageError> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open(file, flags, Mode::empty()).map_err(|errno| place.unavailable(format!("opening {}: {errno}", file.display())))?;
    let device = LoopDevice::attach(opened.as_fd()).map_err(|cause| place.failed("attaching a loop device for", cause))?;
    // From here on the mount holds the device; it comes off the file when the mount goes.
    mount_device(place, &device.path(), config)
}

fn mount_device(place: &Place, device: &Path, config: &Config) -> Result<(), StorageError> {
    let (options, attributes) = parsed_options(place, config)?;
    let top = place.top().map_err(|cause| place.failed("opening", cause))?;
    mounts::mount_device("btrfs", device, &options, attributes, top.as_fd())
        .map_err(|(cause, said)| mount_failed(place, device, said, cause))
}

fn parsed_options(place: &Place, config: &Config) -> Result<(Vec<mounts::MountOption>, rustix::mount::MountAttrFlags), StorageError> {
    let refuse = |why| StorageError::Value { pool: place.pool.clone(), key: "btrfs.mount_options", why };
    options::parse(config.get("btrfs.mount_options")).map_err(refuse)
}

/// Grows the file to a size, then the loop device, then the file system.
fn grow(place: &Place, file: &Path, size: Bytes) -> io::Result<()> {
    let opened = rustix::fs::open(file, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&opened)?;
    if size.0 <= stat.st_size as u64 {
        return Ok(());
    }
    let mounted = mounts::below(&place.path)?.into_iter().find(|(point, _)| *point == place.path);
    let number = mounted.and_then(|(_, device)| device.strip_prefix("/dev/loop")?.parse().ok());
    let device = LoopDevice::open(number.ok_or_else(|| io::Error::other("it is not mounted from a loop device"))?)?;
    if device.backing_file()?.1 != stat.st_ino {
        return Err(io::Error::other("it is mounted from a loop device on another file"));
    }
    rustix::fs::ftruncate(&opened, size.0)?;
    device.refresh_size()?;
    btrfs::grow(place.top()?.as_fd())
}

/// Takes the file system away from a device that was formatted for a pool.
fn clear(device: &Path) -> io::Result<()> {
    let opened = rustix::fs::open(device, OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty())?;
    let size = rustix::fs::seek(&opened, rustix::fs::SeekFrom::End(0))?;
    btrfs::clear_superblocks(opened.as_fd(), size)
}

/// Finds the block device that holds a file system: by udev's link if there is one, else by looking at all of them.
fn find_device(identity: Uuid) -> Option<PathBuf> {
    let holds = |path: &PathBuf| {
        let superblock = File::open(path).ok().and_then(|device| btrfs::superblock_id(device.as_fd()).ok()?);
        superblock == Some(*identity.as_bytes())
    };
    let link = PathBuf::from(format!("/dev/disk/by-uuid/{identity}"));
    if holds(&link) {
        return std::fs::canonicalize(link).ok();
    }
    let devices = std::fs::read_dir("/sys/class/block").ok()?;
    devices.filter_map(|entry| Some(Path::new("/dev").join(entry.ok()?.file_name()))).find(holds)
}

fn kind_of(path: &Path) -> Option<FileType> {
    rustix::fs::stat(path).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn refused(place: &Place, source: &Path, why: &'static str) -> StorageError {
    StorageError::Source { pool: place.pool.clone(), source_path: source.to_owned(), why }
}

fn mount_failed(place: &Place, source: &Path, said: Option<String>, cause: io::Error) -> StorageError {
    StorageError::Mount { pool: place.pool.clone(), source_path: source.to_owned(), said, cause }
}
