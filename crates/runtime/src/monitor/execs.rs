//! Commands executed in the instance.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{
    Answer, Exec, ExecId, ExecState, ExecStatus, Refusal, RefusalKind, Report, Signal, Stage, State, Streams, WindowSize,
};
use coffer_sys::process::{self, Child, CloneOptions, Ended};
use coffer_sys::pty;
use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::connections::Asker;
use super::poll::{Interest, Token};
use super::{Monitor, failed, refusal};
use crate::attach::{self, Standard};

/// A command that runs, or that has ended and that nobody has waited for.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    state: ExecState,
    /// The caller whose the streams are; none when it is gone or has released them.
    owner: Option<u64>,
    /// Set until it is known whether the command was executed.
    beginning: Option<Beginning>,
    /// Copies of the caller's ends of its output, by stream.
    kept: [Option<OwnedFd>; 2],
    /// The terminal's master, for changes of size.
    is_terminal: bool,
    waiters: Vec<Asker>,
}

#[derive(Debug)]
struct Beginning {
    asker: Asker,
    status: OwnedFd,
    said: Vec<u8>,
    /// What the answer carries.
    answer: Vec<OwnedFd>,
}

/// Streams ready for a child.
struct Prepared {
    standard: Standard,
    answer: Vec<OwnedFd>,
    kept: [Option<OwnedFd>; 2],
    is_terminal: bool,
}

impl Running {
    fn status(&self, id: u64) -> ExecStatus {
        ExecStatus { id: ExecId(id), pid: self.child.pid, state: self.state }
    }
}

impl Monitor {
    /// Executes a command. The answer comes when it was executed or could not be.
    pub(super) fn exec(&mut self, asker: Asker, exec: &Exec, fds: Vec<OwnedFd>) {
        match self.state() {
            State::Running => {}
            State::Frozen => return self.answer(asker, Err(refusal(RefusalKind::State, "the instance is frozen")), Vec::new()),
            State::Idle | State::Starting | State::Ended => return self.answer(asker, Err(not_running()), Vec::new()),
        }
        match self.begin_exec(asker, exec, fds) {
            Ok(running) => {
                let id = self.next_id();
                let watched = running
                    .beginning
                    .as_ref()
                    .map_or(Ok(()), |beginning| self.poll.add(&beginning.status, Token::ExecStatus(id), Interest::Read));
                let watched = watched.and_then(|()| self.poll.add(&running.child.pidfd, Token::ExecEnded(id), Interest::Read));
                self.execs.insert(id, running);
                if let Err(error) = watched {
                    self.exec_refused(id, failed("waiting for the command", &error));
                }
            }
            Err(refusal) => self.answer(asker, Err(refusal), Vec::new()),
        }
    }

