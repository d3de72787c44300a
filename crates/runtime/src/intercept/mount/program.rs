//! Mounting by a FUSE program of the instance's: it is started where its caller is, and its end is the call's.
//!
//! It gets what its caller has and nothing more: its namespaces, root and directory, the capabilities that it has in force, the
//! instance's control groups, limits, label and filter. Nothing is opened for it, no path of its arguments is looked at here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use coffer_runtime_spec::{Refusal, Stage};
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::process::{self, Child, Ended};
use coffer_sys::seccomp::listen::Answer;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::flags::Flags;
use crate::attach::{self, Door};
use crate::failed::{At, Failed};
use crate::init::{self, Program};
use crate::intercept::Setting;
use crate::intercept::caller::{Caller, Rights};
use crate::intercept::place::Place;

/// How long a program may take to have mounted: one that repairs what is on the device first takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a call asks for, in the words of its caller.
pub(super) struct Wanted {
    /// What is mounted.
    pub(super) source: String,
    /// Where.
    pub(super) target: String,
    /// How, separated by commas.
    pub(super) options: String,
}

/// Says whether a caller can have a program started: root of the instance, under the instance's own filter and no other, which the
/// program would not have.
pub(super) fn may_start(setting: &Setting<'_>, rights: &Rights) -> io::Result<bool> {
    let is_root = setting.spec.idmap.host_uid(0) == Some(rights.uid);
    Ok(is_root && rights.filters == Rights::own()?.filters + 1)
}

/// Starts the program in the caller's place and waits until it has mounted.
pub(super) fn run(
    setting: &Setting<'_>,
    caller: &Caller,
    rights: &Rights,
    program: &str,
    wanted: Wanted,
    still_waits: impl Fn() -> bool,
) -> io::Result<Answer> {
    let door = setting.door.ok_or(Errno::PERM)?;
    let place = Place::open(caller)?;
    let process = caller.process(rights)?;
    // All of it was its own then.
    if !still_waits() {
        return Err(Errno::SRCH.into());
    }
    let environment = BTreeMap::from([("PATH".to_owned(), init::PATH.to_owned())]);
    let program = Program::new(&arguments(program, wanted), &environment).map_err(plain)?;
    let (said, childs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    place.share_processes()?;
    let work = || attach::report(&childs, || become_program(setting, door, &place, rights, &program));
    let child = attach::clone_inside(setting.group, work)?;
    drop(childs);
    let ended = wait(&child, &process, Instant::now() + PATIENCE)?;
    match ended {
        Ended::Exited(0) => Ok(Answer::Returns(0)),
        // Every end of the pipe was closed with it, or by its execution.
        Ended::Exited(_) => Err(refused(&said).unwrap_or(Errno::INVAL).into()),
        Ended::Killed(_) => Err(Errno::IO.into()),
    }
}

/// What is executed. What its caller chose is never in the place of an option: relative paths that look like one are the same with a dot.
fn arguments(program: &str, wanted: Wanted) -> Vec<String> {
    let path = |path: String| if path.starts_with('-') { format!("./{path}") } else { path };
    let mut arguments = vec![program.to_owned(), path(wanted.source), path(wanted.target)];
    if !wanted.options.is_empty() {
        arguments.extend(["-o".to_owned(), wanted.options]);
    }
    arguments
}

/// The options of a call, those of its flags first; the program says which of them it does not know.
pub(super) fn options(flags: &Flags, data: &[u8]) -> io::Result<String> {
    let data = std::str::from_utf8(data).map_err(|_| Errno::INVAL)?;
    let words = flags.words();
    Ok(words.into_iter().chain(data.split(',')).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(","))
}

/// Becomes the program, in the child.
fn become_program(setting: &Setting<'_>, door: &Door, place: &Place, rights: &Rights, program: &Program) -> Result<Infallible, Failed> {
    let spec = setting.spec;
    let mut ignored = Vec::new();
    // Outside still: root of the instance may not raise them.
    init::set_rlimits(&spec.rlimits, &mut ignored)?;
    init::set_oom_score(spec.oom_score, &mut ignored)?;
    door.join_groups()?;
    let null =
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Stage::Console, || "opening nothing".into())?;
    process::set_standard_streams([null.as_fd(); 3]).at(Stage::Console, || "setting the standard streams".into())?;
    place.enter().at(Stage::Join, || "going where the caller is".into())?;
    ns::join(setting.userns.as_fd(), Namespaces::USER).at(Stage::Join, || "joining".into())?;
    coffer_sys::cred::become_user(0, 0, &[]).at(Stage::Identity, || "taking uid and gid 0".into())?;
    init::new_keyring(&mut ignored)?;
    rustix::process::setsid().at(Stage::Console, || "starting a session".into())?;
    init::set_label(spec, &door.proc)?;
    init::drop_capabilities_beside(spec, !rights.capabilities)?;
    if rights.gains_none {
        coffer_sys::cred::set_no_new_privs().at(Stage::Capabilities, || "setting no_new_privs".into())?;
    }
    door.filter.install()?;
    Err(program.execute())
}

