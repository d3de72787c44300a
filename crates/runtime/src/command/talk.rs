//! `coffer-monitor stop` and `status`.

use std::path::Path;

use coffer_runtime_spec::{Answer, Report, Request, Signal};

use super::arguments::Arguments;
use super::{CommandError, say};
use crate::{ClientError, MonitorClient};

/// Connects to the monitor that the arguments name.
pub(super) fn connect(arguments: &Arguments) -> Result<MonitorClient, CommandError> {
    let socket = arguments.socket.as_ref().ok_or_else(|| CommandError::Usage("--socket is missing".into()))?;
    Ok(MonitorClient::connect(Path::new(socket))?)
}

/// Stops the instance and waits for its end.
pub(super) fn stop(arguments: &Arguments) -> Result<u8, CommandError> {
    let mut client = connect(arguments)?;
    client.call(Request::Subscribe, &[])?;
    let request = if arguments.force { Request::Kill { signal: Signal::KILL } } else { Request::Stop };
    client.call(request, &[])?;
    loop {
        match client.next_report() {
            Ok(Report::Exited { .. }) | Err(ClientError::Gone) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Shows the state.
pub(super) fn status(arguments: &Arguments) -> Result<u8, CommandError> {
    let mut client = connect(arguments)?;
    let (answer, _) = client.call(Request::Status, &[])?;
    let Answer::Status(status) = answer else { return Err(CommandError::Usage("the monitor answered something else".into())) };
    let told = |cause: serde_json::Error| CommandError::System { doing: "writing the state", cause: cause.into() };
    say(&(serde_json::to_string_pretty(&status).map_err(told)? + "\n"))
}
