//! Locking the server in before it looks at the first file.
//!
//! ```text
//!  coffer-files            its child, in new process, network, IPC, UTS and cgroup namespaces
//!  (host's root)
//!      | clone ------------> waits at the gate
//!      | running: opens it   joins the instance's user and mount namespaces by its init's pidfd
//!      | stopped: maps ids,  (it was born in a user and a mount namespace of its own)
//!      | copies the mount    makes the copy its root
//!      v                     becomes uid 0 inside, lowers its limits, drops capabilities, filters its calls, says "ready"
//!   waits for its end        serves
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_sys::cred;
use coffer_sys::mount::{self, Change, Restrictions};
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::path::Root;
use coffer_sys::process::{Child, CloneOptions, clone, die_with_parent, set_dumpable};
use coffer_sys::socket::PacketSocket;
use rustix::fs::{Mode, OFlags};

use super::{Failure, calls, serve};
use crate::order::{Confinement, IdRange, Line, MAPPING, Order};

/// Capabilities that other people's files take: CHOWN, DAC_OVERRIDE, FOWNER, FSETID.
const CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4;

/// Its limits. The address space holds the buffers and stacks of as many connections as there may be.
const LIMITS: [(&str, u64); 4] = [("as", 2 << 30), ("core", 0), ("nofile", 4096), ("memlock", 0)];

/// Starts the process that serves. It says that it is ready, or what failed, on `control`.
pub(super) fn start(order: Order, descriptor: OwnedFd, control: &PacketSocket) -> Result<Child, Failure> {
    let (gate, inner) = PacketSocket::pair().map_err(Failure::of("making its gate"))?;
    let child = clone(CloneOptions { namespaces: apart(order), ..CloneOptions::default() }, || {
        let locked = let_in(&inner).and_then(|root| lock(order, root));
        let line = match &locked {
            Ok((_, confinement)) => Line::Ready(*confinement),
            Err(failure) => failure.line(),
        };
        let told = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|text| control.send(&[&text], &[]));
        match (locked, told) {
            (Ok((root, _)), Ok(())) => serve::serve(control, &root),
            _ => 1,
        }
    });
    let child = child.map_err(Failure::of("making its process"))?;
    let root = match order {
        Order::Running { .. } => Ok(descriptor),
        Order::Stopped { ids, idmapped } => own_root(child.pid, descriptor.as_fd(), ids, idmapped),
    };
    let opened = root.and_then(|root| gate.send(&[b"go"], &[root.as_fd()]).map_err(Failure::of("letting it begin")));
    if let Err(failure) = opened {
        // It waits for its gate, so nothing of it is seen by anybody.
        let _ = coffer_sys::process::signal(child.pidfd.as_fd(), libc::SIGKILL);
        let _ = coffer_sys::process::wait(child.pidfd.as_fd());
        return Err(failure);
    }
    Ok(child)
}

/// What it is cut off from from its birth.
fn apart(order: Order) -> Namespaces {
    let always = Namespaces::PID | Namespaces::NET | Namespaces::IPC | Namespaces::UTS | Namespaces::CGROUP;
    match order {
        Order::Running { .. } => always,
        Order::Stopped { ids: None, .. } => always | Namespaces::MOUNT,
        Order::Stopped { ids: Some(_), .. } => always | Namespaces::MOUNT | Namespaces::USER,
    }
}

/// A stopped instance's root as a mount of its own, with the ids that the child has.
fn own_root(pid: u32, root: BorrowedFd<'_>, ids: Option<IdRange>, idmapped: bool) -> Result<OwnedFd, Failure> {
    let root = mount::copy(root, false).map_err(Failure::of("copying the volume's mount"))?;
    let mut change = Change { restrict: Restrictions::NO_EFFECTS, ..Change::default() };
    let Some(ids) = ids else {
        mount::change(root.as_fd(), change).map_err(Failure::of("restricting the volume's mount"))?;
        return Ok(root);
    };
    for map in ["uid_map", "gid_map"] {
        let text = format!("0 {} {}", ids.host, ids.count);
        std::fs::write(format!("/proc/{pid}/{map}"), text).map_err(Failure::of("mapping its ids"))?;
    }
    let namespace = rustix::fs::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.map_err(Failure::of("opening its user namespace"))?;
    change.idmap = idmapped.then_some(namespace.as_fd());
    mount::change(root.as_fd(), change).map_err(Failure::of(MAPPING))?;
    Ok(root)
}

/// Waits at the gate for what it is to enter.
fn let_in(gate: &PacketSocket) -> Result<OwnedFd, Failure> {
    let packet = gate.receive(16).map_err(Failure::of("waiting to begin"))?;
    let descriptor = packet.and_then(|packet| packet.fds.into_iter().next());
    descriptor.ok_or_else(|| Failure { step: "waiting to begin", cause: io::Error::from_raw_os_error(libc::ECANCELED) })
}

/// Locks the calling process in, in this order: where it is, who it is, what it may use, what it may call.
fn lock(order: Order, entered: OwnedFd) -> Result<(Root, Confinement), Failure> {
    let mapped = match order {
        Order::Running { mapped } => {
            let namespaces = if mapped { Namespaces::MOUNT | Namespaces::USER } else { Namespaces::MOUNT };
            // One call for both, by the process itself: nothing in the instance is looked up, and nothing there can be in between.
            ns::join(entered.as_fd(), namespaces).map_err(Failure::of("joining the instance"))?;
            mapped
        }
        Order::Stopped { ids, .. } => {
            // Without ids before the others: a mount is moved by whoever owns the mount namespace.
            cred::become_user(0, 0, &[]).map_err(Failure::of("becoming its root"))?;
            mount::move_in(entered.as_fd()).map_err(Failure::of("entering its root"))?;
            ids.is_some()
        }
    };
    drop(entered);
    cred::become_user(0, 0, &[]).map_err(Failure::of("becoming its root"))?;
    die_with_parent().map_err(Failure::of("tying it to its parent"))?;
    set_dumpable(false).map_err(Failure::of("hiding it"))?;
    let root = Root::open("/").map_err(Failure::of("opening its root"))?;
    cred::lower_limits(&LIMITS).map_err(Failure::of("setting its limits"))?;
    cred::restrict_capabilities(!CAPABILITIES).map_err(Failure::of("dropping its capabilities"))?;
    cred::set_no_new_privs().map_err(Failure::of("forbidding new rights"))?;
    calls::confine().map_err(Failure::of("filtering its system calls"))?;
    Ok((root, if mapped { Confinement::Unprivileged } else { Confinement::Privileged }))
}
