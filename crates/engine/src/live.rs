//! What instances are doing now: one cell an instance, and who works on it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coffer_model::{Health, InstanceName, ProjectName, Status, Time};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::error::EngineError;
use crate::files::Server;
use crate::monitor::Monitor;
use crate::policy::autorestart::Restarts;

/// How long a use case waits for another one on the same instance.
const PATIENCE: Duration = Duration::from_secs(30);

/// All instances that somebody asked about since the daemon started.
#[derive(Debug, Default)]
pub struct Cells {
    map: Mutex<HashMap<(ProjectName, InstanceName), Arc<Cell>>>,
}

/// One instance.
#[derive(Debug)]
pub struct Cell {
    name: InstanceName,
    live: Mutex<Live>,
    changed: Condvar,
    /// Told of every change, for those who do not block.
    news: watch::Sender<()>,
    /// Held while the instance's file server is started.
    opening: Mutex<()>,
}

/// What an instance is doing.
#[derive(Debug)]
pub struct Live {
    /// Its state.
    pub status: Status,
    /// What there is of it while it runs.
    pub running: Option<Arc<Running>>,
    /// The server of its files, while somebody uses them.
    pub files: Option<Arc<Server>>,
    /// What somebody is doing with it, in words: `starting`.
    busy: Option<&'static str>,
    /// What some are doing who read of it at length, while it goes on: it must stay what and where it is meanwhile.
    readers: Vec<&'static str>,
    /// Whether it is being restarted: its end is not the end of an ephemeral instance.
    pub restarting: bool,
    /// Whether the end that is coming was asked for.
    pub stop_asked: bool,
    /// Whether it has said through the guest API that it is ready.
    pub ready: bool,
    /// How it is, where its health is checked.
    pub health: Option<Health>,
    /// Who checks its health.
    pub health_watch: Option<AbortHandle>,
    /// When it was started again by itself.
    pub restarts: Restarts,
    /// Ends when it is not to be started again any more.
    pub restart_waits: Option<oneshot::Sender<()>>,
}

/// A running instance.
#[derive(Debug)]
pub struct Running {
    /// Its monitor.
    pub monitor: Arc<Monitor>,
    /// Its init's pid on the host, for show; never used to signal.
    pub pid: u32,
    /// Its network namespace.
    pub netns: std::os::fd::OwnedFd,
    /// When it was started.
    pub started_at: Time,
    /// Its path in each control group hierarchy.
    pub cgroup: String,
}

/// The right to work on an instance; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    cell: Arc<Cell>,
    doing: &'static str,
    /// Whether others may work on it beside.
    shared: bool,
}

impl Cells {
    /// The cell of an instance, stopped when it is new.
    #[must_use]
    pub fn get(&self, project: &ProjectName, name: &InstanceName) -> Arc<Cell> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry((project.clone(), name.clone())).or_insert_with(|| Arc::new(Cell::new(name.clone()))).clone()
    }

    /// The cell of an instance that somebody asked about.
    #[must_use]
    pub fn find(&self, project: &ProjectName, name: &InstanceName) -> Option<Arc<Cell>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).get(&(project.clone(), name.clone())).cloned()
    }

    /// All cells.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Cell>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Forgets a deleted instance.
    pub fn forget(&self, project: &ProjectName, name: &InstanceName) {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&(project.clone(), name.clone()));
    }

    /// Whether an instance has said that it is ready, without waiting for anybody.
    #[must_use]
    pub fn is_ready(&self, project: &ProjectName, name: &InstanceName) -> bool {
        let cell = self.map.lock().unwrap_or_else(PoisonError::into_inner).get(&(project.clone(), name.clone())).cloned();
        cell.is_some_and(|cell| cell.lock().ready)
    }

    /// The state and what runs, without waiting for anybody.
    #[must_use]
    pub fn peek(&self, project: &ProjectName, name: &InstanceName) -> (Status, Option<Arc<Running>>) {
        let cell = self.find(project, name);
        cell.map_or((Status::Stopped, None), |cell| {
            let live = cell.lock();
            (live.status, live.running.clone())
        })
    }
}

