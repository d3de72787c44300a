//! A file that the server makes for a pool to stand on, seen as a block device.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use coffer_base::Bytes;
use coffer_sys::loop_device::LoopDevice;
use rustix::fs::{IFlags, Mode, OFlags};

use crate::error::StorageError;
use crate::pool::PoolSpec;

/// A pool's file, and the loop device that is attached to it while the pool is open.
#[derive(Debug)]
pub(crate) struct LoopFile {
    path: PathBuf,
    /// Held because nothing else holds it while no volume is in use.
    device: Mutex<Option<LoopDevice>>,
}

impl LoopFile {
    /// Names a file that is not attached.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, device: Mutex::new(None) }
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file, readable by root only.
    pub(crate) fn create(&self, size: Bytes) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&self.path, flags, Mode::RUSR | Mode::WUSR)?;
        // On a btrfs host two layers of copy-on-write would only cost; elsewhere the flag does not exist.
        if let Ok(flags) = rustix::fs::ioctl_getflags(&opened) {
            let _ = rustix::fs::ioctl_setflags(&opened, flags | IFlags::NOCOW);
        }
        Ok(rustix::fs::ftruncate(&opened, size.0)?)
    }

    /// Attaches a loop device to the file, or finds the one that is attached, and says where it is.
    pub(crate) fn attach(&self) -> io::Result<PathBuf> {
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = device.as_ref() {
            return Ok(device.path());
        }
        let opened = rustix::fs::open(&self.path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&opened)?;
        let attached = match find(stat.st_dev, stat.st_ino)? {
            Some(found) => found,
            None => LoopDevice::attach(opened.as_fd())?,
        };
        let path = attached.path();
        *device = Some(attached);
        Ok(path)
    }

    /// Lets go of the device: the kernel takes it apart once nothing else uses it.
    pub(crate) fn release(&self) {
        self.device.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Grows the file and its device to a size; says whether anything changed.
    pub(crate) fn grow(&self, size: Bytes) -> io::Result<bool> {
        self.attach()?;
        if !self.lengthen(size)? {
            return Ok(false);
        }
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        device.as_ref().map_or(Ok(()), LoopDevice::refresh_size)?;
        Ok(true)
    }

    /// Grows the file alone, for who needs no device; says whether anything changed.
    pub(crate) fn lengthen(&self, size: Bytes) -> io::Result<bool> {
        let opened = rustix::fs::open(&self.path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if size.0 <= rustix::fs::fstat(&opened)?.st_size as u64 {
            return Ok(false);
        }
        rustix::fs::ftruncate(&opened, size.0)?;
        Ok(true)
    }

    /// Removes the file; it may be gone already.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.release();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Where a pool's file stands.
pub(crate) fn file_path(spec: &PoolSpec) -> PathBuf {
    spec.state_dir.join("disks").join(format!("{}.img", spec.name))
}

/// Writes down where a pool that was just made is: `made` where a source was given, else the file and its size.
pub(crate) fn write_down_source(spec: &mut PoolSpec, made: &str) {
    if let Some(source) = spec.config.get("source").map(str::to_owned) {
        spec.config.set("volatile.initial_source", source);
        spec.config.set("source", made);
    } else {
        let file = file_path(spec);
        if spec.config.get("size").is_none()
            && let Ok(size) = std::fs::metadata(&file)
        {
            spec.config.set("size", format!("{}GiB", size.len() >> 30));
        }
        spec.config.set("source", file.to_string_lossy());
    }
    // It has done its work; nobody should wipe a device because of a line that stayed behind.
    spec.config.unset("source.wipe");
}

/// The size that a pool's file is to have: what the configuration says, else a fifth of what is free beside it, at least 5
/// and at most 30 GiB, in whole GiB. Makes the directory of such files.
pub(crate) fn file_size(spec: &PoolSpec) -> io::Result<Bytes> {
    let disks = spec.state_dir.join("disks");
    std::fs::create_dir_all(&disks)?;
    rustix::fs::chmod(&disks, Mode::RWXU)?;
    if let Some(size) = spec.config.parse("size") {
        return Ok(size);
    }
    let stat = rustix::fs::statvfs(&disks)?;
    Ok(Bytes(((stat.f_bavail * stat.f_frsize / 5) >> 30).clamp(5, 30) << 30))
}

/// Refuses a size for a pool that stands on something else than a file of ours.
pub(crate) fn refuse_size(spec: &PoolSpec) -> Result<(), StorageError> {
    if spec.config.get("size").is_some() {
        let why = "it cannot be given together with a source".into();
        return Err(StorageError::Value { pool: spec.name.clone(), key: "size", why });
    }
    Ok(())
}

/// The loop device that is attached to a file, if there is one.
fn find(device: u64, inode: u64) -> io::Result<Option<LoopDevice>> {
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().strip_prefix("loop").and_then(|number| number.parse().ok());
        let (Some(number), true) = (number, entry.path().join("loop/backing_file").exists()) else { continue };
        if let Ok(found) = LoopDevice::open(number)
            && found.backing_file().is_ok_and(|(on, file)| (on, file) == (device, inode))
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::DriverKind;
    use coffer_model::Config;

    #[track_caller]
    fn check(keys: &[(&str, &str)], expect: &[(&str, &str)]) {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("disks")).unwrap();
        std::fs::File::create(state.path().join("disks/pool.img")).unwrap().set_len(3 << 30).unwrap();
        let mut config = Config::default();
        keys.iter().copied().for_each(|(key, value)| config.set(key, value));
        let mut spec = PoolSpec { name: "pool".parse().unwrap(), driver: DriverKind::Lvm, config, state_dir: state.path().into() };
        write_down_source(&mut spec, "made");
        let file = file_path(&spec).display().to_string();
        for key in ["source", "size", "volatile.initial_source", "source.wipe"] {
            let expected = expect.iter().find(|(name, _)| *name == key).map(|(_, value)| value.replace("FILE", &file));
            assert_eq!(spec.config.get(key), expected.as_deref(), "{key}");
        }
    }

    #[test]
    fn where_a_pool_is_is_written_down() {
        check(&[("source", "/dev/x"), ("source.wipe", "true")], &[("source", "made"), ("volatile.initial_source", "/dev/x")]);
        check(&[], &[("source", "FILE"), ("size", "3GiB")]);
        check(&[("size", "2GiB")], &[("source", "FILE"), ("size", "2GiB")]);
    }
}
