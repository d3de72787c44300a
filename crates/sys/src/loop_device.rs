//! Loop devices: files that look like block devices. Source: loop(4).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

const CONFIGURE: libc::c_ulong = 0x4C0A;
const CLEAR: libc::c_ulong = 0x4C01;
const GET_STATUS: libc::c_ulong = 0x4C05;
const SET_CAPACITY: libc::c_ulong = 0x4C07;
const CONTROL_GET_FREE: libc::c_ulong = 0x4C82;

const FLAG_AUTOCLEAR: u32 = 4;
const FLAG_DIRECT_IO: u32 = 16;

/// How often a device that somebody else took between asking and taking is asked for again.
const ATTEMPTS: usize = 64;

/// A loop device that is attached to a file.
///
/// The kernel takes it apart when the last user is gone: this descriptor, and the mount made from it.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    number: u32,
}

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);

impl LoopDevice {
    /// Attaches a free loop device to a file that is open for reading and writing.
    ///
    /// Uses direct I/O where the file's file system can, so that nothing is cached twice.
    ///
    /// # Errors
    /// `ENOENT` if the kernel has no loop devices, `EPERM` without CAP_SYS_ADMIN, `EBUSY` if none could be had.
    ///
    /// Source: LOOP_CTL_GET_FREE, LOOP_CONFIGURE; Linux 5.8.
    pub fn attach(file: BorrowedFd<'_>) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), CONTROL_GET_FREE as _) };
            let number = u32::try_from(number).map_err(|_| io::Error::last_os_error())?;
            let device = OpenOptions::new().read(true).write(true).open(path(number))?;
            match configure(&device, file) {
                Ok(()) => return Ok(Self { device, number }),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Opens the loop device behind a mounted file system or a path like `/dev/loop3`.
    ///
    /// # Errors
    /// `ENOENT` if there is no such device, `ENXIO` if it is attached to nothing.
    pub fn open(number: u32) -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(path(number))?;
        let opened = Self { device, number };
        opened.info()?;
        Ok(opened)
    }

    /// The device's path: `/dev/loopN`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path(self.number)
    }

    /// The device number and the inode of the file that is behind the device.
    ///
    /// # Errors
    /// `ENXIO` if it is attached to nothing.
    ///
    /// Source: LOOP_GET_STATUS64.
    pub fn backing_file(&self) -> io::Result<(u64, u64)> {
        self.info().map(|info| (info.device, info.inode))
    }

    /// Tells the device that its file has another size now.
    ///
    /// # Errors
    /// `ENXIO` if it is attached to nothing.
    ///
    /// Source: LOOP_SET_CAPACITY.
    pub fn refresh_size(&self) -> io::Result<()> {
        // SAFETY: LOOP_SET_CAPACITY takes no argument.
        let result = unsafe { libc::ioctl(self.device.as_raw_fd(), SET_CAPACITY as _) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes the device off its file as soon as nobody else uses it.
    ///
    /// # Errors
    /// `ENXIO` if it is attached to nothing.
    ///
    /// Source: LOOP_CLR_FD.
    pub fn detach(self) -> io::Result<()> {
        // SAFETY: LOOP_CLR_FD takes no argument.
        let result = unsafe { libc::ioctl(self.device.as_raw_fd(), CLEAR as _) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn info(&self) -> io::Result<LoopInfo> {
        let mut info = blank();
        // SAFETY: LOOP_GET_STATUS64 writes one loop_info64, which `info` is.
        let result = unsafe { libc::ioctl(self.device.as_raw_fd(), GET_STATUS as _, &mut info) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
    }
}

fn configure(device: &File, file: BorrowedFd<'_>) -> io::Result<()> {
    match configure_with(device, file, FLAG_AUTOCLEAR | FLAG_DIRECT_IO) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => configure_with(device, file, FLAG_AUTOCLEAR),
        other => other,
    }
}

fn configure_with(device: &File, file: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let config = LoopConfig { fd, block_size: 0, info: LoopInfo { flags, ..blank() }, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one loop_config, which `config` is; its descriptor is borrowed for the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE as _, &config) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn path(number: u32) -> PathBuf {
    format!("/dev/loop{number}").into()
}

fn blank() -> LoopInfo {
    LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    }
}
