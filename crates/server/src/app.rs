//! What every handler has at hand.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use coffer_engine::{Engine, EngineError};
use coffer_model::{InstanceName, ProjectName};
use tokio::sync::watch;

use crate::network::Network;
use crate::refusal::Refusal;
use crate::ws::{Handover, Sessions};

/// What every handler has at hand. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The parts of an [`App`].
pub struct Shared {
    /// The use cases.
    pub engine: Engine,
    /// Operations that wait for the client's websockets.
    pub sessions: Sessions,
    /// Operations that wait for the client's pipes.
    pub handovers: Sessions<Handover>,
    /// The listener on the network.
    pub network: Network,
    /// The listener on the network for the metrics.
    pub metrics: Network,
    dir: PathBuf,
    phase: watch::Sender<Phase>,
}

/// How far the daemon's life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It looks for what the last daemon left; requests wait for later.
    Starting,
    /// It serves.
    Serving,
    /// It stops the instances; only reading goes on.
    Stopping,
    /// It takes no more requests.
    Ending,
}

impl App {
    /// Puts the parts together; the daemon is starting.
    #[must_use]
    pub fn new(engine: Engine, dir: PathBuf, network: Network, metrics: Network) -> Self {
        Self(Arc::new(Shared {
            engine,
            sessions: Sessions::default(),
            handovers: Sessions::default(),
            network,
            metrics,
            dir,
            phase: watch::Sender::new(Phase::Starting),
        }))
    }

    /// Runs a use case on a thread that may block.
    ///
    /// # Errors
    /// The use case's; or an internal error if it panicked.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    {
        self.blocking(work).await?.map_err(Refusal::from)
    }

    /// Runs a use case on a thread that may block, for work that outlives its request.
    ///
    /// # Errors
    /// The use case's; or a refusal if it panicked.
    pub async fn attempt<T, F>(&self, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    {
        self.blocking(work).await.unwrap_or_else(|refusal| Err(EngineError::Refused(refusal.to_string())))
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Engine) -> T + Send + 'static) -> Result<T, Refusal> {
        let engine = self.engine.clone();
        let done = tokio::task::spawn_blocking(move || work(&engine)).await;
        done.map_err(|error| Refusal::internal(format!("the request was cut off; this is a bug, please report it: {error}")))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Follows the phases.
    pub fn watch_phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Enters a later phase; there is no way back.
    pub fn enter(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = next > *phase;
            if later {
                *phase = next;
            }
            later
        });
    }

    /// The directory of an instance's log files.
    pub fn log_dir(&self, project: &ProjectName, name: &InstanceName) -> PathBuf {
        self.dir.join("logs").join(project.prefix(name.as_str()))
    }
}
