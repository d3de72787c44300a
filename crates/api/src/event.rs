//! What the events websocket carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;

/// The kinds of events a listener may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An operation was made or changed; metadata is the [`Operation`](crate::Operation).
    #[default]
    Operation,
    /// Something happened to an object; metadata is a [`Lifecycle`].
    Lifecycle,
    /// A log line; metadata is a [`Logging`].
    Logging,
}

impl EventKind {
    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Operation => "operation",
            EventKind::Lifecycle => "lifecycle",
            EventKind::Logging => "logging",
        }
    }

    /// Finds the kind by its word on the wire.
    pub fn from_text(text: &str) -> Option<EventKind> {
        [EventKind::Operation, EventKind::Lifecycle, EventKind::Logging].into_iter().find(|kind| kind.as_str() == text)
    }
}

wire! {
    /// One message of the events websocket.
    pub struct Event {
        /// Kind: `operation`, `lifecycle`, `logging`; newer servers may send others.
        #[serde(rename = "type")]
        pub kind: String,
        /// When it happened.
        pub timestamp: Timestamp,
        /// The event itself.
        pub metadata: Value,
        /// Cluster member, `none` without a cluster.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub location: String,
        /// Project it belongs to; empty for events of the whole server.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
        /// Its number; numbers grow. Beside LXD's fields; absent from other servers.
        #[serde(skip_serializing_if = "is_zero")]
        pub sequence: u64,
    }

    /// Metadata of an event of type `gap`, which only listeners with `since` get: what happened between is lost.
    pub struct EventGap {
        /// The number that the listener knows.
        pub since: u64,
        /// The number of the first event that it is told.
        pub first: u64,
    }

    /// Metadata of a lifecycle event.
    pub struct Lifecycle {
        /// Kind of object and what happened, as in `instance-started`.
        pub action: String,
        /// URL of the object, with `?project=` outside the default project.
        pub source: String,
        /// Details of the action.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub context: Option<BTreeMap<String, Value>>,
        /// Who asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub requestor: Option<LifecycleRequestor>,
    }

    /// Who asked for what a lifecycle event tells.
    pub struct LifecycleRequestor {
        /// User name or certificate fingerprint.
        pub username: String,
        /// `unix`, `tls` …
        pub protocol: String,
        /// Address of the peer, `@` on the unix socket.
        pub address: String,
    }

    /// Metadata of a logging event.
    pub struct Logging {
        /// The line.
        pub message: String,
        /// `debug`, `info`, `warning`, `error`.
        pub level: String,
        /// Fields of the line.
        pub context: BTreeMap<String, String>,
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
