//! Events: what happened, told to whoever listens.

use std::sync::Arc;

use coffer_model::{ProjectName, Time};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::operations::OperationView;

/// How many events a listener may lag behind before it loses some.
const BACKLOG: usize = 1024;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened.
    pub timestamp: Time,
    /// The project it belongs to; `None` concerns everybody.
    pub project: Option<ProjectName>,
    /// What happened.
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventBody {
    /// An operation was made or changed.
    Operation(OperationView),
    /// A thing came, changed or went.
    Lifecycle(Lifecycle),
    /// The daemon wrote a line to its log.
    Logging(LogLine),
}

/// A thing came, changed or went.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// LXD's word for it: `instance-started`.
    pub action: &'static str,
    /// The thing's URL without project: `/1.0/instances/web`.
    pub source: String,
    /// More facts.
    pub context: Option<Value>,
    /// Who asked for it; `None` when nobody did.
    pub requestor: Option<Caller>,
}

/// A line of the daemon's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// `debug`, `info`, `warning` or `error`.
    pub level: &'static str,
    /// The text.
    pub message: String,
    /// Its fields.
    pub context: std::collections::BTreeMap<String, String>,
}

/// Who sends a request, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name, or its number where it has none.
    pub username: String,
    /// How it came: `unix`.
    pub protocol: &'static str,
    /// Its address; empty for a unix socket.
    pub address: String,
}

/// Where events are sent and listened to.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0 }
    }
}

impl Events {
    /// Listens to everything from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.sender.subscribe()
    }

    /// Tells all listeners. Costs nothing when there are none.
    pub fn send(&self, project: Option<ProjectName>, body: EventBody) {
        if self.sender.receiver_count() > 0 {
            let event = Event { timestamp: Time::now(), project, body };
            let _ = self.sender.send(Arc::new(event));
        }
    }

    /// Tells all listeners that a thing came, changed or went.
    pub fn lifecycle(&self, project: Option<&ProjectName>, action: &'static str, source: String, requestor: Option<&Caller>) {
        let body = Lifecycle { action, source, context: None, requestor: requestor.cloned() };
        self.send(project.cloned(), EventBody::Lifecycle(body));
    }
}
