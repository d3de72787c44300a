//! Joining a running instance: commands, and changes that must be made from inside.

mod exec;
mod hotplug;

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{IdMap, Spec, Stage};
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::process::{self, Child, CloneOptions};
use rustix::io::Errno;

use crate::cgroup::Group;
use crate::failed::{At, Failed};
use crate::init;

pub(crate) use exec::{Standard, exec};
pub(crate) use hotplug::{attach_mount, detach_mount};

/// What it takes to join an instance.
#[derive(Debug)]
pub(crate) struct Door {
    /// Init.
    pub(crate) pidfd: OwnedFd,
    /// Files to write `0` to, to join the version 1 control groups.
    pub(crate) tasks: Vec<OwnedFd>,
    /// A `/proc` of the instance that nobody inside can put anything over.
    pub(crate) proc: OwnedFd,
    /// The instance's root directory.
    pub(crate) root: OwnedFd,
    /// The seccomp filter.
    pub(crate) filter: init::Filter,
}

impl Door {
    /// Joins control groups and all namespaces. Called in a child that was born in the process namespace.
    pub(crate) fn enter(&self, spec: &Spec) -> Result<(), Failed> {
        self.join_groups()?;
        let most = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::NET | Namespaces::CGROUP;
        let namespaces = match spec.idmap {
            IdMap::Privileged => most,
            IdMap::Mapped { .. } => most | Namespaces::USER,
        };
        let namespaces = if spec.time.is_some() { namespaces | Namespaces::TIME } else { namespaces };
        // One call for all: the kernel takes the user namespace first and changes all or nothing.
        ns::join(self.pidfd.as_fd(), namespaces).at(Stage::Join, || "joining".into())
    }

    /// Joins the control groups that a process is not born in.
    pub(crate) fn join_groups(&self) -> Result<(), Failed> {
        for tasks in &self.tasks {
            rustix::io::write(tasks, b"0").at(Stage::JoinCgroup, || "joining a control group".into())?;
        }
        Ok(())
    }
}

/// Makes a child that is born in the instance's version 2 control group, or in a leaf of ours where that may hold no process.
///
/// # Errors
/// Those of [`process::clone`], and of making the leaf.
pub(crate) fn clone_inside(group: &Group, work: impl Fn() -> u8) -> io::Result<Child> {
    let cgroup = group.unified().map(|member| member.dir.as_fd());
    match process::clone(CloneOptions { cgroup, ..CloneOptions::default() }, &work) {
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
            let leaf = group.exec_leaf()?;
            process::clone(CloneOptions { cgroup: leaf.as_ref().map(AsFd::as_fd), ..CloneOptions::default() }, &work)
        }
        other => other,
    }
}

/// Runs a child's work; what failed is written to `status` as a refusal, which is closed by an exec.
pub(crate) fn report(status: &OwnedFd, work: impl FnOnce() -> Result<Infallible, Failed>) -> u8 {
    let Err(failed) = work();
    let text = serde_json::to_vec(&failed.refusal()).unwrap_or_default();
    let _ = rustix::io::write(status, &text);
    127
}
