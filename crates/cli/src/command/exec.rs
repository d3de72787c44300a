//! `exec` and `shell`: commands inside instances.

mod pipes;
mod signals;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::thread;

use clap::{Args, ValueEnum};
use coffer_api::InstanceExecPost;
use coffer_client::websocket::{Flow, Outgoing, pump};
use coffer_client::{ClientError, Ended, ExecStreams, Started};
use tokio::sync::oneshot;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::pair;
use crate::target::Target;
use crate::terminal::{self, RawMode};
use signals::Signals;

/// Run a command inside an instance
///
/// The command is run as it is, without a shell in between: for pipes and variables run a shell yourself, as in
/// `coffer exec web -- sh -c 'cd /tmp && pwd'`. It gets a terminal if input and output are one.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
    /// Command and arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Directory to run it in; the user's home unless said
    #[arg(long, value_name = "DIRECTORY", default_value = "", hide_default_value = true)]
    cwd: String,
    /// Environment variable to set
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// User id to run it as
    #[arg(long, value_name = "UID", default_value_t = 0)]
    user: u32,
    /// Group id to run it as
    #[arg(long, value_name = "GID", default_value_t = 0)]
    group: u32,
    /// Whether it gets a terminal
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Give it a terminal
    #[arg(short = 't', long, conflicts_with = "force_noninteractive")]
    force_interactive: bool,
    /// Give it no terminal
    #[arg(short = 'T', long)]
    force_noninteractive: bool,
    /// Give it no input
    #[arg(short = 'n', long)]
    disable_stdin: bool,
}

/// Open a root shell inside an instance
#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
}

/// Whether a command gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Auto,
    Interactive,
    NonInteractive,
}

impl Shell {
    pub(crate) async fn run(self, app: &App) -> Result<i32, CliError> {
        // The smallest images have no su.
        let login = "if command -v su >/dev/null; then exec su -l; else exec sh -l; fi";
        let command = ["sh", "-c", login].map(str::to_owned).to_vec();
        let request = request(command, terminal::is_interactive(), BTreeMap::new());
        session(app, &self.instance, &request, true).await
    }
}

impl Exec {
    pub(crate) async fn run(self, app: &App) -> Result<i32, CliError> {
        let interactive = match self.mode {
            _ if self.force_interactive => true,
            _ if self.force_noninteractive => false,
            Mode::Interactive => true,
            Mode::NonInteractive => false,
            Mode::Auto => !self.disable_stdin && terminal::is_interactive(),
        };
        let environment = self.env.iter().map(|argument| pair(argument)).collect::<Result<_, _>>()?;
        let mut request = request(self.command, interactive, environment);
        request.user = self.user;
        request.group = self.group;
        request.cwd = self.cwd;
        session(app, &self.instance, &request, !self.disable_stdin).await
    }
}

fn request(command: Vec<String>, interactive: bool, mut environment: BTreeMap<String, String>) -> InstanceExecPost {
    if let Ok(terminal) = std::env::var("TERM") {
        environment.entry("TERM".to_owned()).or_insert(terminal);
    }
    let (width, height) = if interactive { terminal::size() } else { (0, 0) };
    InstanceExecPost {
        command,
        wait_for_websocket: true,
        interactive,
        environment,
        width: width.into(),
        height: height.into(),
        ..Default::default()
    }
}

/// Runs the command to its end and returns its exit code.
async fn session(app: &App, instance: &Target, request: &InstanceExecPost, with_input: bool) -> Result<i32, CliError> {
    let with_input = with_input && !is_null(io::stdin());
    let client = app.client(instance)?;
    let session = match client.start_exec(instance.required("the instance's name")?, request).await? {
        Started::Pipes(session) => return pipes::session(app, session, with_input).await,
        Started::Sockets(session) => *session,
    };
    let end = session.end();
    let (control_in, control) = session.control.split();
    let mut flows = vec![Flow::drained(control_in)];
    let ended = match session.streams {
        ExecStreams::Terminal(socket) => {
            let _raw = if with_input && terminal::is_interactive() { Some(RawMode::enter()?) } else { None };
            let (incoming, outgoing) = socket.split();
            flows.push(Flow::to(incoming, Box::new(own(io::stdout())?)));
            feed(outgoing.clone(), with_input)?;
            // The server takes the end of the input for the end of the session, and this input would never end by itself.
            follow(end, drain(flows, Some(outgoing)), &control, true).await
        }
        ExecStreams::Pipes { stdin, stdout, stderr } => {
            let (incoming, outgoing) = stdin.split();
            flows.push(Flow::drained(incoming));
            flows.push(Flow::to(stdout.split().0, Box::new(own(io::stdout())?)));
            flows.push(Flow::to(stderr.split().0, Box::new(own(io::stderr())?)));
            feed(outgoing, with_input)?;
            follow(end, drain(flows, None), &control, false).await
        }
    }?;
    if !ended.error.is_empty() {
        app.complain(&format!("Error: {}", crate::render::clean_lines(&ended.error)));
    }
    Ok(ended.code)
}

/// Duplicates a standard stream, to use it without the library's buffers and locks.
fn own(stream: impl AsFd) -> Result<File, CliError> {
    let owned = stream.as_fd().try_clone_to_owned();
    owned.map(File::from).map_err(|cause| CliError::Stream { stream: "streams", cause })
}

/// Tells whether a stream is `/dev/null`, whose end is known without a thread that reads it.
fn is_null(stream: impl AsFd) -> bool {
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::fstat(stream).is_ok_and(|stat| stat.st_rdev == null && rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device())
}

/// Copies standard input to the command in the background, or marks its end at once.
fn feed(outgoing: Outgoing, with_input: bool) -> Result<(), CliError> {
    if with_input {
        let input = own(io::stdin())?;
        // The command may well end before its input does.
        thread::spawn(move || outgoing.copy_from(input));
    } else {
        // A command that has ended already needs to hear nothing.
        let _ = outgoing.mark_end();
    }
    Ok(())
}

/// Copies the command's outputs in the background and tells how that ended; then closes `last`.
fn drain(flows: Vec<Flow>, last: Option<Outgoing>) -> oneshot::Receiver<io::Result<()>> {
    let (sender, drained) = oneshot::channel();
    thread::spawn(move || {
        let outcome = pump(flows);
        if let Some(last) = last {
            last.close();
        }
        let _ = sender.send(outcome);
    });
    drained
}

/// Waits for the command's end and the end of its outputs, passing on signals and sizes meanwhile.
async fn follow(
    end: impl Future<Output = Result<Ended, ClientError>>,
    mut drained: oneshot::Receiver<io::Result<()>>,
    control: &Outgoing,
    interactive: bool,
) -> Result<Ended, CliError> {
    let mut end = std::pin::pin!(end);
    let mut signals = Signals::listen(interactive);
    let mut flowing = true;
    let broken = |cause| CliError::Stream { stream: "output", cause };
    let ended = loop {
        tokio::select! {
            ended = &mut end => break ended?,
            outcome = &mut drained, if flowing => {
                flowing = false;
                if let Ok(Err(cause)) = outcome {
                    // Nobody reads the output any more: closing the control socket ends the command.
                    control.close();
                    return Err(broken(cause));
                }
            }
            message = signals.next() => {
                // A server that is gone can be told nothing, which the end tells too.
                let _ = control.send_text(&serde_json::to_string(&message).unwrap_or_default());
            }
        }
    };
    if flowing {
        drained.await.unwrap_or(Ok(())).map_err(broken)?;
    }
    Ok(ended)
}
