//! The log of operations: who had what done, when, and how it ended.
//!
//! Nobody waits for it. A thread of its own gathers for a moment and writes all at once, without waiting for the disk; who
//! reads the log sees what was noted before.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use coffer_base::chain;
use coffer_model::{Config, Expiry, LoggedOperation, OperationQuery, Requestor, Time};
use coffer_store::{Store, StoreError, operation_log};
use uuid::Uuid;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::OperationView;
use crate::request::Scope;

/// How long notes are gathered before they are written. A daemon that is killed loses as much at most.
const GATHERED: Duration = Duration::from_millis(250);

/// How many notes are written at once at most.
const BATCH: usize = 512;

/// How many operations are kept unless said: about 4 MiB.
const ENTRIES: u64 = 10_000;

/// What is said of operations that a daemon left behind.
const CUT_OFF: &str = "the daemon ended before the operation did";

/// Where operations are noted. Cheap to clone; the writing thread ends with the last one.
#[derive(Debug, Clone)]
pub struct OperationLog(Option<Sender<Message>>);

#[derive(Debug)]
enum Message {
    /// How an operation is now.
    Note(Box<LoggedOperation>),
    /// Somebody wants to read: told when all that came before is written.
    Read(SyncSender<()>),
}

impl OperationLog {
    /// Begins to write, after the operations that the last daemon left were ended.
    ///
    /// # Errors
    /// If the store refuses, or there is no room for a thread.
    pub(crate) fn begin(store: &Arc<Store>) -> Result<Self, EngineError> {
        if store.read(operation_log::any_running)? {
            store.write(|tx| operation_log::cut_off(tx, CUT_OFF, Time::now()))?;
        }
        let (sender, receiver) = channel();
        // A thread that held the store would keep its file open beyond the engine's end.
        let store = Arc::downgrade(store);
        let started =
            std::thread::Builder::new().name("operation-log".into()).stack_size(256 << 10).spawn(move || write(&store, &receiver));
        started.map_err(|cause| EngineError::system("starting the thread that writes the log of operations", cause))?;
        Ok(Self(Some(sender)))
    }

    /// A log that keeps nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Notes how an operation is now.
    pub(crate) fn note(&self, view: &OperationView) {
        if let Some(sender) = &self.0 {
            // The thread is there as long as this is.
            let _ = sender.send(Message::Note(Box::new(entry(view))));
        }
    }

    /// Waits until all that was noted so far is written.
    pub(crate) fn settle(&self) {
        let Some(sender) = &self.0 else { return };
        let (done, written) = sync_channel(1);
        if sender.send(Message::Read(done)).is_ok() {
            let _ = written.recv();
        }
    }
}

impl Engine {
    /// Reads the log of operations, the newest first.
    ///
    /// # Errors
    /// Only the store's.
    pub fn logged_operations(&self, scope: &Scope, query: OperationQuery) -> Result<Vec<LoggedOperation>, EngineError> {
        self.settle_operation_log();
        let project = match scope {
            Scope::Project(project) => Some(project.clone()),
            Scope::All => None,
        };
        let query = OperationQuery { project, ..query };
        Ok(self.inner.store.read(|conn| operation_log::find(conn, &query))?)
    }

    /// Waits until the log of operations is written, for the end of the daemon.
    pub fn settle_operation_log(&self) {
        self.operations().log().settle();
    }

    /// Cancels an operation.
    ///
    /// # Errors
    /// If there is none with this identity, or it cannot be cancelled.
    pub fn cancel_operation(&self, caller: &Caller, id: Uuid) -> Result<(), EngineError> {
        let project = self.operations().get(id).map(|view| view.project);
        self.operations().cancel(id)?;
        self.events().lifecycle(project.as_ref(), "operation-cancelled", format!("/1.0/operations/{id}"), Some(caller));
        Ok(())
    }
}

fn entry(view: &OperationView) -> LoggedOperation {
    let requestor = |caller: &Caller| Requestor {
        username: caller.username.clone(),
        protocol: caller.protocol.to_owned(),
        address: caller.address.clone(),
    };
    LoggedOperation {
        id: view.id.to_string(),
        class: view.class,
        description: view.description.to_owned(),
        project: view.project.clone(),
        status: view.status,
        error: view.err.clone(),
        requestor: view.requestor.as_ref().map(requestor),
        resources: view.resources.iter().map(|(kind, urls)| ((*kind).to_owned(), urls.clone())).collect(),
        created_at: view.created_at,
        ended_at: view.status.is_final().then_some(view.updated_at),
    }
}

