//! What may be asked of a monitor, and what it says.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Device, ExitReason, Limits, Mount, Mounting, Nic, Proxy, Signal, Spec, Stage};

/// A request with the caller's number for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Comes back in the answer.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What may be asked. Descriptors travel with the message, in the order named.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Makes the control groups of the instance that is to be started next, while its caller still prepares the rest. A start
    /// that names others makes its own.
    Prepare {
        /// As in the spec that will come.
        cgroup: String,
    },
    /// Removes what [`Request::Prepare`] made: there will be no start.
    Discard,
    /// Starts the instance. Descriptors: those that the spec names by position.
    Start {
        /// What to start.
        spec: Box<Spec>,
        /// Where later callers connect: the position of a directory's descriptor, and a file name in it. The exit
        /// record is the file of that name with `.exit` added.
        #[serde(default)]
        listen: Option<Listen>,
    },
    /// Executes a command. Descriptors: standard input, output and error for [`Streams::Passed`]; files for output and errors,
    /// or none, for [`Streams::Recorded`].
    Exec(Exec),
    /// Sends a signal to an executed command.
    ExecSignal {
        /// Which one.
        id: ExecId,
        /// The signal.
        signal: Signal,
    },
    /// Tells an executed command the size of its terminal.
    ExecResize {
        /// Which one.
        id: ExecId,
        /// The new size.
        size: WindowSize,
    },
    /// Says that nobody will read the command's output any more: the monitor closes what it holds of the streams, so
    /// that the command gets its hang-up or broken pipe.
    ExecRelease {
        /// Which one.
        id: ExecId,
    },
    /// Answers when the command has ended, and forgets it.
    ExecWait {
        /// Which one.
        id: ExecId,
    },
    /// Lists the executed commands that nobody has waited for.
    ExecList,
    /// Attaches a viewer to the console. Descriptors: one stream socket or terminal, read and written.
    ConsoleAttach {
        /// The viewer first gets the kept output.
        #[serde(default)]
        replay: bool,
    },
    /// Tells the console its size.
    ConsoleResize {
        /// The new size.
        size: WindowSize,
    },
    /// Answers with the kept output of the console. Descriptors of the answer: a file.
    ConsoleLog,
    /// Forgets the kept output of the console.
    ConsoleClear,
    /// Sends a signal to init.
    Kill {
        /// The signal.
        signal: Signal,
    },
    /// Sends init its halt signal.
    Stop,
    /// Stops all processes; answers when they stand.
    Freeze,
    /// Lets them go on.
    Thaw,
    /// Replaces the limits.
    SetLimits {
        /// All limits; absent ones become unlimited.
        limits: Box<Limits>,
    },
    /// Replaces what an intercepted `mount` may be of; it counts where it was intercepted from the start on.
    SetMounting {
        /// All there is to say.
        mounting: Box<Mounting>,
    },
    /// Moves a network interface in.
    AttachNic {
        /// The interface.
        nic: Nic,
    },
    /// Takes a network interface out.
    DetachNic {
        /// Its name inside.
        name: String,
        /// Its name outside afterwards; absent: it is deleted.
        #[serde(default)]
        host_name: Option<String>,
    },
    /// Attaches a mount. Descriptors: the one that the mount names by position.
    AttachMount {
        /// The mount.
        mount: Box<Mount>,
    },
    /// Unmounts.
    DetachMount {
        /// Where, as a path inside.
        target: String,
    },
    /// Makes a device node and allows its use.
    AttachDevice {
        /// The node.
        device: Device,
    },
    /// Removes a device node and forbids the use of its device, unless another node of the spec is for the same one.
    DetachDevice {
        /// Where it is inside.
        path: String,
    },
    /// Hands connections on from now on; answered when all sockets are listened at.
    AttachProxy {
        /// The proxy.
        proxy: Box<Proxy>,
    },
    /// Ends a proxy and its connections.
    DetachProxy {
        /// Its name.
        name: String,
    },
    /// Answers with the state.
    Status,
    /// Answers with handles. Descriptors of the answer: init's pidfd, its network namespace, its user namespace, and its
    /// root directory as it sees it.
    Handles,
    /// Sends reports to this connection from now on.
    Subscribe,
}

/// Where a monitor listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Position of the directory's descriptor.
    pub directory: u32,
    /// Name of the socket in it.
    pub name: String,
}

/// The number of an executed command, unique for a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecId(pub u64);

impl fmt::Display for ExecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A command to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exec {
    /// Program and arguments. A program without a slash is looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: String,
    /// User inside.
    #[serde(default)]
    pub uid: u32,
    /// Group inside.
    #[serde(default)]
    pub gid: u32,
    /// Supplementary groups inside, exactly these.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Its standard streams.
    pub streams: Streams,
    /// The caller's own note on the command, which its status carries to whoever asks, also a later caller. The monitor does
    /// not look at it.
    #[serde(default)]
    pub label: Option<ExecLabel>,
}

/// A short note of a caller's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecLabel(String);

impl ExecLabel {
    /// Most bytes of a label: statuses of a thousand commands must fit in a message.
    pub const MOST_BYTES: usize = 2048;

