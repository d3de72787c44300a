//! Running a command inside an instance.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_model::{InstanceName, ProjectName, Status};
use coffer_runtime_spec as spec;
use coffer_sys::pipe::{self, End};

use super::start::Loaded;
use crate::error::EngineError;
use crate::request::{ExecRequest, ExecSession, ExecStreams};
use crate::{Engine, MonitorError};

/// What a shell answers when a program is not there, and when it cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

impl Engine {
    /// Says whether a command could run in an instance now.
    ///
    /// # Errors
    /// If there is no such instance, or it is not running.
    pub fn may_exec(&self, project: &ProjectName, name: &InstanceName) -> Result<(), EngineError> {
        let cell = match self.inner.cells.peek(project, name) {
            (Status::Running, Some(_)) => return Ok(()),
            _ => self.load(project, name).map(|_| self.inner.cells.get(project, name))?,
        };
        Err(cell.wrong_state(cell.status(), "commands can be run only while it is running"))
    }

    /// Runs a command for a client.
    ///
    /// A program that does not exist or cannot be run is no error: its session has ended with status 127 or 126.
    ///
    /// # Errors
    /// If the instance is not running, or the user, directory or terminal cannot be had.
    pub fn exec(&self, project: &ProjectName, name: &InstanceName, request: ExecRequest) -> Result<ExecSession, EngineError> {
        let terminal = request.terminal;
        let streams = match terminal {
            Some((columns, rows)) => spec::Streams::Pty(spec::WindowSize { columns, rows }),
            None => spec::Streams::Pipes,
        };
        let (mut session, fds) = self.exec_with(project, name, request, streams, &[])?;
        if session.complaint.is_none() {
            let mismatch = || EngineError::Monitor { instance: name.clone(), doing: RUNNING, cause: MonitorError::Mismatch };
            session.streams = Some(ends(terminal.is_some(), fds).ok_or_else(mismatch)?);
        }
        Ok(session)
    }

    /// Runs a command that reads nothing, and whose output and errors go to two files, at most `most` bytes of each, or nowhere.
    /// Its monitor writes them, whatever becomes of this daemon.
    ///
    /// # Errors
    /// See [`Engine::exec`].
    pub fn exec_recorded(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        request: ExecRequest,
        files: Option<[OwnedFd; 2]>,
        most: u64,
    ) -> Result<ExecSession, EngineError> {
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().flatten().map(AsFd::as_fd).collect();
        Ok(self.exec_with(project, name, request, spec::Streams::Recorded { most }, &borrowed)?.0)
    }

    /// Runs a command on the caller's own pipes: its standard input, output and error.
    ///
    /// # Errors
    /// See [`Engine::exec`]; also if one is not the right end of a pipe.
    pub fn exec_passed(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        request: ExecRequest,
        pipes: &[OwnedFd; 3],
    ) -> Result<ExecSession, EngineError> {
        check(pipes)?;
        let borrowed = pipes.each_ref().map(AsFd::as_fd);
        Ok(self.exec_with(project, name, request, spec::Streams::Passed, &borrowed)?.0)
    }

