//! Stopping, freezing and thawing an instance.

use std::time::Duration;

use coffer_base::fault;
use coffer_model::{Instance, Status};
use coffer_runtime_spec::{Request, Signal};

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::live::Claim;

/// How long the kernel and the monitor may take once everything was killed. Unkillable processes wait for a device.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// Stops a running instance and waits until nothing of it is left. The claim is the caller's.
    ///
    /// `timeout` is how long its init may take to halt cleanly; `None` waits for ever. `force` kills at once.
    pub(crate) fn stop(
        &self,
        claim: &Claim,
        instance: &Instance,
        timeout: Option<Duration>,
        force: bool,
        caller: Option<&Caller>,
    ) -> Result<(), EngineError> {
        let cell = claim.cell();
        let running = cell.running()?;
        let before = cell.status();
        cell.become_state(Status::Stopping, "it can be stopped only when it is running")?;
        cell.change(|live| live.stop_asked = true);
        let failed = |cause| EngineError::Monitor { instance: instance.name.clone(), doing: "stopping it", cause };
        let asked = if force {
            kill(&running.monitor)
        } else {
            if before == Status::Frozen {
                running.monitor.tell(Request::Thaw, &[]).map_err(failed)?;
            }
            running.monitor.tell(Request::Stop, &[])
        };
        fault::point("stop.asked").map_err(|cause| EngineError::system("stopping", cause))?;
        // A monitor that is gone has nothing left to stop: its end is on the way to us.
        match asked {
            Ok(()) | Err(crate::MonitorError::Gone) => {}
            Err(cause) => {
                cell.change(|live| live.status = before);
                return Err(failed(cause));
            }
        }
        if !cell.wait_for_end(if force { Some(KILL_PATIENCE) } else { timeout }) {
            cell.change(|live| {
                if live.status == Status::Stopping {
                    live.status = Status::Running;
                    live.stop_asked = false;
                }
            });
            let seconds = timeout.unwrap_or(KILL_PATIENCE).as_secs();
            return Err(EngineError::Refused(format!(
                "instance {} did not stop within {seconds} seconds; it runs on (stop it with --force to kill it)",
                instance.name
            )));
        }
        self.lifecycle(instance, "instance-stopped", caller);
        Ok(())
    }

    /// Kills what somebody else is waiting to see stopping cleanly.
    pub(crate) fn kill_stopping(&self, instance: &Instance) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        let running = cell.running()?;
        let failed = |cause| EngineError::Monitor { instance: instance.name.clone(), doing: "killing it", cause };
        kill(&running.monitor).map_err(failed)?;
        if cell.wait_for_end(Some(KILL_PATIENCE)) { Ok(()) } else { Err(failed(crate::MonitorError::Silent)) }
    }

    /// Freezes all processes of a running instance.
    pub(crate) fn freeze(&self, claim: &Claim, instance: &Instance, caller: Option<&Caller>) -> Result<(), EngineError> {
        let wanted = "it can be frozen only when it is running";
        self.turn(claim, instance, Status::Running, Status::Frozen, Request::Freeze, "freezing it", wanted)?;
        self.lifecycle(instance, "instance-paused", caller);
        Ok(())
    }

    /// Lets the processes of a frozen instance go on.
    pub(crate) fn thaw(&self, claim: &Claim, instance: &Instance, caller: Option<&Caller>) -> Result<(), EngineError> {
        let wanted = "it can be resumed only when it is frozen";
        self.turn(claim, instance, Status::Frozen, Status::Running, Request::Thaw, "resuming it", wanted)?;
        self.lifecycle(instance, "instance-resumed", caller);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "private: the two callers differ in exactly these")]
    fn turn(
        &self,
        claim: &Claim,
        instance: &Instance,
        from: Status,
        to: Status,
        request: Request,
        doing: &'static str,
        wanted: &'static str,
    ) -> Result<(), EngineError> {
        let cell = claim.cell();
        let status = cell.status();
        if status != from {
            return Err(cell.wrong_state(status, wanted));
        }
        let running = cell.running()?;
        running.monitor.tell(request, &[]).map_err(|cause| EngineError::Monitor { instance: instance.name.clone(), doing, cause })?;
        cell.change(|live| {
            if live.status == from {
                live.status = to;
            }
        });
        Ok(())
    }
}

fn kill(monitor: &crate::monitor::Monitor) -> Result<(), crate::MonitorError> {
    monitor.tell(Request::Kill { signal: Signal::KILL }, &[])
}