impl Cell {
    fn new(name: InstanceName) -> Self {
        let live = Live {
            status: Status::Stopped,
            running: None,
            files: None,
            busy: None,
            readers: Vec::new(),
            restarting: false,
            stop_asked: false,
            ready: false,
            health: None,
            health_watch: None,
            restarts: Restarts::default(),
            restart_waits: None,
        };
        Self { name, live: Mutex::new(live), changed: Condvar::new(), news: watch::Sender::new(()), opening: Mutex::new(()) }
    }

    /// What the instance is doing.
    pub fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody works on the instance just now.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.lock().busy.is_some()
    }

    /// Its state.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lock().status
    }

    /// What runs, if anything does.
    ///
    /// # Errors
    /// [`EngineError::State`] if nothing runs.
    pub fn running(&self) -> Result<Arc<Running>, EngineError> {
        let live = self.lock();
        live.running.clone().ok_or_else(|| self.wrong_state(live.status, "it must be running; start it first"))
    }

    /// Waits until nobody else works on the instance or reads of it, and claims it.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if somebody else is still at it after 30 seconds.
    pub fn claim(self: &Arc<Self>, doing: &'static str) -> Result<Claim, EngineError> {
        self.claim_when(doing, Some(PATIENCE), Live::other)
    }

    /// Claims the instance for something that those who read of it need not wait for, nor it for them: starting it, for instance.
    ///
    /// # Errors
    /// Those of [`Cell::claim`].
    pub fn claim_beside_readers(self: &Arc<Self>, doing: &'static str) -> Result<Claim, EngineError> {
        self.claim_when(doing, Some(PATIENCE), |live| live.busy)
    }

    /// Claims the instance however long others take.
    ///
    /// # Errors
    /// None comes from waiting.
    pub fn claim_at_last(self: &Arc<Self>, doing: &'static str) -> Result<Claim, EngineError> {
        self.claim_when(doing, None, Live::other)
    }

    fn claim_when(
        self: &Arc<Self>,
        doing: &'static str,
        patience: Option<Duration>,
        other: impl Fn(&Live) -> Option<&'static str>,
    ) -> Result<Claim, EngineError> {
        let mut live = self.lock();
        let until = patience.map(|patience| Instant::now() + patience);
        while let Some(other) = other(&live) {
            live = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(live).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Err(EngineError::Busy { instance: self.name.clone(), doing: other }),
                Some(left) => self.changed.wait_timeout(live, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        live.busy = Some(doing);
        let files = live.files.take_if(|server| server.is_of_stopped());
        drop(live);
        // Whoever works on a stopped instance has its volume alone.
        if let Some(server) = files {
            server.end();
        }
        Ok(Claim { cell: self.clone(), doing, shared: false })
    }

    /// Has one alone start the instance's file server.
    pub(crate) fn opening(&self) -> MutexGuard<'_, ()> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes over to another state.
    ///
    /// # Errors
    /// [`EngineError::State`] if the state machine does not allow it.
    pub fn become_state(&self, next: Status, wanted: &'static str) -> Result<(), EngineError> {
        let mut live = self.lock();
        if !live.status.may_become(next) {
            return Err(self.wrong_state(live.status, wanted));
        }
        live.status = next;
        drop(live);
        self.tell();
        Ok(())
    }

    /// Changes the cell under its lock and wakes all who wait for a change.
    pub fn change<T>(&self, change: impl FnOnce(&mut Live) -> T) -> T {
        let result = change(&mut self.lock());
        self.tell();
        result
    }

    fn tell(&self) {
        self.changed.notify_all();
        self.news.send_replace(());
    }

    /// Waits until the instance is as somebody wants it: until `answer` has an answer.
    pub async fn until<T>(&self, answer: impl Fn(&Live) -> Option<T>) -> T {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            if let Some(found) = answer(&self.lock()) {
                return found;
            }
            // The sender lives as long as the cell does.
            let _ = news.changed().await;
        }
    }

    /// Waits until nothing of the instance is left; false if its processes did not end in time. `None` waits for ever.
    ///
    /// What comes after their end has no limit here: writing out what it wrote takes as long as its disk does, and nothing
    /// of it runs on meanwhile.
    #[must_use]
    pub fn wait_for_end(&self, timeout: Option<Duration>) -> bool {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut live = self.lock();
        while live.status != Status::Stopped {
            live = match until.filter(|_| live.running.is_some()) {
                None => self.changed.wait(live).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed.wait_timeout(live, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Says that the instance is in another state than was needed.
    #[must_use]
    pub fn wrong_state(&self, status: Status, wanted: &'static str) -> EngineError {
        EngineError::State { instance: self.name.clone(), status, wanted }
    }
}

impl Live {
    /// What somebody else is doing with the instance.
    fn other(&self) -> Option<&'static str> {
        self.busy.or_else(|| self.readers.first().copied())
    }
}

impl Claim {
    /// The claimed cell.
    #[must_use]
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Lets others work on the instance beside, as long as it stays what and where it is: what is done from here on is to read.
    pub fn share(&mut self) {
        if !self.shared {
            self.shared = true;
            let doing = self.doing;
            self.cell.change(|live| {
                live.busy = None;
                live.readers.push(doing);
            });
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (doing, shared) = (self.doing, self.shared);
        self.cell.change(|live| {
            if !shared {
                live.busy = None;
            } else if let Some(at) = live.readers.iter().position(|reader| *reader == doing) {
                live.readers.swap_remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Arc<Cell> {
        Arc::new(Cell::new("web".parse().unwrap()))
    }

    #[test]
    fn only_one_works_on_an_instance() {
        let cell = cell();
        let claim = cell.claim("starting").unwrap();
        let other = std::thread::spawn({
            let cell = cell.clone();
            move || cell.claim("stopping").map(drop).is_ok()
        });
        drop(claim);
        assert!(other.join().unwrap());
    }

    #[test]
    fn what_is_read_can_be_started_and_read_again_but_not_deleted() {
        let cell = cell();
        let (mut one, mut two) = (cell.claim("backing up").unwrap(), None);
        one.share();
        drop(cell.claim_beside_readers("starting").unwrap());
        let again = two.insert(cell.claim_beside_readers("backing up").unwrap());
        again.share();
        assert_eq!(cell.lock().other(), Some("backing up"));
        std::thread::scope(|scope| {
            let (ask, asked) = std::sync::mpsc::channel();
            let there = &cell;
            let deleting = scope.spawn(move || {
                ask.send(()).unwrap();
                there.claim_at_last("deleting").map(drop).is_ok()
            });
            asked.recv().unwrap();
            drop(one);
            assert_eq!(cell.lock().readers.len(), 1, "one is left");
            drop(two);
            assert!(deleting.join().unwrap());
        });
        assert_eq!(cell.lock().other(), None);
    }

    #[test]
    fn wrong_transitions_are_refused() {
        let error = cell().become_state(Status::Frozen, "it must be running").unwrap_err();
        assert_eq!(error.to_string(), "instance web is stopped: it must be running");
    }

    #[test]
    fn waiting_ends_in_time() {
        assert!(cell().wait_for_end(None));
    }

    /// An emulated cluster took a minute to take what an instance had written, and the instance was said to run on.
    #[test]
    fn what_comes_after_the_end_of_all_processes_may_take_its_time() {
        let cell = cell();
        cell.change(|live| live.status = Status::Stopping);
        let waiting = std::thread::spawn({
            let cell = cell.clone();
            move || cell.wait_for_end(Some(Duration::ZERO))
        });
        cell.change(|live| live.status = Status::Stopped);
        assert!(waiting.join().unwrap());
    }
}
