//! Staying process 1 beside a program that is no init: it hands on signals, takes the end of orphans, and ends with the program.
//!
//! A program that is process 1 itself hears of no signal that it has no handler for, and is left with every orphan of the
//! instance. This process never executes anything, so nobody inside can trace it or read its memory: it was made not dumpable
//! before, and its memory belongs to the host's user namespace.

use std::convert::Infallible;
use std::os::fd::AsFd;

use coffer_runtime_spec::Stage;
use coffer_sys::process::{self, CloneOptions, Ended};
use coffer_sys::{cred, signal};

use super::{Inside, Program};
use crate::attach;
use crate::failed::{At, Failed};

/// Starts the program as a child and looks after it until it ends, which is the instance's end.
///
/// # Errors
/// What kept the child from being made; what keeps it from becoming the program it says itself.
pub(super) fn run(inside: &Inside<'_>, program: &Program) -> Result<Infallible, Failed> {
    let told = || "starting the process".to_owned();
    // First, so that no end of the child is missed; the program itself begins with none blocked.
    signal::block_all().at(Stage::Exec, told)?;
    let child = process::clone(CloneOptions::default(), || attach::report(inside.status, || become_program(inside, program)));
    let child = child.at(Stage::Exec, told)?;
    inside.plan.filter.install()?;
    // A name for lists of processes; without it, it is the monitor's.
    let _ = process::set_name(c"init");
    process::close_all_but(&[child.pidfd.as_fd()]).at(Stage::Exec, told)?;
    loop {
        match signal::next() {
            Ok(signal::CHILD) => take_ends(child.pid),
            // One that is gone has its end told in a moment.
            Ok(number) => drop(process::signal(child.pidfd.as_fd(), number)),
            // Frozen and thawed.
            Err(_) => {}
        }
    }
}

/// Takes the ends of all children that have ended, and ends with the program.
fn take_ends(program: u32) {
    while let Ok(Some((pid, ended))) = signal::reap() {
        if pid == program {
            process::exit_now(status(ended));
        }
    }
}

/// The exit status that shells give an end.
fn status(ended: Ended) -> u8 {
    match ended {
        Ended::Exited(status) => status,
        Ended::Killed(number) => u8::try_from(128 + number).unwrap_or(255),
    }
}

fn become_program(inside: &Inside<'_>, program: &Program) -> Result<Infallible, Failed> {
    let init = &inside.spec.init;
    rustix::process::setsid().at(Stage::Console, || "starting a session".into())?;
    // Before the user: a filter takes rights that it may not have.
    inside.plan.filter.install()?;
    if (init.uid, init.gid) != (0, 0) {
        // What is linked to /dev/stdout is opened anew: the console must be the user's.
        let (uid, gid) = (rustix::fs::Uid::from_raw(init.uid), rustix::fs::Gid::from_raw(init.gid));
        rustix::fs::fchown(rustix::stdio::stdout(), Some(uid), Some(gid)).at(Stage::Console, || "giving the console to the user".into())?;
        cred::become_user(init.uid, init.gid, &[]).at(Stage::Identity, || format!("becoming user {}:{}", init.uid, init.gid))?;
    }
    Err(program.execute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_shells_tell_them() {
        assert_eq!((status(Ended::Exited(3)), status(Ended::Killed(9)), status(Ended::Killed(15))), (3, 137, 143));
    }
}
