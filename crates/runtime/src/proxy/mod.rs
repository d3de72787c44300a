//! A process that hands connections on: one for each proxy, a child of the monitor that does nothing else.
//!
//! It listens on one side, then leaves that side for good: it enters the other one, becomes the user that connects, and
//! gives up every right. What it holds of the first side is the sockets. It ends when its leash does, which the monitor
//! holds, so it outlives the daemon and never the instance.
//!
//! ```text
//!  bind=host:      listen here ───────────────▶ enter the instance, become a user of it ──▶ forward
//!  bind=instance:  a child listens inside, ──▶  stay here, become a user of the host ─────▶ forward
//!                  sends the sockets, ends
//! ```

mod datagrams;
mod forward;
mod header;
mod listen;
mod streams;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::{Proxy, Side, Spec, Stage};
use coffer_sys::process::{self, CloneOptions};
use coffer_sys::socket::PacketSocket;
use coffer_sys::{cred, process as sys_process};

use crate::attach::Door;
use crate::failed::{At, Failed};
use crate::parent::borrow;

pub(crate) use listen::remove_stale;

/// What is said through the pipe when the proxy works.
pub(crate) const READY: &[u8] = b"ready";

/// Runs the proxy, in a child of the monitor; returns when the leash has ended or it cannot go on.
pub(crate) fn run(door: &Door, spec: &Spec, proxy: &Proxy, status: &OwnedFd, leash: &OwnedFd) -> u8 {
    let _ = sys_process::set_name(c"coffer-proxy");
    match set_up(door, spec, proxy, status, leash) {
        Ok(forwarder) => match rustix::io::write(status, READY) {
            Ok(_) => forward::run(forwarder),
            // The monitor is gone.
            Err(_) => 1,
        },
        Err(error) => {
            let _ = rustix::io::write(status, &serde_json::to_vec(&error.refusal()).unwrap_or_default());
            1
        }
    }
}

fn set_up<'a>(door: &Door, spec: &Spec, proxy: &Proxy, status: &OwnedFd, leash: &'a OwnedFd) -> Result<forward::Forwarder<'a>, Failed> {
    let stage = Stage::Proxy;
    // Nobody inside may look into a process that holds sockets of the host, whoever it becomes.
    sys_process::set_dumpable(false).at(stage, || "forbidding to be traced".into())?;
    raise_limit();
    let sockets = match proxy.bind {
        Side::Host => {
            let sockets = listen::open_all(proxy)?;
            door.enter(spec)?;
            sockets
        }
        Side::Instance => listen_inside(door, spec, proxy)?,
    };
    cred::become_user(proxy.uid, proxy.gid, &[]).at(stage, || format!("becoming user {} and group {}", proxy.uid, proxy.gid))?;
    cred::restrict_capabilities(u64::MAX).at(stage, || "giving up all rights".into())?;
    cred::set_no_new_privs().at(stage, || "giving up all rights".into())?;
    sys_process::set_dumpable(false).at(stage, || "forbidding to be traced".into())?;
    close_others(&sockets, status, leash).at(stage, || "closing what is the monitor's".into())?;
    if proxy.bind == Side::Host {
        door.filter.install_unheard()?;
    }
    forward::Forwarder::new(proxy, sockets, leash.as_fd()).at(stage, || "waiting for connections".into())
}

/// Has a child enter the instance, listen there and send the sockets.
fn listen_inside(door: &Door, spec: &Spec, proxy: &Proxy) -> Result<Vec<OwnedFd>, Failed> {
    let stage = Stage::Proxy;
    let (ours, theirs) = PacketSocket::pair().at(stage, || "making a socket pair".into())?;
    let child = process::clone(CloneOptions::default(), || {
        let listened = door.enter(spec).and_then(|()| {
            cred::become_user(0, 0, &[]).at(stage, || "becoming root inside".into())?;
            listen::open_all(proxy)
        });
        match listened {
            // As many at a time as the kernel sends.
            Ok(sockets) => sockets.chunks(MOST_SENT).any(|some| theirs.send(&[READY], &borrow(some)).is_err()).into(),
            Err(error) => {
                let _ = theirs.send(&[&serde_json::to_vec(&error.refusal()).unwrap_or_default()], &[]);
                1
            }
        }
    });
    let child = child.at(stage, || "making a process".into())?;
    drop(theirs);
    let mut sockets = Vec::new();
    while sockets.len() < proxy.listen.len() {
        let packet = ours.receive(64 << 10).at(stage, || "waiting for the sockets".into())?;
        match packet {
            Some(packet) if packet.bytes == READY => sockets.extend(packet.fds),
            Some(packet) => {
                let told: Option<coffer_runtime_spec::Refusal> = serde_json::from_slice(&packet.bytes).ok();
                let failed = told.map(|it| Failed { stage: it.stage.unwrap_or(stage), errno: it.errno, text: it.text });
                return Err(failed.unwrap_or_else(|| Failed::new(stage, "the process inside said nothing sensible")));
            }
            None => return Err(Failed::new(stage, "the process that listens inside ended early")),
        }
    }
    let _ = process::wait(child.pidfd.as_fd());
    Ok(sockets)
}

/// Descriptors in one message. Source: unix(7), `SCM_MAX_FD` is 253.
const MOST_SENT: usize = 200;

/// Closes everything of the monitor's: a child has copies of all its descriptors.
fn close_others(sockets: &[OwnedFd], status: &OwnedFd, leash: &OwnedFd) -> std::io::Result<()> {
    let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let kept: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).chain([status.as_fd(), leash.as_fd()]).chain(standard).collect();
    sys_process::close_all_but(&kept)
}

/// Allows as many descriptors as may be.
fn raise_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let _ = cred::set_limit(rustix::process::Resource::Nofile, limit.maximum, limit.maximum);
}
