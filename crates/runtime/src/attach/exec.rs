//! Executing a command.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Exec, Spec, Stage};
use coffer_sys::path::Root;
use coffer_sys::{cred, process, pty};

use super::Door;
use crate::failed::{At, Failed};
use crate::init;

/// The standard streams of a command.
#[derive(Debug)]
pub(crate) enum Standard {
    /// A terminal, which becomes the controlling one.
    Terminal(OwnedFd),
    /// Three files.
    Files([OwnedFd; 3]),
}

/// Becomes the command, in the child.
pub(crate) fn exec(door: &Door, spec: &Spec, exec: &Exec, standard: &Standard) -> Result<Infallible, Failed> {
    let program = init::Program::new(&exec.argv, &exec.env)?;
    let mut ignored = Vec::new();
    // Outside still: root of the instance may not raise them.
    init::set_rlimits(&spec.rlimits, &mut ignored)?;
    init::set_oom_score(spec.oom_score, &mut ignored)?;
    door.enter(spec)?;
    init::new_keyring(&mut ignored)?;
    take(standard).at(Stage::Console, || "setting the standard streams".into())?;
    init::set_label(spec, &door.proc)?;
    init::drop_capabilities(spec)?;
    // Before the ids, because it takes a capability to install it.
    door.filter.install()?;
    cred::become_user(exec.uid, exec.gid, &exec.groups)
        .at(Stage::Identity, || format!("becoming user {} and group {}", exec.uid, exec.gid))?;
    if exec.uid != 0 {
        // We were root of another namespace, so the kernel did not take these away with the id.
        cred::restrict_capabilities(u64::MAX).at(Stage::Capabilities, || "dropping all".into())?;
    }
    // As the user: a directory closed to it is closed.
    let root = Root::open("/").at(Stage::WorkingDirectory, || "opening /".into())?;
    init::enter(&exec.cwd, &root)?;
    Err(program.execute())
}

fn take(standard: &Standard) -> std::io::Result<()> {
    match standard {
        Standard::Terminal(terminal) => {
            pty::take_as_controlling(terminal.as_fd())?;
            process::set_standard_streams([terminal.as_fd(); 3])
        }
        Standard::Files([input, output, error]) => {
            rustix::process::setsid()?;
            process::set_standard_streams([input.as_fd(), output.as_fd(), error.as_fd()])
        }
    }
}