/// Waits for the end of a program, as long as its caller waits and no longer than until the deadline.
fn wait(program: &Child, caller: &OwnedFd, deadline: Instant) -> io::Result<Ended> {
    let given_up = loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).map_err(|_| Errno::INVAL)?;
        let mut fds = [PollFd::new(&program.pidfd, PollFlags::IN), PollFd::new(caller, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(0) => break Errno::TIMEDOUT,
            Ok(_) if !fds[0].revents().is_empty() => return process::wait(program.pidfd.as_fd()),
            Ok(_) => break Errno::SRCH,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    // Whoever takes us over waits for it: it may be where a deadly signal does not reach it yet.
    let _ = process::signal(program.pidfd.as_fd(), 9);
    Err(given_up.into())
}

/// Why a program was not executed.
fn refused(said: &OwnedFd) -> Option<Errno> {
    let mut text = [0; 4096];
    let length = rustix::io::read(said, &mut text[..]).ok().filter(|length| *length > 0)?;
    let refusal: Refusal = serde_json::from_slice(&text[..length]).ok()?;
    let errno = refusal.errno.map_or(Errno::IO, Errno::from_raw_os_error);
    // To its caller a file system whose program is not there is one that is not known.
    Some(if (refusal.stage, errno) == (Some(Stage::Exec), Errno::NOENT) { Errno::NODEV } else { errno })
}

fn plain(failed: Failed) -> io::Error {
    failed.errno.map_or_else(|| Errno::INVAL.into(), io::Error::from_raw_os_error)
}

impl Caller {
    /// A handle to its process, as it is seen from here.
    fn process(&self, rights: &Rights) -> io::Result<OwnedFd> {
        let depth = Rights::own()?.numbers.len();
        let number = rights.group_numbers.get(depth - 1).copied().ok_or(Errno::SRCH)?;
        process::pidfd_open(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flags: u64, data: &str, expect: &str) {
        let flags = Flags::of_new_mount(flags).unwrap();
        assert_eq!(options(&flags, data.as_bytes()).unwrap(), expect);
    }

    #[test]
    fn flags_are_options_to_a_program() {
        check(0, "", "");
        check(1 | 2 | 4 | 8, "", "ro,nosuid,nodev,noexec");
        check(1 << 4 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11, "", "sync,dirsync,nosymfollow,noatime,nodiratime");
        check(1 << 24 | 1 << 25, ",allow_other,,uid=5,", "strictatime,lazytime,allow_other,uid=5");
        assert!(options(&Flags::of_new_mount(0).unwrap(), b"\xff").is_err());
    }

    #[test]
    fn what_a_caller_chose_is_no_option() {
        let wanted = |source: &str, target: &str, options: &str| Wanted {
            source: source.to_owned(),
            target: target.to_owned(),
            options: options.to_owned(),
        };
        assert_eq!(arguments("fuse2fs", wanted("/dev/sdb", "/mnt", "")), ["fuse2fs", "/dev/sdb", "/mnt"]);
        assert_eq!(arguments("x", wanted("-a", "--b", "ro")), ["x", "./-a", "./--b", "-o", "ro"]);
    }

    #[test]
    fn nobody_waits_longer_than_its_caller_or_the_deadline() {
        let asleep = || {
            let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
            let pidfd = process::pidfd_open(sleeper.id()).unwrap();
            (Child { pid: sleeper.id(), pidfd }, move || sleeper.wait().unwrap())
        };
        let (caller, caller_ends) = asleep();
        let (program, mut ends) = asleep();
        let error = wait(&program, &caller.pidfd, Instant::now()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::TIMEDOUT.raw_os_error()));
        assert!(!ends().success(), "it was killed");
        let (program, mut ends) = asleep();
        process::signal(caller.pidfd.as_fd(), 9).unwrap();
        let error = wait(&program, &caller.pidfd, Instant::now() + PATIENCE).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
        assert!(!ends().success(), "it was killed");
        let mut caller_ends = caller_ends;
        caller_ends();
    }
}
