//! `coffer-monitor exec` and `console`.

use std::io;
use std::os::fd::AsFd;

use coffer_runtime_spec::{Answer, Exec, ExecState, RefusalKind, Request, Streams};

use super::arguments::Arguments;
use super::{CommandError, relay, talk};
use crate::{ClientError, MonitorClient};

/// Executes a command and ends as it does.
pub(super) fn exec(arguments: &Arguments) -> Result<u8, CommandError> {
    if arguments.command.is_empty() {
        return Err(CommandError::Usage("the command is missing".into()));
    }
    let mut client = talk::connect(arguments)?;
    let streams = if arguments.tty { Streams::Pty(relay::size()) } else { Streams::Passed };
    let exec = Exec {
        argv: arguments.command.clone(),
        env: environment(arguments),
        cwd: arguments.cwd.clone(),
        uid: arguments.user,
        gid: arguments.group.unwrap_or(arguments.user),
        groups: Vec::new(),
        streams,
        label: None,
    };
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let passed = [input.as_fd(), output.as_fd(), error.as_fd()];
    let fds = if arguments.tty { &[][..] } else { &passed[..] };
    let (answer, answered) = match client.call(Request::Exec(exec), fds) {
        Err(ClientError::Refused(refusal)) if refusal.kind == RefusalKind::NoProgram => return said(127, &refusal),
        Err(ClientError::Refused(refusal)) if refusal.kind == RefusalKind::NotExecutable => return said(126, &refusal),
        other => other?,
    };
    let Answer::Executed { id, .. } = answer else { return Err(unexpected()) };
    if let Some(master) = answered.first() {
        relay::terminal(&mut client, master, Some(id))?;
    }
    wait(&mut client, id)
}

/// Attaches to the console.
pub(super) fn console(arguments: &Arguments) -> Result<u8, CommandError> {
    relay::console(&mut talk::connect(arguments)?).map(|()| 0)
}

fn wait(client: &mut MonitorClient, id: coffer_runtime_spec::ExecId) -> Result<u8, CommandError> {
    let Answer::ExecEnded(status) = client.call(Request::ExecWait { id }, &[])?.0 else { return Err(unexpected()) };
    Ok(match status.state {
        ExecState::Running => 1,
        ExecState::Exited(status) => status,
        ExecState::Killed(signal) => 128 + signal.number() as u8,
    })
}

fn environment(arguments: &Arguments) -> std::collections::BTreeMap<String, String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = std::collections::BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
    if arguments.user == 0 {
        env.insert("HOME".into(), "/root".into());
    }
    if let Some(term) = std::env::var("TERM").ok().filter(|_| arguments.tty) {
        env.insert("TERM".into(), term);
    }
    env.extend(arguments.env.iter().cloned());
    env
}

fn said(status: u8, refusal: &coffer_runtime_spec::Refusal) -> Result<u8, CommandError> {
    use io::Write;
    let _ = writeln!(io::stderr(), "Error: {refusal}");
    Ok(status)
}

fn unexpected() -> CommandError {
    CommandError::Usage("the monitor answered something else".into())
}
