//! How an instance ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ExecStatus, Signal};

/// Why an instance is no longer running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitReason {
    /// It powered off from inside. Source: reboot(2), pid namespaces: init ends by SIGINT.
    Halted,
    /// It asked for a reboot from inside. Source: reboot(2), pid namespaces: init ends by SIGHUP.
    Reboot,
    /// The kernel killed init because the instance's memory was used up.
    Oom,
    /// Init was killed by a signal.
    Signal(Signal),
    /// Init ended by itself with this status, 0 to 255.
    Exit(u8),
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted => f.write_str("halted from inside"),
            Self::Reboot => f.write_str("asked for a reboot"),
            Self::Oom => f.write_str("init was killed because the memory limit was reached"),
            Self::Signal(signal) => write!(f, "init was killed by {signal}"),
            Self::Exit(status) => write!(f, "init ended with status {status}"),
        }
    }
}

/// What a monitor leaves in a file beside its socket when its instance has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExitRecord {
    /// The instance's name.
    pub name: String,
    /// Why it ended.
    pub reason: ExitReason,
    /// Start, in milliseconds since 1970.
    pub started_at: u64,
    /// End, in milliseconds since 1970.
    pub ended_at: u64,
    /// Commands that nobody had collected.
    #[serde(default)]
    pub execs: Vec<ExecStatus>,
}
