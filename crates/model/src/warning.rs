//! Warnings: what an administrator should look at.

use crate::{ProjectName, Time};

/// Something an administrator should look at. There is at most one of each kind for each thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its identity.
    pub id: String,
    /// What is wrong.
    pub kind: WarningKind,
    /// The URL of what it is about, without project; empty for the server.
    pub entity: String,
    /// The project that this is in, if it is in one.
    pub project: Option<ProjectName>,
    /// Whether somebody saw it, or it is over.
    pub status: WarningStatus,
    /// How often it was seen.
    pub count: u64,
    /// When it was first seen.
    pub first_seen_at: Time,
    /// When it was last seen, or was over.
    pub last_seen_at: Time,
    /// What there was to say the last time.
    pub message: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningKind {
    /// A storage pool is not there.
    PoolUnavailable,
    /// A network could not be brought up.
    NetworkUnavailable,
    /// An instance that should start with the daemon did not.
    AutostartFailure,
    /// An instance ended again and again, and is not started any more.
    InstanceKeepsEnding,
    /// The host does not limit processor time.
    NoCpuController,
    /// The host does not bind to processors.
    NoCpusetController,
    /// The host does not limit memory.
    NoMemoryController,
    /// The host does not limit processes.
    NoPidsController,
}

/// How far a warning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningStatus {
    /// Nobody saw it yet.
    New,
    /// Somebody did.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl WarningKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::PoolUnavailable,
        Self::NetworkUnavailable,
        Self::AutostartFailure,
        Self::InstanceKeepsEnding,
        Self::NoCpuController,
        Self::NoCpusetController,
        Self::NoMemoryController,
        Self::NoPidsController,
    ];

    /// LXD's words for it, by which it is kept too.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PoolUnavailable => "Storage pool unavailable",
            Self::NetworkUnavailable => "Network unavailable",
            Self::AutostartFailure => "Failed to autostart instance",
            Self::InstanceKeepsEnding => "Instance ended too often to be restarted",
            Self::NoCpuController => "Couldn't find the CGroup CPU controller",
            Self::NoCpusetController => "Couldn't find the CGroup CPUset controller",
            Self::NoMemoryController => "Couldn't find the CGroup memory controller",
            Self::NoPidsController => "Couldn't find the CGroup pids controller",
        }
    }

    /// The kind with these words.
    #[must_use]
    pub fn from_words(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.words() == words)
    }

    /// LXD's word for how bad it is.
    #[must_use]
    pub fn severity(self) -> &'static str {
        match self {
            Self::PoolUnavailable => "high",
            Self::NetworkUnavailable => "high",
            Self::InstanceKeepsEnding => "moderate",
            Self::AutostartFailure
            | Self::NoCpuController
            | Self::NoCpusetController
            | Self::NoMemoryController
            | Self::NoPidsController => "low",
        }
    }
}

impl WarningStatus {
    /// The API's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::New, Self::Acknowledged, Self::Resolved].into_iter().find(|status| status.word() == word)
    }
}
