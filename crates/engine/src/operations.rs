//! Operations: work that goes on after its request was answered.
//!
//! ```text
//!   Running ----> Success
//!      |  \-----> Failure
//!      +--------> Cancelled   (where `may_cancel`)
//! ```

mod progress;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use coffer_base::progress::Wake;
pub use coffer_model::{OperationClass as Class, OperationStatus};
use coffer_model::{ProjectName, Time};
use serde_json::{Map, Value};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::EngineError;
use crate::events::{Caller, EventBody, Events};
use crate::operation_log::OperationLog;

/// How long a finished operation can still be read.
const KEPT: Duration = Duration::from_secs(60);

/// An operation as it is at a moment.
#[derive(Debug, Clone)]
pub struct OperationView {
    /// Its identity.
    pub id: Uuid,
    /// Its kind.
    pub class: Class,
    /// What it does, in words.
    pub description: &'static str,
    /// When it was made.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
    /// How far it is.
    pub status: OperationStatus,
    /// What it concerns: kind (`instances`, `images`, …) → URLs.
    pub resources: BTreeMap<&'static str, Vec<String>>,
    /// Results and progress.
    pub metadata: Map<String, Value>,
    /// Whether it can be cancelled.
    pub may_cancel: bool,
    /// Why it failed; empty otherwise.
    pub err: String,
    /// The project it belongs to.
    pub project: ProjectName,
    /// Who asked for it; `None` when the daemon began it by itself.
    pub requestor: Option<Caller>,
}

/// What is known of an operation when it is made.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Its kind.
    pub class: Class,
    /// What it does, in words.
    pub description: &'static str,
    /// The project it belongs to.
    pub project: ProjectName,
    /// What it concerns.
    pub resources: BTreeMap<&'static str, Vec<String>>,
    /// Metadata from the start.
    pub metadata: Map<String, Value>,
    /// Who asks for it; `None` when the daemon begins it by itself.
    pub requestor: Option<Caller>,
}

impl NewOperation {
    /// Describes a task on an instance; its URL is listed under both names that clients look for.
    #[must_use]
    pub fn instance(description: &'static str, project: &ProjectName, name: &str) -> Self {
        let url = |kind: &str| vec![format!("/1.0/{kind}/{name}")];
        let resources = BTreeMap::from([("instances", url("instances")), ("containers", url("containers"))]);
        Self { class: Class::Task, description, project: project.clone(), resources, metadata: Map::new(), requestor: None }
    }

    /// Says who asks for it.
    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Self {
        self.requestor = Some(caller.clone());
        self
    }

    /// Describes a task on something else: `kind` is `images`, `storage-pools`, …
    #[must_use]
    pub fn task(description: &'static str, project: &ProjectName, resources: BTreeMap<&'static str, Vec<String>>) -> Self {
        Self { class: Class::Task, description, project: project.clone(), resources, metadata: Map::new(), requestor: None }
    }
}

/// All operations of this daemon's life.
#[derive(Clone)]
pub struct Operations {
    table: Arc<Mutex<HashMap<Uuid, Arc<Entry>>>>,
    events: Events,
    log: OperationLog,
}

struct Entry {
    view: watch::Sender<OperationView>,
    cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// What else is called when it is cancelled, by those who still wait for that.
    wakes: Mutex<Vec<Weak<Wake>>>,
}

impl Entry {
    /// What cancels it, if it can be cancelled.
    fn cancel(&self) -> MutexGuard<'_, Option<Box<dyn FnOnce() + Send>>> {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wakes(&self) -> MutexGuard<'_, Vec<Weak<Wake>>> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.view.borrow().status == OperationStatus::Cancelled
    }

    /// Calls those who wait for the cancellation, which is told before.
    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.wakes());
        waiting.iter().filter_map(Weak::upgrade).for_each(|wake| wake());
    }

    /// Calls one when it is cancelled. Either it is seen here that it is, or [`Entry::wake`] comes after this and finds the one.
    fn wake_when_cancelled(&self, wake: &Arc<Wake>) {
        {
            let mut wakes = self.wakes();
            wakes.retain(|wake| wake.strong_count() > 0);
            if !self.is_cancelled() {
                wakes.push(Arc::downgrade(wake));
                return;
            }
        }
        wake();
    }
}

/// The working side of an operation. Dropping it unfinished is a failure.
pub struct OperationHandle {
    id: Uuid,
    entry: Arc<Entry>,
    operations: Operations,
    finished: bool,
}

impl Operations {
    /// Starts without operations.
    #[must_use]
    pub fn new(events: Events, log: OperationLog) -> Self {
        Self { table: Arc::default(), events, log }
    }

    /// The log of what operations did.
    pub(crate) fn log(&self) -> &OperationLog {
        &self.log
    }

    /// Makes an operation that the caller drives. It is running, and listeners have heard of it.
    #[must_use]
    pub fn begin(&self, new: NewOperation) -> OperationHandle {
        self.resume(new, Uuid::new_v4(), Time::now())
    }

