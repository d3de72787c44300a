//! Events: what happened, told to whoever listens, and kept for a while for who listens later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coffer_model::{ProjectName, Time};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::operations::OperationView;

/// How many events a listener may lag behind before it loses some, and how many are kept for who comes back.
const BACKLOG: usize = 1024;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number. Numbers grow by one, and over restarts too: each life of the daemon begins at the microsecond of its start.
    pub sequence: u64,
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sender: broadcast::Sender<Arc<Event>>,
    kept: Mutex<Kept>,
}

/// The last events, and the number of the next.
#[derive(Debug)]
struct Kept {
    next: u64,
    events: VecDeque<Arc<Event>>,
}

/// What a listener gets that comes back.
#[derive(Debug)]
pub struct Replay {
    /// The events after the one it knows, as far as they are kept.
    pub events: Vec<Arc<Event>>,
    /// If events between are lost: the number of the first that is told.
    pub gap: Option<u64>,
    /// What happens from now on.
    pub rest: broadcast::Receiver<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self::starting_at(Time::now().as_microsecond().unsigned_abs())
    }
}

impl Events {
    fn starting_at(next: u64) -> Self {
        let kept = Kept { next, events: VecDeque::new() };
        Self { shared: Arc::new(Shared { sender: broadcast::channel(BACKLOG).0, kept: Mutex::new(kept) }) }
    }

    /// Listens to everything from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.sender.subscribe()
    }

    /// Listens to everything after the event with a number; what is not kept any more is named as a gap.
    #[must_use]
    pub fn listen_since(&self, sequence: u64) -> Replay {
        let kept = self.kept();
        let events: Vec<_> = kept.events.iter().filter(|event| event.sequence > sequence).cloned().collect();
        let first = events.first().map_or(kept.next, |event| event.sequence);
        // A number that was not given yet is one of another life: what happened since is not known.
        let gap = (sequence >= kept.next || first > sequence + 1).then_some(first);
        Replay { events, gap, rest: self.shared.sender.subscribe() }
    }

    /// Tells all listeners, and keeps it for who listens later.
    pub fn send(&self, project: Option<ProjectName>, body: EventBody) {
        let timestamp = Time::now();
        let mut kept = self.kept();
        let event = Arc::new(Event { sequence: kept.next, timestamp, project, body });
        kept.next += 1;
        let oldest = if kept.events.len() == BACKLOG { kept.events.pop_front() } else { None };
        kept.events.push_back(event.clone());
        // Under the lock, so that listeners hear events in the order of their numbers. That nobody listens is no error.
        let _ = self.shared.sender.send(event);
        drop(kept);
        drop(oldest);
    }

    /// Tells all listeners that a thing came, changed or went.
    pub fn lifecycle(&self, project: Option<&ProjectName>, action: &'static str, source: String, requestor: Option<&Caller>) {
        self.lifecycle_with(project, action, source, None, requestor);
    }

    /// Like [`Events::lifecycle`], with more facts.
    pub fn lifecycle_with(
        &self,
        project: Option<&ProjectName>,
        action: &'static str,
        source: String,
        context: Option<Value>,
        requestor: Option<&Caller>,
    ) {
        let body = Lifecycle { action, source, context, requestor: requestor.cloned() };
        self.send(project.cloned(), EventBody::Lifecycle(body));
    }

    /// Like [`Events::lifecycle`], of something that has a new name: `source` is by that, `old` what it was called before.
    pub fn renamed(
        &self,
        project: Option<&ProjectName>,
        action: &'static str,
        source: String,
        old: impl std::fmt::Display,
        requestor: Option<&Caller>,
    ) {
        self.lifecycle_with(project, action, source, Some(serde_json::json!({ "old_name": old.to_string() })), requestor);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: u64, since: u64, expect: (Vec<u64>, Option<u64>)) {
        let events = Events::starting_at(100);
        (0..sent).for_each(|_| events.lifecycle(None, "config-updated", "/1.0".into(), None));
        let replay = events.listen_since(since);
        let told: Vec<u64> = replay.events.iter().map(|event| event.sequence).collect();
        let shown = if told.len() > 4 { vec![told[0], told[told.len() - 1]] } else { told };
        assert_eq!((shown, replay.gap), expect, "{sent} sent, since {since}");
    }

    #[test]
    fn who_comes_back_hears_what_was_missed_or_that_something_is_lost() {
        check(0, 99, (vec![], None));
        check(3, 99, (vec![100, 101, 102], None));
        check(3, 100, (vec![101, 102], None));
        check(3, 102, (vec![], None));
        check(3, 50, (vec![100, 101, 102], Some(100)));
        check(0, 50, (vec![], Some(100)));
        check(3, 103, (vec![], Some(103)));
        check(3, u64::MAX, (vec![], Some(103)));
        check(1030, 105, (vec![106, 1129], None));
        check(1030, 104, (vec![106, 1129], Some(106)));
    }

    #[tokio::test]
    async fn nothing_is_lost_or_told_twice_between_what_is_kept_and_what_comes() {
        let events = Events::starting_at(1);
        let sender = events.clone();
        let sending = std::thread::spawn(move || (0..500).for_each(|_| sender.lifecycle(None, "config-updated", "/1.0".into(), None)));
        let mut replay = events.listen_since(0);
        sending.join().unwrap();
        let mut told: Vec<u64> = replay.events.iter().map(|event| event.sequence).collect();
        while let Ok(event) = replay.rest.try_recv() {
            told.push(event.sequence);
        }
        assert_eq!(told, (1..=500).collect::<Vec<_>>());
    }
}
