//! Inside: what the child does between its birth and becoming init. One file a stage, called in order by [`run`].

mod capabilities;
mod cgroup_view;
mod console;
mod dev;
mod exec;
mod hostname;
mod identity;
mod join_cgroup;
mod keyring;
mod label;
mod masks;
mod mounts;
mod network;
mod oom;
mod pivot;
mod proc;
mod reaper;
mod rlimits;
mod root;
mod seccomp;
mod sys;
mod sysctl;
mod time;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Spec, Stage};
use coffer_sys::path::Root;
use coffer_sys::socket::PacketSocket;

use crate::failed::{At, Failed};
use crate::parent::Plan;

pub(crate) use capabilities::{drop_capabilities, drop_capabilities_beside};
pub(crate) use exec::{PATH, Program, enter};
pub(crate) use keyring::new_keyring;
pub(crate) use label::set_label;
pub(crate) use mounts::attach_mount;
pub(crate) use oom::{set as set_oom_score, set_of as set_oom_score_of};
pub(crate) use rlimits::{set as set_rlimits, set_of as set_rlimits_of};
pub(crate) use seccomp::Filter;

/// What the two processes say to each other, one packet each.
pub(crate) mod word {
    /// Child: my network namespace's socket is here.
    pub(crate) const NETWORK: &[u8] = b"network";
    /// Parent: ids are mapped, mounts are shifted.
    pub(crate) const MAPPED: &[u8] = b"mapped";
    /// Child: all is set up; handles are here.
    pub(crate) const READY: &[u8] = b"ready";
    /// Parent: become init.
    pub(crate) const GO: &[u8] = b"go";
}

/// The child's side of a start.
pub(crate) struct Inside<'a> {
    /// What is started.
    pub(crate) spec: &'a Spec,
    /// What was opened for it.
    pub(crate) plan: &'a Plan,
    /// The conversation with the parent.
    pub(crate) sync: &'a PacketSocket,
    /// Where the reason goes why there is no program; closed by its execution.
    pub(crate) status: &'a OwnedFd,
    /// Mounts that replace the plan's restricted ones, in order: their restrictions are locked.
    pub(crate) locked: VecDeque<OwnedFd>,
    /// Things that did not work and are not needed.
    pub(crate) warnings: Vec<String>,
}

/// Runs all stages; the last one becomes init.
///
/// # Errors
/// The stage that failed.
pub(crate) fn run(mut inside: Inside<'_>) -> Result<Infallible, Failed> {
    // First, while the parent maps ids: nothing of it needs them.
    network::send_socket(&inside)?;
    identity::drop_protection()?;
    join_cgroup::join(&inside)?;
    inside.locked = inside.wait(word::MAPPED, Stage::IdMap)?;
    identity::become_root()?;
    join_cgroup::make_namespace()?;
    root::cut_off()?;
    let root = root::attach(&inside)?;
    let devpts = dev::mount(&inside, &root)?;
    let proc = proc::mount(&inside, &root)?;
    sys::mount(&inside, &root)?;
    cgroup_view::mount(&inside, &root)?;
    mounts::attach(&mut inside, &root)?;
    let console = console::make(&inside, &devpts)?;
    masks::apply(&inside, &root)?;
    pivot::pivot(&inside)?;
    hostname::set(&inside)?;
    sysctl::set(&inside, &proc)?;
    time::make_namespace(&inside)?;
    inside.ready(&devpts, &console, &proc)?;
    new_keyring(&mut inside.warnings)?;
    let program = exec::program(&inside.spec.init, &Root::open("/").at(Stage::Exec, || "opening /".into())?)?;
    inside.go()?;
    console::take(&console)?;
    set_label(inside.spec, &proc)?;
    drop_capabilities(inside.spec)?;
    if inside.spec.init.reaper {
        return reaper::run(&inside, &program);
    }
    inside.plan.filter.install()?;
    Err(program.execute())
}

impl Inside<'_> {
    fn wait(&self, word: &[u8], stage: Stage) -> Result<VecDeque<OwnedFd>, Failed> {
        let packet = self.sync.receive(64).at(stage, || "waiting for the monitor".into())?;
        // A monitor that gave up says nothing; whoever asked has its reason from there.
        let packet = packet.filter(|packet| packet.bytes == word);
        packet.map(|packet| packet.fds.into()).ok_or_else(|| Failed::new(stage, "the monitor gave up"))
    }

    /// Hands the parent what it needs for later.
    fn ready(&self, devpts: &OwnedFd, console: &console::Console, proc: &OwnedFd) -> Result<(), Failed> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let slash = rustix::fs::open("/", flags, rustix::fs::Mode::empty()).at(Stage::Pivot, || "opening /".into())?;
        let fds = [devpts.as_fd(), console.master.as_fd(), slash.as_fd(), proc.as_fd()];
        self.sync.send(&[word::READY], &fds).at(Stage::Console, || "handing over the console".into())
    }

    /// Reports warnings and waits for the last word.
    fn go(&self) -> Result<(), Failed> {
        let warnings = self.warnings.join("\n");
        self.sync.send(&[b"warnings\n", warnings.as_bytes()], &[]).at(Stage::Exec, || "telling the monitor".into())?;
        self.wait(word::GO, Stage::Exec).map(drop)
    }
}

/// Attaches a file system in `/dev/.lxc`, where container managers inside look for an unmasked `/proc` and `/sys`: the
/// kernel lets a user namespace mount them only where a complete one is in sight.
fn dev_lxc(inside: &Inside<'_>, name: &str, mount: &OwnedFd, stage: Stage) -> Result<(), Failed> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let target = rustix::fs::openat(&inside.plan.dev, format!(".lxc/{name}"), flags, rustix::fs::Mode::empty());
    let target = target.at(stage, || format!("opening /dev/.lxc/{name}"))?;
    coffer_sys::mount::attach(mount.as_fd(), target.as_fd()).at(stage, || format!("attaching /dev/.lxc/{name}"))
}
