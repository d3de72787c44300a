//! Waiting until an instance has done something, in an operation that can be cancelled.
//!
//! Most of it is told by events: states and words of the instance by its cell, addresses by netlink, cloud-init by inotify.
//! The kernel tells nobody when a process begins to listen at a port: that is tried, and so is a command, at growing intervals.

use std::time::Duration;

use coffer_model::{Awaited, Health, InstanceName, ProjectName, Status};

use crate::Engine;
use crate::error::EngineError;
use crate::operations::{NewOperation, OperationView};

/// The key of an operation's metadata that is true when its time was over.
pub const TIMED_OUT: &str = "timed_out";

/// The first and the longest time between two attempts.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long a command may take that is run again and again.
const COMMAND_PATIENCE: Duration = Duration::from_secs(300);

/// Times between attempts, which grow by half each time.
pub(super) struct Intervals(Duration);

impl Intervals {
    pub(super) fn new() -> Self {
        Self(INTERVALS.0)
    }

    pub(super) async fn pass(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 3 / 2).min(INTERVALS.1);
    }
}

impl Engine {
    /// Waits until all of this has happened to an instance, in an operation. It fails when the instance ends first.
    ///
    /// # Errors
    /// If there is no such instance, nothing runs, or its health is waited for and not checked.
    pub fn wait_for(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        awaited: Vec<Awaited>,
        timeout: Option<Duration>,
    ) -> Result<OperationView, EngineError> {
        let loaded = self.load(project, name)?;
        let cell = self.inner.cells.get(project, name);
        let status = cell.status();
        if matches!(status, Status::Stopped | Status::Error) {
            return Err(cell.wrong_state(status, "it can be waited for only while it runs; start it first"));
        }
        if awaited.contains(&Awaited::Healthy) && coffer_model::HealthPlan::of(&loaded.config).is_none() {
            return Err(EngineError::Refused(format!(
                "the health of instance {name} is not checked: set health.exec, health.tcp or health.http"
            )));
        }
        let operation = self.operations().begin(NewOperation::instance("Waiting for instance", project, name.as_str()));
        let (engine, project, name) = (self.clone(), project.clone(), name.clone());
        let (cancel, mut cancelled) = tokio::sync::watch::channel(false);
        operation.set_cancel(move || {
            let _ = cancel.send(true);
        });
        let view = operation.view();
        self.inner.runtime.spawn(async move {
            let limit = timeout.unwrap_or(Duration::MAX);
            let work = tokio::time::timeout(limit, engine.wait_for_all(&project, &name, &awaited));
            let result = tokio::select! {
                waited = work => waited,
                _ = cancelled.wait_for(|cancelled| *cancelled) => return operation.finish(Ok(())),
            };
            let result = result.unwrap_or_else(|_| {
                operation.set_metadata(TIMED_OUT, true);
                let what: Vec<String> = awaited.iter().map(ToString::to_string).collect();
                let seconds = limit.as_secs();
                Err(EngineError::Refused(format!("instance {name}: waited {seconds} seconds in vain for {}", what.join(", "))))
            });
            operation.finish(result);
        });
        Ok(view)
    }

    async fn wait_for_all(&self, project: &ProjectName, name: &InstanceName, awaited: &[Awaited]) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(project, name);
        cell.until(|live| (live.status != Status::Starting).then_some(())).await;
        let all = async {
            for one in awaited {
                self.wait_for_one(project, name, one).await?;
            }
            Ok(())
        };
        let is_over = |status| matches!(status, Status::Stopped | Status::Error);
        let ended = || Err(EngineError::Refused(format!("instance {name} ended while it was waited for")));
        let outcome = tokio::select! {
            outcome = all => outcome,
            () = cell.until(|live| is_over(live.status).then_some(())) => return ended(),
        };
        if outcome.is_err() && cell.status() != Status::Running {
            // What could not be looked at since the instance goes down is not what the caller wants to hear.
            let status = cell.until(|live| (live.status != Status::Stopping).then_some(live.status)).await;
            return if is_over(status) { ended() } else { outcome };
        }
        outcome
    }

    async fn wait_for_one(&self, project: &ProjectName, name: &InstanceName, awaited: &Awaited) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(project, name);
        match awaited {
            Awaited::Init => cell.until(|live| live.running.is_some().then_some(())).await,
            Awaited::Ready => cell.until(|live| live.ready.then_some(())).await,
            Awaited::Healthy => cell.until(|live| (live.health == Some(Health::Healthy)).then_some(())).await,
            Awaited::Network => self.wait_for_address(project, name, |_| true).await?,
            Awaited::Ipv4 => self.wait_for_address(project, name, std::net::IpAddr::is_ipv4).await?,
            Awaited::Ipv6 => self.wait_for_address(project, name, std::net::IpAddr::is_ipv6).await?,
            Awaited::CloudInit => self.wait_for_cloud_init(project, name).await?,
            Awaited::Port(port) => {
                let mut intervals = Intervals::new();
                while !self.is_open(project, name, *port, &self.addresses_inside(project, name)?).await {
                    intervals.pass().await;
                }
            }
            Awaited::Command(command) => {
                let mut intervals = Intervals::new();
                while self.run_inside(project, name, command, COMMAND_PATIENCE).await != Ok(0) {
                    intervals.pass().await;
                }
            }
        }
        Ok(())
    }
}
