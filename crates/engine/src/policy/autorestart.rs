//! Starting instances again that ended without the server's doing (`boot.autorestart`).
//!
//! ```text
//!   ended --> wait 0, 20 ms, 40 ms … 5.1 s --> start --> runs
//!     ^                 |                          |
//!     |                 | 10 in the last minute    | failed
//!     |                 v                          |
//!     +---- a warning, and stays stopped           |
//!     +--------------------------------------------+
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use coffer_base::chain;
use coffer_model::warning::WarningKind;
use coffer_model::{Instance, Status};

use crate::Engine;
use crate::error::EngineError;

/// So often in a minute is an instance started again. Source: LXD's `boot.autorestart`.
const MOST: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// The wait before the second restart in a minute; it doubles from one to the next.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// When an instance was started again.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Takes note of one more restart: how long to wait before it, or `None` if there were too many.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        while self.0.front().is_some_and(|first| now.saturating_duration_since(*first) >= MINUTE) {
            self.0.pop_front();
        }
        if self.0.len() >= MOST {
            return None;
        }
        let wait = match self.0.len() {
            0 => Duration::ZERO,
            earlier => FIRST_WAIT * (1 << (earlier - 1)),
        };
        self.0.push_back(now + wait);
        Some(wait)
    }
}

impl Engine {
    /// Whether an instance is started again when it ends without the server's doing.
    pub(crate) fn restarts_by_itself(&self, instance: &Instance) -> bool {
        self.load(&instance.project, &instance.name).is_ok_and(|loaded| loaded.config.flag("boot.autorestart", false))
    }

    /// Starts an instance again, now or after a while, unless that was done too often.
    pub(crate) fn restart_later(&self, instance: &Instance) {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        let Some(wait) = cell.change(|live| live.restarts.next(Instant::now())) else {
            let message =
                format!("it ended {MOST} times within a minute and is not started any more; look at its console log, then start it");
            tracing::error!(instance = %instance.key(), "{message}");
            self.warn(WarningKind::InstanceKeepsEnding, &url(instance), Some(&instance.project), message);
            return;
        };
        let (keep, mut given_up) = tokio::sync::oneshot::channel();
        cell.change(|live| live.restart_waits = Some(keep));
        // The next daemon starts it, if this one does not come to it any more.
        self.remember_wanted(instance, true);
        let (engine, instance) = (self.clone(), instance.clone());
        self.inner.runtime.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = &mut given_up => return,
                () = engine.shutdown_requested() => return,
            }
            let restart = move || {
                if let Err(error) = engine.restart_now(&instance, given_up) {
                    tracing::error!(instance = %instance.key(), "starting it again: {}", chain(&error));
                    if matches!(error, EngineError::Monitor { .. } | EngineError::System { .. }) {
                        engine.restart_later(&instance);
                    }
                }
            };
            drop(tokio::task::spawn_blocking(restart).await);
        });
    }

    /// Takes note whether an instance that is stopped is about to be started again.
    pub(crate) fn remember_wanted(&self, instance: &Instance, wanted: bool) {
        let keys = [("volatile.last_state.power", Some(if wanted { "RUNNING" } else { "STOPPED" }))];
        let Instance { project, name, .. } = instance;
        let written = self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, project, name, &keys));
        if let Err(error) = written {
            tracing::warn!(instance = %instance.key(), "remembering whether it is to be started: {}", chain(&error));
        }
    }

    fn restart_now(&self, instance: &Instance, mut given_up: tokio::sync::oneshot::Receiver<()>) -> Result<(), EngineError> {
        let claim = self.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("restarting")?;
        // Somebody may have started, stopped, changed or deleted it meanwhile.
        let wanted = matches!(given_up.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
        if !wanted || claim.cell().status() != Status::Stopped || self.shutting_down() {
            return Ok(());
        }
        let Ok(loaded) = self.load(&instance.project, &instance.name) else { return Ok(()) };
        self.start(&claim, &loaded.instance, None)?;
        self.lifecycle(instance, "instance-restarted", None);
        self.well(WarningKind::InstanceKeepsEnding, &url(instance), Some(&instance.project));
        Ok(())
    }
}

fn url(instance: &Instance) -> String {
    format!("/1.0/instances/{}", instance.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_become_slower_and_end_until_a_minute_is_over() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let waits: Vec<u128> = (0..MOST).filter_map(|_| restarts.next(start)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [0, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120]);
        assert_eq!(restarts.next(start + Duration::from_secs(30)), None);
        assert_eq!(restarts.next(start + Duration::from_secs(200)), Some(Duration::ZERO));
    }
}