/// Writes what comes until nobody notes any more.
fn write(store: &Weak<Store>, messages: &Receiver<Message>) {
    while let Ok(first) = messages.recv() {
        let (notes, readers) = gather(first, messages);
        let written = store.upgrade().map_or(Ok(()), |store| keep(&store, &notes));
        if let Err(error) = written {
            tracing::error!("writing {} entries of the log of operations: {}", notes.len(), chain(&error));
        }
        for reader in readers {
            let _ = reader.send(());
        }
    }
}

/// Takes what comes within a moment; of an operation only how it was last. Whoever reads ends the moment.
fn gather(first: Message, messages: &Receiver<Message>) -> (Vec<LoggedOperation>, Vec<SyncSender<()>>) {
    let end = Instant::now() + GATHERED;
    let (mut notes, mut readers): (Vec<LoggedOperation>, Vec<_>) = (Vec::new(), Vec::new());
    let mut next = Some(first);
    while let Some(message) = next.take() {
        match message {
            Message::Note(note) => match notes.iter_mut().rev().find(|known| known.id == note.id) {
                Some(known) => *known = *note,
                None => notes.push(*note),
            },
            Message::Read(reader) => readers.push(reader),
        }
        let left = if readers.is_empty() { end.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
        next = match messages.recv_timeout(left) {
            Ok(message) if notes.len() < BATCH => Some(message),
            // One more than fits is written with this batch all the same.
            Ok(message) => {
                match message {
                    Message::Note(note) => notes.push(*note),
                    Message::Read(reader) => readers.push(reader),
                }
                None
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        };
    }
    (notes, readers)
}

fn keep(store: &Store, notes: &[LoggedOperation]) -> Result<(), StoreError> {
    if notes.is_empty() {
        return Ok(());
    }
    store.write_behind(|tx| {
        let (entries, oldest) = bounds(&coffer_store::server::get(tx)?);
        if entries > 0 {
            notes.iter().try_for_each(|note| operation_log::record(tx, note))?;
        }
        operation_log::prune(tx, entries, oldest)
    })
}

/// How many operations are kept, and since when.
fn bounds(config: &Config) -> (u64, Option<Time>) {
    let entries = config.parse("operations.log.entries").unwrap_or(ENTRIES);
    let expiry: Option<Expiry> = config.get("operations.log.expiry").unwrap_or("90d").parse().ok();
    (entries, expiry.and_then(|expiry| expiry.before(Time::now())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Events;
    use crate::operations::{NewOperation, Operations};
    use coffer_model::{OperationStatus, ProjectName};

    fn all(store: &Store) -> Vec<LoggedOperation> {
        store.read(|conn| operation_log::find(conn, &OperationQuery { limit: 10_000, ..OperationQuery::default() })).unwrap()
    }

    #[tokio::test]
    async fn what_was_noted_is_read_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let operations = Operations::new(Events::default(), OperationLog::begin(&store).unwrap());
        let caller = Caller { username: "ann".into(), protocol: "unix", address: String::new() };
        let new = || NewOperation::instance("Starting instance", &ProjectName::default_project(), "web").by(&caller);
        (0..1000).for_each(|_| operations.begin(new()).finish(Ok(())));
        operations.begin(new()).finish(Err(EngineError::Refused("no".into())));
        let running = operations.begin(new());
        operations.log().settle();
        let found = all(&store);
        assert_eq!(found.len(), 1002);
        assert_eq!((found[0].status, found[1].status, found[1].error.as_str()), (OperationStatus::Running, OperationStatus::Failure, "no"));
        assert_eq!(found[2].requestor.as_ref().map(|requestor| requestor.username.as_str()), Some("ann"));
        assert!(found[2].ended_at >= Some(found[2].created_at));
        // The next daemon says of what still worked that nobody will end it.
        std::mem::forget(running);
        let _next = OperationLog::begin(&store).unwrap();
        let found = all(&store);
        assert_eq!((found[0].status, found[0].error.as_str()), (OperationStatus::Cancelled, CUT_OFF));
    }
}
