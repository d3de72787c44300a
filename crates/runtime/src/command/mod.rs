//! The command line of `coffer-monitor`: instances by hand, without any daemon.

mod arguments;
mod exec;
mod nurse;
mod relay;
mod run;
mod talk;

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use coffer_runtime_spec::{Connection, SpecError};
use coffer_sys::process;
use coffer_sys::socket::PacketSocket;

use crate::{ClientError, monitor};
use arguments::{Arguments, Verb};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The command line makes no sense.
    #[error("{0}; see coffer-monitor --help")]
    Usage(String),
    /// The spec file cannot be read.
    #[error("reading spec {path}")]
    ReadSpec {
        /// The file.
        path: String,
        #[source]
        cause: std::io::Error,
    },
    /// The spec file is no spec.
    #[error("spec {path} is not understood")]
    ParseSpec {
        /// The file.
        path: String,
        #[source]
        cause: serde_json::Error,
    },
    /// The spec makes no sense.
    #[error("spec {path} is wrong")]
    Spec {
        /// The file.
        path: String,
        #[source]
        cause: SpecError,
    },
    /// The monitor's program cannot be started.
    #[error("starting a monitor")]
    Spawn(#[source] std::io::Error),
    /// Standard input is no monitor's socket.
    #[error("standard input is no socket; this verb is for the daemon")]
    NoSocket(#[source] std::io::Error),
    /// The monitor said no or is not there.
    #[error("{0}")]
    Client(#[source] ClientError),
    /// Something around the command failed.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        #[source]
        cause: std::io::Error,
    },
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let done = Arguments::parse(&arguments).map_err(CommandError::Usage).and_then(|arguments| match arguments.verb {
        Verb::Serve => serve(),
        Verb::Nurse => match arguments.command.as_slice() {
            [group] => nurse::nurse(group),
            _ => Err(CommandError::Usage("nurse needs a control group".into())),
        },
        Verb::Help => say(arguments::HELP),
        Verb::Version => say(concat!("coffer-monitor ", env!("CARGO_PKG_VERSION"), "\n")),
        Verb::Run => run::run(&arguments),
        Verb::Exec => exec::exec(&arguments),
        Verb::Console => exec::console(&arguments),
        Verb::Stop => talk::stop(&arguments),
        Verb::Status => talk::status(&arguments),
    });
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {}", coffer_base::chain(&error));
            ExitCode::from(1)
        }
    }
}

/// Becomes the monitor that talks over standard input.
fn serve() -> Result<u8, CommandError> {
    let system = |doing| move |cause: std::io::Error| CommandError::System { doing, cause };
    let socket = take_socket()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    monitor::serve(Connection::new(PacketSocket::from_fd(socket))).map_err(system("running the event loop"))?;
    Ok(0)
}

/// Takes the daemon's socket from standard input, and takes leave of all else that was inherited.
fn take_socket() -> Result<OwnedFd, CommandError> {
    let system = |doing| move |cause: std::io::Error| CommandError::System { doing, cause };
    // Whatever whoever started the daemon left open would stay open as long as the instance runs.
    process::close_from(3).map_err(system("closing what was left open"))?;
    let socket = process::take_stdin().map_err(CommandError::NoSocket)?;
    coffer_sys::socket::peer(socket.as_fd()).map_err(CommandError::NoSocket)?;
    process::set_dumpable(false).map_err(system("refusing to be traced"))?;
    process::set_name(c"coffer-monitor").map_err(system("setting the process name"))?;
    // A session of our own: signals for the daemon's terminal or group are not for us.
    rustix::process::setsid().map_err(|error| system("starting a session")(error.into()))?;
    Ok(socket)
}

/// Writes to standard output.
fn say(text: &str) -> Result<u8, CommandError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|cause| CommandError::System { doing: "writing", cause })?;
    Ok(0)
}
