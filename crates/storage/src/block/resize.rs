//! Changing the size of a file system to go with its device's.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use coffer_base::Bytes;
use coffer_base::run::{Program, RunError};

use super::{DEADLINE, FileSystem};
use crate::mounted::Fault;

/// Lets a mounted file system fill its device, which has grown.
pub(crate) fn grow(kind: FileSystem, device: &Path, mount: &Path, directory: BorrowedFd<'_>) -> Result<(), Fault> {
    match kind {
        FileSystem::Ext4 => run(Program::new("resize2fs").arg(device)),
        FileSystem::Xfs => run(Program::new("xfs_growfs").arg("-d").arg(mount)),
        FileSystem::Btrfs => Ok(coffer_sys::btrfs::grow(directory)?),
    }
}

/// Makes a file system that is mounted nowhere smaller, so that its device can follow.
pub(crate) fn shrink(kind: FileSystem, device: &Path, size: Bytes) -> Result<(), Fault> {
    match kind {
        FileSystem::Ext4 => {
            check(device)?;
            let shrunk = Program::new("resize2fs").arg(device).arg(format!("{}K", size.0 >> 10)).deadline(DEADLINE).run();
            shrunk.map(drop).map_err(|error| match error {
                RunError::Failed { stderr, .. } if stderr.contains("smaller than minimum") => {
                    Fault::Refused(format!("what it holds does not fit into {size}"))
                }
                other => Fault::Tool(other),
            })
        }
        FileSystem::Xfs => Err(Fault::Refused("xfs cannot be made smaller".into())),
        FileSystem::Btrfs => Err(Fault::Refused("making btrfs on a block device smaller is not supported: copy the volume".into())),
    }
}

/// Checks an ext4, which must be done before it is made smaller.
fn check(device: &Path) -> Result<(), Fault> {
    match Program::new("e2fsck").args(["-f", "-p"]).arg(device).deadline(DEADLINE).run() {
        // Status 1 says that something was put right.
        Err(RunError::Failed { status, .. }) if status == "status 1" => Ok(()),
        other => other.map(drop).map_err(Fault::Tool),
    }
}

fn run(program: Program) -> Result<(), Fault> {
    program.deadline(DEADLINE).run().map(drop).map_err(Fault::Tool)
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        Self::Kernel(cause)
    }
}
