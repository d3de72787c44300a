//! Whether a block device may become a pool.

use std::path::Path;

use coffer_base::Bytes;
use rustix::fs::{Mode, OFlags, SeekFrom};

/// Refuses a device that is in use, cannot be opened, or is smaller than a pool needs.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn require_fit(device: &Path, least: Bytes) -> Result<(), &'static str> {
    // An exclusive open fails while the device is mounted, or belongs to another driver of the kernel.
    let exclusive = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(device, exclusive, Mode::empty()).and_then(|opened| rustix::fs::seek(&opened, SeekFrom::End(0))) {
        Ok(size) if size < least.0 => Err("the device is smaller than a pool of this driver needs"),
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::BUSY) => Err("the device is in use"),
        Err(_) => Err("the device cannot be opened"),
    }
}