    /// Takes a text of at most [`ExecLabel::MOST_BYTES`].
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        (text.len() <= Self::MOST_BYTES).then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ExecLabel> for String {
    fn from(label: ExecLabel) -> Self {
        label.0
    }
}

impl TryFrom<String> for ExecLabel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text).ok_or_else(|| format!("a label has at most {} bytes", Self::MOST_BYTES))
    }
}

/// Standard streams of an executed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Streams {
    /// A new terminal of the instance. Descriptors of the answer: its master. The monitor keeps a copy, so that the
    /// session outlives the caller; see [`Request::ExecRelease`].
    Pty(WindowSize),
    /// Three new pipes. Descriptors of the answer: write end of standard input, read ends of standard output and error.
    /// The monitor keeps copies of the read ends; see [`Request::ExecRelease`].
    Pipes,
    /// Its input is empty, and the monitor itself reads its output and errors, whatever becomes of the caller: it writes up to
    /// this many bytes of each to the two files that came with the request, or drops them where none came.
    Recorded {
        /// Most bytes that are kept of each.
        most: u64,
    },
    /// The descriptors that came with the request.
    Passed,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What a monitor sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The answer to a call.
    Answer {
        /// The call's number.
        id: u64,
        /// What came of it.
        result: Result<Answer, Refusal>,
    },
    /// Something happened.
    Report(Report),
}

/// What comes of a request that was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Done.
    Done,
    /// The instance runs. The descriptors are those of [`Handles`].
    Started {
        /// Init's process id on the host.
        pid: u32,
        /// Things that did not work and are not needed.
        warnings: Vec<String>,
    },
    /// The command runs: its program was found and executed.
    Executed {
        /// The number to name it by.
        id: ExecId,
        /// Its process id on the host.
        pid: u32,
    },
    /// The command has ended.
    ExecEnded(ExecStatus),
    /// Commands.
    Execs(Vec<ExecStatus>),
    /// The kept output of the console is in the descriptor.
    ConsoleLog {
        /// Its length in bytes.
        length: u64,
    },
    /// The state.
    Status(Box<Status>),
    /// Handles are in the descriptors.
    Handles(Handles),
}

/// What the descriptors of a handles answer are, in this order: init's pidfd, its network namespace, its user
/// namespace (the monitor's own for a privileged instance), its root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handles {
    /// Init's process id on the host.
    pub pid: u32,
}

/// One executed command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStatus {
    /// Its number.
    pub id: ExecId,
    /// Its process id on the host.
    pub pid: u32,
    /// Whether it runs still.
    pub state: ExecState,
    /// The caller's note on it.
    #[serde(default)]
    pub label: Option<ExecLabel>,
}

/// Whether a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecState {
    /// It runs.
    Running,
    /// It ended with this status, 0 to 255.
    Exited(u8),
    /// It was killed by this signal.
    Killed(Signal),
}

impl ExecState {
    /// The exit status a shell would see: 128 plus the signal for a killed command.
    #[must_use]
    pub fn shell_status(self) -> Option<i32> {
        match self {
            Self::Running => None,
            Self::Exited(status) => Some(status.into()),
            Self::Killed(signal) => Some(128 + signal.number()),
        }
    }
}

/// The state of a monitor and its instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The instance's name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Init's process id on the host.
    pub pid: u32,
    /// The monitor's own process id.
    pub monitor_pid: u32,
    /// Start, in milliseconds since 1970.
    pub started_at: u64,
    /// The instance's control group.
    pub cgroup: String,
    /// Version of the monitor.
    pub version: String,
    /// Commands that nobody has waited for.
    pub execs: Vec<ExecStatus>,
}

/// The states of an instance that has a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing was started yet.
    Idle,
    /// The start is under way.
    Starting,
    /// It runs.
    Running,
    /// Its processes stand.
    Frozen,
    /// Init has ended; the monitor is about to.
    Ended,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The instance runs.
    Started {
        /// Init's process id on the host.
        pid: u32,
    },
    /// The start failed; nothing is left of it.
    StageFailed(Refusal),
    /// The instance has ended and nothing is left of it. The monitor ends too.
    Exited {
        /// Why.
        reason: ExitReason,
    },
    /// An executed command has ended.
    ExecExited(ExecStatus),
    /// Something did not work and is not needed.
    Warning(String),
}

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its class.
    pub kind: RefusalKind,
    /// Where it happened, for a start or an exec.
    #[serde(default)]
    pub stage: Option<Stage>,
    /// The kernel's error number, where there is one.
    #[serde(default)]
    pub errno: Option<i32>,
    /// What happened, in words that name the thing.
    pub text: String,
}

/// Classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The request makes no sense.
    Invalid,
    /// The instance is not in a state for it.
    State,
    /// There is no such exec, interface, mount or device.
    NotFound,
    /// The program to execute does not exist: a shell says status 127.
    NoProgram,
    /// The program cannot be executed: a shell says status 126.
    NotExecutable,
    /// A step failed.
    Failed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Some(stage) => write!(f, "{stage}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Refusal {}
