//! Commands executed in the instance.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{
    Answer, Exec, ExecId, ExecLabel, ExecState, ExecStatus, Refusal, RefusalKind, Report, Signal, Stage, State, Streams, WindowSize,
};
use coffer_sys::process::{self, Child, Ended};
use coffer_sys::pty;
use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::connections::Asker;
use super::poll::{Interest, Token};
use super::recording::{Recording, read};
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
    /// Where its output goes that the monitor itself reads.
    recordings: Option<[Recording; 2]>,
    label: Option<ExecLabel>,
    waiters: Vec<Asker>,
}

/// So many commands that have ended are remembered until somebody asks how.
const MOST_ENDED: usize = 1000;

/// So many bytes of output are read at a time.
const PIECE: usize = 16 << 10;
/// So many pieces are what the largest pipe of an unprivileged user holds. Source: pipe(7), 1 MiB.
const MOST_PIECES: usize = (1 << 20) / PIECE;

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
    recordings: Option<[Recording; 2]>,
}

impl Running {
    fn status(&self, id: u64) -> ExecStatus {
        ExecStatus { id: ExecId(id), pid: self.child.pid, state: self.state, label: self.label.clone() }
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
                let recorded = running.recordings.is_some();
                self.execs.insert(id, running);
                if recorded {
                    self.read_ourselves(id);
                }
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
        let child = attach::clone_inside(&instance.group, work);
        let child = child.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            // The kernel's word for a process namespace whose init is gone.
            Some(Errno::NOMEM) => not_running(),
            _ => failed("making a process", &error),
        })?;
        let Prepared { answer, kept, is_terminal, recordings, .. } = prepared;
        let beginning = Some(Beginning { asker, status, said: Vec::new(), answer });
        let owner = recordings.is_none().then_some(asker.peer);
        let label = exec.label.clone();
        let state = ExecState::Running;
        Ok(Running { child, state, owner, beginning, kept, is_terminal, recordings, label, waiters: Vec::new() })
    }

    fn streams(&self, exec: &Exec, fds: Vec<OwnedFd>) -> Result<Prepared, Refusal> {
        let told = |error: std::io::Error| failed("making the command's streams", &error);
        match exec.streams {
            Streams::Pty(size) => {
                let pty = self.terminal(exec, size).map_err(told)?;
                let kept = [Some(pty.master.try_clone().map_err(told)?), None];
                let standard = Standard::Terminal(pty.terminal);
                Ok(Prepared { standard, answer: vec![pty.master], kept, is_terminal: true, recordings: None })
            }
            Streams::Pipes => {
                let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| told(error.into()));
                let ((input, write_input), (read_output, output), (read_error, error)) = (pipe()?, pipe()?, pipe()?);
                let kept = [Some(read_output.try_clone().map_err(told)?), Some(read_error.try_clone().map_err(told)?)];
                let answer = vec![write_input, read_output, read_error];
                let standard = Standard::Files([input, output, error]);
                Ok(Prepared { standard, answer, kept, is_terminal: false, recordings: None })
            }
            Streams::Recorded { most } => {
                let mut files = match <[OwnedFd; 2]>::try_from(fds) {
                    Ok(files) => files.map(Some),
                    Err(none) if none.is_empty() => [None, None],
                    Err(_) => return Err(refusal(RefusalKind::Invalid, "two descriptors must come with the request, or none")),
                };
                let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| told(error.into()));
                // Nobody holds the other end of its input: it reads an end of file.
                let ((input, _), (read_output, output), (read_error, error)) = (pipe()?, pipe()?, pipe()?);
                let recordings = [0, 1].map(|stream: usize| Recording::new(files[stream].take(), most));
                let standard = Standard::Files([input, output, error]);
                let kept = [Some(read_output), Some(read_error)];
                Ok(Prepared { standard, answer: Vec::new(), kept, is_terminal: false, recordings: Some(recordings) })
            }
            Streams::Passed => {
                let three = <[OwnedFd; 3]>::try_from(fds);
                let files = three.map_err(|_| refusal(RefusalKind::Invalid, "three descriptors must come with the request"))?;
                let standard = Standard::Files(files);
                Ok(Prepared { standard, answer: Vec::new(), kept: [None, None], is_terminal: false, recordings: None })
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
        for waiter in running.waiters {
            self.answer(waiter, Err(refusal.clone()), Vec::new());
        }
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
            // What is in the pipe still is recorded. Whoever else writes into it is not waited for, so no more than a pipe holds.
            let mut pieces = 0..MOST_PIECES;
            while pieces.next().is_some() && self.read_piece(id, stream) {}
            self.stop_keeping(id, stream);
        }
        let Some(running) = self.execs.get_mut(&id) else { return };
        running.recordings = None;
        let status = running.status(id);
        let waiters = std::mem::take(&mut running.waiters);
        if waiters.is_empty() {
            self.forget_oldest_ended();
        } else {
            self.execs.remove(&id);
        }
        for waiter in waiters {
            self.answer(waiter, Ok(Answer::ExecEnded(status.clone())), Vec::new());
        }
        self.report(&Report::ExecExited(status));
    }

    /// Forgets the command that was begun first of those that have ended, if there are too many.
    fn forget_oldest_ended(&mut self) {
        let ended = || self.execs.iter().filter(|(_, running)| running.state != ExecState::Running).map(|(id, _)| *id);
        if ended().count() > MOST_ENDED
            && let Some(oldest) = ended().next()
        {
            self.execs.remove(&oldest);
        }
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
        self.execs.iter().map(|(id, running)| running.status(*id)).collect()
    }

    /// The caller is gone without having released its streams: from now on their output is read and dropped, so that the
    /// commands live on.
    pub(super) fn adopt_execs_of(&mut self, peer: u64) {
        let mut orphans = Vec::new();
        for (id, running) in &mut self.execs {
            running.waiters.retain(|waiter| waiter.peer != peer);
            if running.owner != Some(peer) {
                continue;
            }
            running.owner = None;
            orphans.push(*id);
        }
        orphans.into_iter().for_each(|id| self.read_ourselves(id));
    }

    /// From now on the monitor reads the command's output.
    fn read_ourselves(&self, id: u64) {
        let Some(running) = self.execs.get(&id) else { return };
        for (stream, kept) in running.kept.iter().enumerate() {
            let Some(kept) = kept else { continue };
            // A pipe's or terminal's own flag, which nobody else looks at.
            let _ = rustix::io::ioctl_fionbio(kept, true);
            let _ = self.poll.add(kept, Token::ExecOutput(id, stream as u8), Interest::Read);
        }
    }

    /// Reads output that nobody else reads.
    pub(super) fn drain_exec(&mut self, id: u64, stream: u8) {
        self.read_piece(id, usize::from(stream));
    }

    /// Reads a piece of a stream that is ours to read, and records it where it is to be; false if there is nothing now.
    fn read_piece(&mut self, id: u64, stream: usize) -> bool {
        let Some(running) = self.execs.get_mut(&id).filter(|running| running.owner.is_none()) else { return false };
        let Some(kept) = running.kept.get(stream).and_then(Option::as_ref) else { return false };
        let mut buffer = [0; PIECE];
        let length = match read(kept, &mut buffer) {
            Ok(length) if length > 0 => length,
            Err(Errno::AGAIN) => return false,
            Ok(_) | Err(_) => {
                self.stop_keeping(id, stream);
                return false;
            }
        };
        let recording = running.recordings.as_mut().and_then(|recordings| recordings.get_mut(stream));
        if let Some(Err(error)) = recording.map(|recording| recording.write(&buffer[..length])) {
            self.warn(format!("recording the output of exec {id}: {error}"));
        }
        true
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
