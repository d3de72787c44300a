//! Making of directories that somebody else's format filled, which the kernel itself read, what volumes may be: nothing stays in them
//! that an archive could not have put there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, major, minor, statat};
use rustix::io::Errno;

use super::confine::Sight;
use super::devices::{Device, MAX_DEVICES};
use super::entry::Numbers;
use super::failure::Failure;
use super::order::{Confinement, Line, Unpacked};
use super::report::Reporter;
use super::send::{DEEPEST, Target, directory, entry, failed, names, unlink_keeping_times};
use super::worker::Job;
use crate::backup::{Form, Planned};
use crate::pack::read_plan;

/// Directories to look through.
pub(super) struct SettleJob {
    plan: OwnedFd,
    directories: Vec<OwnedFd>,
}

impl SettleJob {
    /// Takes the plan (what each of the directories is to be) and the directories.
    pub(super) fn new(mut files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        Some(Self { plan: files.next()?, directories: files.collect() })
    }
}

impl Job for SettleJob {
    fn sight(&self) -> Sight<'_> {
        Sight { directories: &self.directories, ..Sight::default() }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.plan.as_fd()]
    }

    fn work(&self, reporter: &Reporter, confinement: Confinement, directories: Vec<OwnedFd>) -> Result<Line, Failure> {
        let plan: Vec<Planned> = read_plan(self.plan.as_fd()).map_err(|error| Failure::confine("reading the plan", error))?;
        let mut unpacked = Unpacked { confinement, ..Unpacked::default() };
        for (number, (planned, directory)) in plan.into_iter().zip(directories).enumerate() {
            for mut device in settle(&directory, planned.form, &mut unpacked)? {
                device.volume = number;
                reporter.device(device)?;
            }
        }
        Ok(Line::Unpacked(unpacked))
    }
}

/// Takes out of a volume what does not belong there; answers the nodes that were in it.
fn settle(top: &OwnedFd, form: Form, unpacked: &mut Unpacked) -> Result<Vec<Device>, Failure> {
    let target = Target::new(top)?;
    let mut nodes = Nodes { found: Vec::new(), skipped: 0 };
    nodes.take(target.top(), &mut Vec::new(), 0).map_err(|errno| failed("looking through", b"/", errno))?;
    target.finish(form, unpacked)?;
    let inside = |device: Device| match form {
        // What stands beside the root file system is not its.
        Form::Instance => device.below(b"rootfs"),
        Form::Files | Form::Disk => Some(device),
    };
    let count = nodes.found.len() as u64;
    let kept: Vec<Device> = nodes.found.into_iter().filter_map(inside).collect();
    unpacked.skipped_devices += nodes.skipped + count - kept.len() as u64;
    Ok(kept)
}

/// Device nodes, sockets and pipes that were taken away.
struct Nodes {
    found: Vec<Device>,
    skipped: u64,
}

impl Nodes {
    fn take(&mut self, above: BorrowedFd<'_>, path: &mut Vec<u8>, depth: usize) -> Result<(), Errno> {
        if depth > DEEPEST {
            return Err(Errno::NAMETOOLONG);
        }
        for name in names(above)? {
            let stat = statat(above, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let kind = FileType::from_raw_mode(stat.st_mode);
            match kind {
                FileType::Directory => self.take(directory(above, &name)?.as_fd(), path, depth + 1)?,
                FileType::CharacterDevice | FileType::BlockDevice => {
                    unlink_keeping_times(above, &name)?;
                    let character = kind == FileType::CharacterDevice;
                    let numbers = Numbers { character, major: major(stat.st_rdev), minor: minor(stat.st_rdev) };
                    if self.found.len() < MAX_DEVICES {
                        self.found.push(Device::of(&entry(path, &stat), numbers));
                    } else {
                        self.skipped += 1;
                    }
                }
                FileType::Socket => {
                    unlink_keeping_times(above, &name)?;
                    self.skipped += 1;
                }
                FileType::RegularFile | FileType::Symlink | FileType::Fifo | FileType::Unknown => {}
            }
            path.truncate(length);
        }
        Ok(())
    }
}