    fn exec_with(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        request: ExecRequest,
        streams: spec::Streams,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(ExecSession, Vec<OwnedFd>), EngineError> {
        let running = self.inner.cells.get(project, name).running()?;
        let loaded = self.load(project, name)?;
        let failed = |cause| EngineError::Monitor { instance: name.clone(), doing: RUNNING, cause };
        let (sender, exit) = tokio::sync::oneshot::channel();
        let (answer, fds) = match running.monitor.ask(spec::Request::Exec(command(request, &loaded, streams)?), fds) {
            Ok(answered) => answered,
            Err(MonitorError::Refused(refusal)) => match status_of_refused(refusal.kind) {
                Some(status) => return Ok((ended_at_once(exit, sender, status, &refusal), Vec::new())),
                None => return Err(failed(MonitorError::Refused(refusal))),
            },
            Err(cause) => return Err(failed(cause)),
        };
        let spec::Answer::Executed { id, .. } = answer else { return Err(failed(MonitorError::Mismatch)) };
        let waited = spec::Request::ExecWait { id };
        let ended = move |(result, _): (Result<spec::Answer, spec::Refusal>, Vec<OwnedFd>)| {
            if let Ok(spec::Answer::ExecEnded(status)) = result
                && let Some(status) = status.state.shell_status()
            {
                let _ = sender.send(status);
            }
        };
        running.monitor.ask_then(waited, &[], ended).map_err(failed)?;
        Ok((ExecSession { id: id.0, streams: None, exit, complaint: None }, fds))
    }

    /// Sends a signal to a running command.
    ///
    /// # Errors
    /// If the instance is not running, the command has ended, or there is no such signal.
    pub fn exec_signal(&self, project: &ProjectName, name: &InstanceName, id: u64, signal: i32) -> Result<(), EngineError> {
        let signal = spec::Signal::from_number(signal).ok_or_else(|| EngineError::Refused(format!("there is no signal {signal}")))?;
        self.tell_exec(project, name, spec::Request::ExecSignal { id: spec::ExecId(id), signal })
    }

    /// Tells a running command the size of its terminal.
    ///
    /// # Errors
    /// If the instance is not running, or the command has ended.
    pub fn exec_resize(&self, project: &ProjectName, name: &InstanceName, id: u64, columns: u16, rows: u16) -> Result<(), EngineError> {
        let size = spec::WindowSize { columns, rows };
        self.tell_exec(project, name, spec::Request::ExecResize { id: spec::ExecId(id), size })
    }

    /// Says that nobody reads a command's output any more.
    ///
    /// # Errors
    /// If the instance is not running, or the command has ended.
    pub fn exec_release(&self, project: &ProjectName, name: &InstanceName, id: u64) -> Result<(), EngineError> {
        self.tell_exec(project, name, spec::Request::ExecRelease { id: spec::ExecId(id) })
    }

    fn tell_exec(&self, project: &ProjectName, name: &InstanceName, request: spec::Request) -> Result<(), EngineError> {
        let running = self.inner.cells.get(project, name).running()?;
        let failed = |cause| EngineError::Monitor { instance: name.clone(), doing: "reaching a running command", cause };
        running.monitor.tell(request, &[]).map_err(failed)
    }
}

/// The status of a command that was never executed; `None` if that is no matter of its program.
pub(crate) fn status_of_refused(kind: spec::RefusalKind) -> Option<i32> {
    match kind {
        spec::RefusalKind::NoProgram => Some(NOT_FOUND),
        spec::RefusalKind::NotExecutable => Some(NOT_EXECUTABLE),
        spec::RefusalKind::Invalid | spec::RefusalKind::State | spec::RefusalKind::NotFound | spec::RefusalKind::Failed => None,
    }
}

/// What is being done, for errors.
const RUNNING: &str = "running a command";

fn command(request: ExecRequest, loaded: &Loaded, streams: spec::Streams) -> Result<spec::Exec, EngineError> {
    if request.command.first().is_none_or(String::is_empty) {
        return Err(EngineError::Refused("the command is empty".into()));
    }
    let strings = request.command.iter().chain(request.environment.keys()).chain(request.environment.values()).chain([&request.cwd]);
    if strings.into_iter().any(|text| text.contains('\0')) {
        return Err(EngineError::Refused("a command, its environment and its directory cannot hold NUL characters".into()));
    }
    let env = environment(&request, loaded);
    let cwd = if request.cwd.is_empty() { env.get("HOME").cloned().unwrap_or_else(|| "/".into()) } else { request.cwd.clone() };
    let label = request.operation.as_ref().and_then(super::exec_resumed::label);
    let ExecRequest { command: argv, user: uid, group: gid, .. } = request;
    Ok(spec::Exec { argv, env, cwd, uid, gid, groups: Vec::new(), streams, label })
}

/// Lets only pipes without a name into an instance, each with its right end: behind any other descriptor is something of
/// the host's that a process inside could reopen, map or change the settings of.
fn check(pipes: &[OwnedFd; 3]) -> Result<(), EngineError> {
    for (fd, (name, expected)) in pipes.iter().zip([("input", End::Read), ("output", End::Write), ("error", End::Write)]) {
        if pipe::end(fd.as_fd()).map_err(|cause| EngineError::system("looking at a passed pipe", cause))? != Some(expected) {
            return Err(EngineError::Refused(format!("what was passed as standard {name} is not the right end of a pipe")));
        }
    }
    Ok(())
}

/// The environment: LXD's defaults, under what its GPUs want, under the instance's `environment.*`, under the request's.
fn environment(request: &ExecRequest, loaded: &Loaded) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    if request.user == 0 {
        env.insert("HOME".to_owned(), "/root".to_owned());
        env.insert("USER".to_owned(), "root".to_owned());
    }
    env.extend(loaded.gpu_environment());
    env.extend(loaded.config.under("environment.").map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.extend(request.environment.clone());
    env
}

/// A session of a program that could not be run.
fn ended_at_once(
    exit: tokio::sync::oneshot::Receiver<i32>,
    sender: tokio::sync::oneshot::Sender<i32>,
    status: i32,
    refusal: &spec::Refusal,
) -> ExecSession {
    let _ = sender.send(status);
    ExecSession { id: 0, streams: None, exit, complaint: Some(refusal.text.clone()) }
}

/// Our ends of a session's streams.
fn ends(terminal: bool, mut fds: Vec<OwnedFd>) -> Option<ExecStreams> {
    if terminal {
        return fds.pop().map(ExecStreams::Terminal);
    }
    match <[OwnedFd; 3]>::try_from(fds) {
        Ok([stdin, stdout, stderr]) => Some(ExecStreams::Pipes { stdin, stdout, stderr }),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_ends_of_pipes_are_passed_on() {
        let pipe = || std::io::pipe().map(|(read, write)| (OwnedFd::from(read), OwnedFd::from(write))).unwrap();
        let ((input, write), (read, output), (_also, error)) = (pipe(), pipe(), pipe());
        let mut pipes = [input, output, error];
        assert!(check(&pipes).is_ok());
        pipes[2] = std::fs::File::open("/dev/null").unwrap().into();
        let refused = check(&pipes).unwrap_err().to_string();
        assert_eq!(refused, "what was passed as standard error is not the right end of a pipe");
        assert!(check(&[write, pipe().1, pipe().1]).is_err(), "an end to write is no input");
        assert!(check(&[read, pipe().1, pipe().0]).is_err(), "an end to read is no output");
    }
}
