//! Operations as they are remembered: who had what done, when, and how it ended.

use std::collections::BTreeMap;

use crate::{ProjectName, Time};

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationClass {
    /// Works by itself.
    Task,
    /// Waits for websockets and works over them.
    Websocket,
    /// Waits until somebody shows its secret.
    Token,
}

impl OperationClass {
    /// The API's word for the kind.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Websocket => "websocket",
            Self::Token => "token",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Task, Self::Websocket, Self::Token].into_iter().find(|class| class.word() == word)
    }
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationStatus {
    /// It works.
    Running,
    /// It did what was asked.
    Success,
    /// It failed; its error says why.
    Failure,
    /// Somebody cancelled it, or the daemon ended before it did.
    Cancelled,
}

impl OperationStatus {
    /// The number that the API gives the state.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Running => 103,
            Self::Success => 200,
            Self::Failure => 400,
            Self::Cancelled => 401,
        }
    }

    /// The API's word for the state.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::Cancelled => "Cancelled",
        }
    }

    /// The state with this word, in whatever case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Success, Self::Failure, Self::Cancelled].into_iter().find(|status| status.word().eq_ignore_ascii_case(word))
    }

    /// Says whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Running
    }
}

/// Who asked for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requestor {
    /// A user's name, or a certificate's fingerprint.
    pub username: String,
    /// How the request came: `unix`, `tls`.
    pub protocol: String,
    /// From where; empty for a unix socket.
    pub address: String,
}

/// An operation as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedOperation {
    /// Its identity.
    pub id: String,
    /// Its kind.
    pub class: OperationClass,
    /// What it did, in words.
    pub description: String,
    /// The project it belonged to, which may be gone.
    pub project: ProjectName,
    /// How it ended.
    pub status: OperationStatus,
    /// Why it failed; empty otherwise.
    pub error: String,
    /// Who asked for it; `None` when the daemon began it by itself.
    pub requestor: Option<Requestor>,
    /// What it concerned: kind (`instances`, `images`, …) → URLs.
    pub resources: BTreeMap<String, Vec<String>>,
    /// When it began.
    pub created_at: Time,
    /// When it ended; `None` while it works.
    pub ended_at: Option<Time>,
}

/// Which remembered operations are wanted; absent parts want all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationQuery {
    /// Of this project.
    pub project: Option<ProjectName>,
    /// That concerned the instance of this name.
    pub instance: Option<String>,
    /// That this user or certificate asked for.
    pub username: Option<String>,
    /// That are in this state.
    pub status: Option<OperationStatus>,
    /// That began then or later.
    pub since: Option<Time>,
    /// That began before then.
    pub until: Option<Time>,
    /// At most so many, the newest.
    pub limit: u32,
}