    /// Makes an operation again that an earlier daemon had begun.
    #[must_use]
    pub fn resume(&self, new: NewOperation, id: Uuid, created_at: Time) -> OperationHandle {
        let view = OperationView {
            id,
            class: new.class,
            description: new.description,
            created_at,
            updated_at: Time::now(),
            status: OperationStatus::Running,
            resources: new.resources,
            metadata: new.metadata,
            may_cancel: false,
            err: String::new(),
            project: new.project,
            requestor: new.requestor,
        };
        let entry = Arc::new(Entry { view: watch::Sender::new(view.clone()), cancel: Mutex::new(None), wakes: Mutex::default() });
        self.lock().insert(id, entry.clone());
        self.log.note(&view);
        self.tell(view);
        OperationHandle { id, entry, operations: self.clone(), finished: false }
    }

    /// Makes an operation and runs its work on a thread for blocking work; answers at once.
    pub fn spawn<F>(&self, new: NewOperation, work: F) -> OperationView
    where
        F: FnOnce(&OperationHandle) -> Result<(), EngineError> + Send + 'static,
    {
        let handle = self.begin(new);
        let view = handle.view();
        tokio::task::spawn_blocking(move || {
            let result = work(&handle);
            handle.finish(result);
        });
        view
    }

    /// The operation with this identity.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<OperationView> {
        self.lock().get(&id).map(|entry| entry.view.borrow().clone())
    }

    /// All operations that can still be read, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<OperationView> {
        let mut views: Vec<_> = self.lock().values().map(|entry| entry.view.borrow().clone()).collect();
        views.sort_by_key(|view| view.created_at);
        views
    }

    /// Waits until the operation is final; answers how it is at the latest after `timeout`. `None`: no such operation.
    pub async fn wait(&self, id: Uuid, timeout: Option<Duration>) -> Option<OperationView> {
        let mut receiver = self.lock().get(&id)?.view.subscribe();
        {
            let ended = receiver.wait_for(|view| view.status.is_final());
            match timeout {
                Some(timeout) => drop(tokio::time::timeout(timeout, ended).await),
                None => drop(ended.await),
            }
        }
        let view = receiver.borrow().clone();
        Some(view)
    }

    /// Cancels an operation.
    ///
    /// # Errors
    /// If there is none with this identity, or it cannot be cancelled.
    pub fn cancel(&self, id: Uuid) -> Result<(), EngineError> {
        let entry = self.lock().get(&id).cloned().ok_or_else(|| EngineError::not_found("operation", id))?;
        let cancel = {
            // Held over both, so that the work learns of it or cannot be cancelled any more.
            let mut slot = entry.cancel();
            let Some(cancel) = slot.take() else {
                return Err(EngineError::Refused(format!("operation {id} cannot be cancelled")));
            };
            self.change(&entry, |view| {
                view.status = OperationStatus::Cancelled;
                view.may_cancel = false;
            });
            cancel
        };
        cancel();
        entry.wake();
        self.forget_later(id);
        Ok(())
    }

    /// Waits until no task works any more, at the longest `timeout`.
    pub async fn drain(&self, timeout: Duration) {
        let running: Vec<Uuid> =
            self.list().into_iter().filter(|view| view.class == Class::Task && !view.status.is_final()).map(|view| view.id).collect();
        let all = async {
            for id in running {
                self.wait(id, None).await;
            }
        };
        let _ = tokio::time::timeout(timeout, all).await;
    }

    fn change(&self, entry: &Entry, change: impl FnOnce(&mut OperationView)) {
        let mut told = None;
        entry.view.send_if_modified(|view| {
            if view.status.is_final() {
                return false;
            }
            change(view);
            view.updated_at = Time::now();
            told = Some(view.clone());
            true
        });
        if let Some(view) = told {
            if view.status.is_final() {
                self.log.note(&view);
            }
            self.tell(view);
        }
    }

    fn tell(&self, view: OperationView) {
        self.events.send(Some(view.project.clone()), EventBody::Operation(view));
    }

    fn forget_later(&self, id: Uuid) {
        let table = self.table.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(KEPT).await;
                table.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Entry>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OperationHandle {
    /// The operation's identity.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The operation as it is now.
    #[must_use]
    pub fn view(&self) -> OperationView {
        self.entry.view.borrow().clone()
    }

    /// Sets one key of the metadata and tells the listeners.
    pub fn set_metadata(&self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        self.operations.change(&self.entry, |view| drop(view.metadata.insert(key.to_owned(), value)));
    }

    /// Changes what the operation concerns, for things that get their name late.
    pub fn add_resource(&self, kind: &'static str, url: String) {
        self.operations.change(&self.entry, |view| view.resources.entry(kind).or_default().push(url));
    }

    /// Lets the operation be cancelled; `cancel` is called at most once.
    pub fn set_cancel(&self, cancel: impl FnOnce() + Send + 'static) {
        *self.entry.cancel() = Some(Box::new(cancel));
        self.operations.change(&self.entry, |view| view.may_cancel = true);
    }

    /// Does a step that can be cancelled: it asks [`coffer_base::Progress::check`], and what it left when it failed is the
    /// caller's to take back. After it the operation cannot be cancelled any more.
    ///
    /// # Errors
    /// The step's; or that the operation was cancelled meanwhile.
    pub fn cancellable<T>(&self, step: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
        self.set_cancel(|| ());
        let done = step();
        let slot = self.entry.cancel().take();
        if slot.is_none() && self.entry.is_cancelled() {
            return Err(EngineError::Refused("the operation was cancelled".into()));
        }
        self.operations.change(&self.entry, |view| view.may_cancel = false);
        done
    }

    /// Ends when the operation is cancelled.
    pub async fn cancelled(&self) {
        let mut view = self.entry.view.subscribe();
        // The sender lives as long as the handle does.
        let _ = view.wait_for(|view| view.status == OperationStatus::Cancelled).await;
    }

    /// Where a long step reports how far it is, and hears if the operation was cancelled.
    #[must_use]
    pub fn progress(&self) -> coffer_base::Progress {
        coffer_base::Progress::told_to(progress::Told::new(self.entry.clone(), self.operations.clone()))
    }

    /// Ends the operation with its result.
    pub fn finish(mut self, result: Result<(), EngineError>) {
        self.end(result.map_err(|error| coffer_base::chain(&error)));
    }

    fn end(&mut self, result: Result<(), String>) {
        self.finished = true;
        drop(self.entry.cancel().take());
        self.operations.change(&self.entry, |view| {
            view.may_cancel = false;
            match result {
                Ok(()) => view.status = OperationStatus::Success,
                Err(text) => {
                    view.status = OperationStatus::Failure;
                    view.err = text;
                }
            }
        });
        self.operations.forget_later(self.id);
    }
}

impl Drop for OperationHandle {
    fn drop(&mut self) {
        if !self.finished {
            self.end(Err("the operation ended without a result; this is a bug, please report it".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewOperation {
        NewOperation::instance("Creating instance", &ProjectName::default_project(), "web")
    }

    #[tokio::test]
    async fn a_task_ends_with_its_result() {
        let operations = Operations::new(Events::default(), OperationLog::none());
        let fine = operations.spawn(new(), |_| Ok(()));
        let bad = operations.spawn(new(), |_| Err(EngineError::Refused("no".into())));
        assert_eq!(operations.wait(fine.id, None).await.unwrap().status, OperationStatus::Success);
        let bad = operations.wait(bad.id, None).await.unwrap();
        assert_eq!((bad.status, bad.err.as_str()), (OperationStatus::Failure, "no"));
    }

    #[tokio::test]
    async fn waiting_with_a_timeout_answers_the_running_operation() {
        let operations = Operations::new(Events::default(), OperationLog::none());
        let handle = operations.begin(new());
        let view = operations.wait(handle.id(), Some(Duration::from_millis(1))).await.unwrap();
        assert_eq!(view.status, OperationStatus::Running);
        handle.finish(Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_panics_has_failed() {
        let operations = Operations::new(Events::default(), OperationLog::none());
        let id = operations.spawn(new(), |_| panic!("on purpose")).id;
        assert_eq!(operations.wait(id, None).await.unwrap().status, OperationStatus::Failure);
    }

    #[tokio::test]
    async fn only_what_may_be_cancelled_is() {
        let operations = Operations::new(Events::default(), OperationLog::none());
        let handle = operations.begin(new());
        assert!(operations.cancel(handle.id()).is_err());
        let (sender, receiver) = std::sync::mpsc::channel();
        handle.set_cancel(move || sender.send(()).unwrap());
        operations.cancel(handle.id()).unwrap();
        receiver.recv().unwrap();
        handle.finish(Ok(()));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_cancellation_before_or_after() {
        let operations = Operations::new(Events::default(), OperationLog::none());
        let handle = operations.begin(new());
        handle.set_cancel(|| ());
        let woken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = |woken: &Arc<std::sync::atomic::AtomicUsize>| {
            let woken = woken.clone();
            move || {
                woken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        };
        let progress = handle.progress();
        let _held = progress.when_cancelled(count(&woken));
        drop(progress.when_cancelled(count(&woken)));
        operations.cancel(handle.id()).unwrap();
        assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 1);
        let _late = progress.when_cancelled(count(&woken));
        assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_step_is_cancelled_or_cannot_be_any_more() {
        let operations = Operations::new(Events::default(), OperationLog::none());
        let handle = operations.begin(new());
        assert_eq!(handle.cancellable(|| Ok(7)).unwrap(), 7);
        assert!(operations.cancel(handle.id()).is_err());
        let progress = handle.progress();
        let done = handle.cancellable(|| {
            progress.check().unwrap();
            operations.cancel(handle.id()).unwrap();
            Ok(progress.check().is_err())
        });
        assert_eq!(done.unwrap_err().to_string(), "the operation was cancelled");
        handle.cancelled().await;
        assert!(progress.check().is_err());
        let id = handle.id();
        handle.finish(Ok(()));
        assert_eq!(operations.get(id).unwrap().status, OperationStatus::Cancelled);
    }
}