    fn begin_exec(&self, asker: Asker, exec: &Exec, fds: Vec<OwnedFd>) -> Result<Running, Refusal> {
        let Some(instance) = &self.instance else { return Err(not_running()) };
        let Some(door) = &instance.door else { return Err(not_running()) };
        let prepared = self.streams(exec, fds)?;
        let (status, childs_status) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("making a pipe", &error.into()))?;
        let work = || attach::report(&childs_status, || attach::exec(door, &instance.spec, exec, &prepared.standard));
        let cgroup = instance.group.unified().map(|member| member.dir.as_fd());
        let mut child = process::clone(CloneOptions { cgroup, ..CloneOptions::default() }, work);
        if child.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::BUSY.raw_os_error())) {
            let leaf = instance.group.exec_leaf().map_err(|error| failed("making a control group for the command", &error))?;
            let work = || attach::report(&childs_status, || attach::exec(door, &instance.spec, exec, &prepared.standard));
            child = process::clone(CloneOptions { cgroup: leaf.as_ref().map(AsFd::as_fd), ..CloneOptions::default() }, work);
        }
        let child = child.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            // The kernel's word for a process namespace whose init is gone.
            Some(Errno::NOMEM) => not_running(),
            _ => failed("making a process", &error),
        })?;
        let Prepared { answer, kept, is_terminal, .. } = prepared;
        let beginning = Some(Beginning { asker, status, said: Vec::new(), answer });
        Ok(Running { child, state: ExecState::Running, owner: Some(asker.peer), beginning, kept, is_terminal, waiters: Vec::new() })
    }

    fn streams(&self, exec: &Exec, fds: Vec<OwnedFd>) -> Result<Prepared, Refusal> {
        let told = |error: std::io::Error| failed("making the command's streams", &error);
        match exec.streams {
            Streams::Pty(size) => {
                let pty = self.terminal(exec, size).map_err(told)?;
                let kept = [Some(pty.master.try_clone().map_err(told)?), None];
                Ok(Prepared { standard: Standard::Terminal(pty.terminal), answer: vec![pty.master], kept, is_terminal: true })
            }
            Streams::Pipes => {
                let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| told(error.into()));
                let ((input, write_input), (read_output, output), (read_error, error)) = (pipe()?, pipe()?, pipe()?);
                let kept = [Some(read_output.try_clone().map_err(told)?), Some(read_error.try_clone().map_err(told)?)];
                let answer = vec![write_input, read_output, read_error];
                Ok(Prepared { standard: Standard::Files([input, output, error]), answer, kept, is_terminal: false })
            }
            Streams::Passed => {
                let three = <[OwnedFd; 3]>::try_from(fds);
                let files = three.map_err(|_| refusal(RefusalKind::Invalid, "three descriptors must come with the request"))?;
                Ok(Prepared { standard: Standard::Files(files), answer: Vec::new(), kept: [None, None], is_terminal: false })
            }
        }
    }

    /// Makes a terminal in the instance's own devpts, owned by the command's user.
    fn terminal(&self, exec: &Exec, size: WindowSize) -> std::io::Result<pty::Pty> {
        let Some(instance) = &self.instance else { return Err(Errno::SRCH.into()) };
        let Some(devpts) = &instance.devpts else { return Err(Errno::SRCH.into()) };
        let pty = pty::open(devpts.as_fd())?;
        let owner = instance.spec.idmap.host_uid(exec.uid).map(Uid::from_raw);
        let group = instance.spec.idmap.host_gid(5).map(Gid::from_raw);
        rustix::fs::chownat(&pty.terminal, "", owner, group, AtFlags::EMPTY_PATH)?;
        pty::set_size(pty.master.as_fd(), size.columns, size.rows)?;
        Ok(pty)
    }

    /// The child has failed, or has become the command: its end of the pipe is closed.
    pub(super) fn exec_status_ready(&mut self, id: u64) {
        let Some(running) = self.execs.get_mut(&id) else { return };
        let Some(beginning) = &mut running.beginning else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(&beginning.status, &mut buffer) {
            Ok(0) | Err(_) => {}
            Ok(length) => return beginning.said.extend_from_slice(&buffer[..length]),
        }
        if !beginning.said.is_empty() {
            let told = serde_json::from_slice::<Refusal>(&beginning.said);
            let told = told.unwrap_or_else(|_| refusal(RefusalKind::Failed, "the child failed without saying why"));
            return self.exec_refused(id, Refusal { kind: kind(&told), ..told });
        }
        let Some(beginning) = running.beginning.take() else { return };
        let answer = Answer::Executed { id: ExecId(id), pid: running.child.pid };
        self.answer(beginning.asker, Ok(answer), beginning.answer);
    }

    /// Forgets a command that was never executed.
    fn exec_refused(&mut self, id: u64, refusal: Refusal) {
        let Some(mut running) = self.execs.remove(&id) else { return };
        let _ = process::signal(running.child.pidfd.as_fd(), 9);
        let _ = process::wait(running.child.pidfd.as_fd());
        if let Some(beginning) = running.beginning.take() {
            self.answer(beginning.asker, Err(refusal), Vec::new());
        }
    }

    /// A command has ended.
    pub(super) fn exec_ended(&mut self, id: u64) {
        // What its child said, or its success, comes first.
        while self.execs.get(&id).is_some_and(|running| running.beginning.is_some()) {
            self.exec_status_ready(id);
        }
        let Some(running) = self.execs.get_mut(&id) else { return };
        let Ok(Some(ended)) = process::try_wait(running.child.pidfd.as_fd()) else { return };
        self.poll.remove(&running.child.pidfd);
        running.state = match ended {
            Ended::Exited(status) => ExecState::Exited(status),
            Ended::Killed(number) => ExecState::Killed(Signal::from_number(number).unwrap_or(Signal::KILL)),
        };
        for stream in 0..2 {
            self.stop_keeping(id, stream);
        }
        let Some(running) = self.execs.get_mut(&id) else { return };
        let status = running.status(id);
        let waiters = std::mem::take(&mut running.waiters);
        if !waiters.is_empty() {
            self.execs.remove(&id);
        }
        for waiter in waiters {
            self.answer(waiter, Ok(Answer::ExecEnded(status)), Vec::new());
        }
        self.report(&Report::ExecExited(status));
    }

    /// Answers when the command has ended.
    pub(super) fn wait_exec(&mut self, asker: Asker, id: u64) {
        match self.execs.get_mut(&id) {
            None => self.answer(asker, Err(no_exec(id)), Vec::new()),
            Some(running) if running.state == ExecState::Running => running.waiters.push(asker),
            Some(running) => {
                let status = running.status(id);
                self.execs.remove(&id);
                self.answer(asker, Ok(Answer::ExecEnded(status)), Vec::new());
            }
        }
    }

    pub(super) fn signal_exec(&self, id: u64, signal: Signal) -> Result<Answer, Refusal> {
        let running = self.execs.get(&id).ok_or_else(|| no_exec(id))?;
        match process::signal(running.child.pidfd.as_fd(), signal.number()) {
            Ok(()) => Ok(Answer::Done),
            Err(error) => Err(failed(&format!("sending {signal} to exec {id}"), &error)),
        }
    }

    pub(super) fn resize_exec(&self, id: u64, size: WindowSize) -> Result<Answer, Refusal> {
        let running = self.execs.get(&id).ok_or_else(|| no_exec(id))?;
        let Some(master) = running.kept[0].as_ref().filter(|_| running.is_terminal) else {
            return Err(refusal(RefusalKind::State, format!("exec {id} has no terminal or has ended")));
        };
        match pty::set_size(master.as_fd(), size.columns, size.rows) {
            Ok(()) => Ok(Answer::Done),
            Err(error) => Err(failed("changing the terminal's size", &error)),
        }
    }

    /// The caller gives its streams up: closing our copies too lets the command notice.
    pub(super) fn release_exec(&mut self, id: u64) -> Result<Answer, Refusal> {
        let running = self.execs.get_mut(&id).ok_or_else(|| no_exec(id))?;
        running.owner = None;
        self.stop_keeping(id, 0);
        self.stop_keeping(id, 1);
        Ok(Answer::Done)
    }

    pub(super) fn exec_statuses(&self) -> Vec<ExecStatus> {
        self.execs.iter().filter(|(_, running)| running.beginning.is_none()).map(|(id, running)| running.status(*id)).collect()
    }

    /// The caller is gone without having released its streams: from now on their output is read and dropped, so that the
    /// commands live on.
    pub(super) fn adopt_execs_of(&mut self, peer: u64) {
        for (id, running) in &mut self.execs {
            running.waiters.retain(|waiter| waiter.peer != peer);
            if running.owner != Some(peer) {
                continue;
            }
            running.owner = None;
            for (stream, kept) in running.kept.iter().enumerate() {
                let Some(kept) = kept else { continue };
                // A pipe's or terminal's own flag, which nobody else looks at any more.
                let _ = rustix::io::ioctl_fionbio(kept, true);
                let _ = self.poll.add(kept, Token::ExecOutput(*id, stream as u8), Interest::Read);
            }
        }
    }

    /// Drops output that nobody reads.
    pub(super) fn drain_exec(&mut self, id: u64, stream: u8) {
        let Some(kept) = self.execs.get(&id).and_then(|running| running.kept.get(usize::from(stream))?.as_ref()) else { return };
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(kept, &mut buffer) {
            Ok(length) if length > 0 => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.stop_keeping(id, usize::from(stream)),
        }
    }

    fn stop_keeping(&mut self, id: u64, stream: usize) {
        let kept = self.execs.get_mut(&id).and_then(|running| running.kept.get_mut(stream)).and_then(Option::take);
        if let Some(kept) = kept {
            self.poll.remove(&kept);
        }
    }
}

/// The class of a child's failure.
fn kind(told: &Refusal) -> RefusalKind {
    match (told.stage, told.errno.map(Errno::from_raw_os_error)) {
        (Some(Stage::Exec), Some(Errno::NOENT | Errno::NOTDIR)) => RefusalKind::NoProgram,
        (Some(Stage::Exec), Some(_)) => RefusalKind::NotExecutable,
        (Some(Stage::WorkingDirectory | Stage::Identity), Some(_)) => RefusalKind::Invalid,
        _ => RefusalKind::Failed,
    }
}

fn not_running() -> Refusal {
    refusal(RefusalKind::State, "the instance is not running")
}

fn no_exec(id: u64) -> Refusal {
    refusal(RefusalKind::NotFound, format!("there is no exec {id}"))
}
