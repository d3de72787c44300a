//! Finding what a call names: by a process of its own that is, to the kernel, the caller.
//!
//! It is in the instance's user namespace, so that the caller's capabilities count for files of the instance and for no others.
//! Those inside see it in their process namespace, and cannot trace it: like the monitor that it is born of, it is not dumpable.
//! What it hands back are descriptors.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use coffer_runtime_spec::{Device, DeviceKind};
use coffer_sys::cred;
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::path::kind_of;
use coffer_sys::process::{self, CloneOptions};
use coffer_sys::socket::PacketSocket;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::SYS_ADMIN;
use crate::intercept::caller::{Caller, Rights, bit};
use crate::intercept::{Setting, place};

/// What a call names.
pub(super) struct Wanted {
    /// Where to mount.
    pub(super) target: CString,
    /// What to mount, if it is on a device.
    pub(super) device: Option<CString>,
    /// The device is to be written.
    pub(super) writable: bool,
}

/// What it is.
pub(super) struct Found<'a> {
    /// Where to mount, held open.
    pub(super) target: OwnedFd,
    /// The device among those of the instance.
    pub(super) device: Option<&'a Device>,
}

/// What a walker says when it has found all: the position of the device, or that there is none.
const NO_DEVICE: u32 = u32::MAX;

/// Finds what is wanted, as the caller would.
pub(super) fn find<'a>(setting: &Setting<'a>, caller: &Caller, rights: &Rights, wanted: &Wanted) -> io::Result<Found<'a>> {
    let (ours, theirs) = PacketSocket::pair()?;
    let child = process::clone(CloneOptions::default(), || {
        let said = match process::die_with_parent().and_then(|()| walk(setting, caller, rights, wanted)) {
            Ok((target, device)) => theirs.send(&[&0_i32.to_ne_bytes(), &device.to_ne_bytes()], &[target.as_fd()]),
            Err(error) => theirs.send(&[&errno(&error).to_ne_bytes(), &NO_DEVICE.to_ne_bytes()], &[]),
        };
        u8::from(said.is_err())
    })?;
    drop(theirs);
    let packet = ours.receive(8);
    let _ = process::wait(child.pidfd.as_fd());
    let packet = packet?.ok_or(Errno::IO)?;
    let (error, device) = packet.bytes.split_first_chunk::<4>().ok_or(Errno::IO)?;
    let device = device.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Errno::IO)?;
    match (i32::from_ne_bytes(*error), packet.fds.into_iter().next()) {
        (0, Some(target)) => Ok(Found { target, device: setting.spec.devices.get(device as usize) }),
        (0, None) => Err(Errno::IO.into()),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())
}

/// Walks; the process is the caller's equal from here on, and ends.
fn walk(setting: &Setting<'_>, caller: &Caller, rights: &Rights, wanted: &Wanted) -> io::Result<(OwnedFd, u32)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let own = rustix::fs::open("/proc/self/fd", flags | OFlags::CLOEXEC, Mode::empty())?;
    let (root, directory) = (caller.file("root", flags)?, caller.file("cwd", flags)?);
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    rustix::process::fchdir(&directory)?;
    cred::walk_as(rights.uid, rights.gid, &rights.groups, bit(SYS_ADMIN))?;
    ns::join(setting.userns.as_fd(), Namespaces::USER)?;
    cred::put_in_force(rights.capabilities & (bit(place::DAC_OVERRIDE) | bit(place::DAC_READ_SEARCH)))?;
    let target = place::open(wanted.target.as_c_str(), OFlags::PATH | OFlags::DIRECTORY)?;
    let Some(path) = &wanted.device else { return Ok((target, NO_DEVICE)) };
    let handle = place::open(path.as_c_str(), OFlags::PATH)?;
    let position = position(&setting.spec.devices, &handle)?;
    // Opened once for all that the kernel has to say to it: who may, and whether nodes count where it is.
    let access = if wanted.writable { OFlags::RDWR } else { OFlags::RDONLY };
    openat(&own, handle.as_raw_fd().to_string(), access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    Ok((target, position))
}

/// Where a node's device is among those that the instance was given, which alone may be mounted.
fn position(devices: &[Device], node: &OwnedFd) -> io::Result<u32> {
    let stat = fstat(node)?;
    if kind_of(&stat) != FileType::BlockDevice {
        return Err(Errno::NOTBLK.into());
    }
    let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let is_it = |device: &Device| device.kind == DeviceKind::Block && (device.major, device.minor) == numbers;
    let position = devices.iter().position(is_it).ok_or(Errno::PERM)?;
    u32::try_from(position).map_err(|_| Errno::PERM.into())
}
