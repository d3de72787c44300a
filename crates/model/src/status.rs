//! The states of an instance and which lead to which.
//!
//! ```text
//!              start                    up
//!   Stopped ----------> Starting ----------------> Running <---------+
//!      ^                    |                      |  |   \  freeze  | unfreeze
//!      |      failed        |          stop        |  |    +----> Frozen
//!      +--------------------+    +-----------------+  |              |
//!      |                         v                    | exits        | killed
//!      +-------------------- Stopping                 |              |
//!      +----------------------------------------------+--------------+
//! ```

use std::fmt;

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// No process runs.
    Stopped,
    /// It is being started.
    Starting,
    /// Its init runs.
    Running,
    /// It was asked to stop.
    Stopping,
    /// Its processes are frozen.
    Frozen,
    /// Its state cannot be read or its last start was cut off.
    Error,
}

impl Status {
    /// The number that the API gives the state.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Stopped => 102,
            Self::Running => 103,
            Self::Starting => 106,
            Self::Stopping => 107,
            Self::Frozen => 110,
            Self::Error => 112,
        }
    }

    /// Says whether processes of the instance exist.
    #[must_use]
    pub fn is_up(self) -> bool {
        match self {
            Self::Running | Self::Frozen | Self::Stopping => true,
            Self::Stopped | Self::Starting | Self::Error => false,
        }
    }

    /// Says whether the instance may go from this state to another.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Stopped | Self::Error, Self::Starting)
                | (Self::Starting, Self::Running | Self::Stopped)
                | (Self::Running, Self::Stopping | Self::Frozen | Self::Stopped)
                | (Self::Frozen, Self::Running | Self::Stopping | Self::Stopped)
                | (Self::Stopping, Self::Stopped | Self::Running | Self::Frozen)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "Stopped",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Frozen => "Frozen",
            Self::Error => "Error",
        })
    }
}
