//! What happens to snapshots by itself: scheduled ones are taken, expired ones deleted.
//!
//! One task sleeps until the next moment at which something is due by the clock on the wall; it looks again when a
//! configuration or an expiry changes, and when somebody sets the clock.

use std::io;

use coffer_base::chain;
use coffer_model::{Config, Instance, Profile, Schedule, Status, Time};
use jiff::tz::TimeZone;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::is_whole;
use crate::Engine;
use crate::error::EngineError;
use crate::instance::view::profiles_by_project;
use crate::request::{CreateSnapshot, Expiry};

/// After what time a deletion that failed is tried again.
const AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

impl Engine {
    /// Starts to take scheduled snapshots and to delete expired ones.
    pub(crate) fn keep_snapshots(&self) {
        let engine = self.clone();
        self.inner.runtime.spawn(async move {
            let mut since = Time::now();
            loop {
                let turn = engine.clone();
                let Ok((now, next)) = tokio::task::spawn_blocking(move || turn.snapshot_turn(since)).await else { return };
                since = now;
                tokio::select! {
                    slept = sleep_until(next) => if let Err(error) = slept {
                        tracing::error!("waiting for the next snapshot: {error}; scheduled snapshots end here");
                        return;
                    },
                    () = engine.inner.snapshot_alarm.notified() => {}
                    () = engine.shutdown_requested() => return,
                }
            }
        });
    }

    /// Has the task look again if a configuration tells about schedules.
    pub(crate) fn schedule_may_have_changed(&self, config: &Config) {
        if config.get("snapshots.schedule").is_some() {
            self.look_at_snapshots_again();
        }
    }

    /// Has the task look again.
    pub(crate) fn look_at_snapshots_again(&self) {
        self.inner.snapshot_alarm.notify_one();
    }

    /// Takes the snapshot that is due when an instance starts.
    pub(crate) fn snapshot_at_start(&self, claim: &crate::live::Claim, instance: &Instance) {
        let Ok(loaded) = self.load(&instance.project, &instance.name) else { return };
        if loaded.config.parse::<Schedule>("snapshots.schedule").is_some_and(|schedule| schedule.at_startup())
            && let Err(error) = self.take_snapshot(claim, instance, &BY_ITSELF, None)
        {
            tracing::error!(instance = %instance.name, "taking the snapshot of its start: {}", chain(&error));
        }
    }

    /// Does what came due after a moment. Answers until when that is, and when the next thing is due.
    fn snapshot_turn(&self, since: Time) -> (Time, Option<Time>) {
        let now = Time::now();
        let done = || -> Result<Option<Time>, EngineError> {
            let expiry = self.delete_expired(now)?;
            let schedule = self.take_scheduled(since, now)?;
            let expiry_of_volumes = self.delete_expired_of_volumes(now, AGAIN)?;
            let schedule_of_volumes = self.take_scheduled_of_volumes(since, now)?;
            Ok(expiry.into_iter().chain(schedule).chain(expiry_of_volumes).chain(schedule_of_volumes).min())
        };
        let next = done().unwrap_or_else(|error| {
            tracing::error!("looking after snapshots: {}", chain(&error));
            now.checked_add(AGAIN).ok()
        });
        (now, next)
    }

    /// Deletes what has expired; answers when the next does.
    fn delete_expired(&self, now: Time) -> Result<Option<Time>, EngineError> {
        let mut next = None;
        for owned in self.inner.store.read(coffer_store::snapshot::expiring)? {
            let Some(at) = owned.snapshot.expires_at.filter(|_| is_whole(&owned.snapshot)) else { continue };
            if at > now {
                return Ok(next.into_iter().chain([at]).min());
            }
            let deleted = self.load(&owned.project, &owned.instance).and_then(|loaded| {
                self.remove_snapshot(&loaded.instance, &owned.snapshot.name, None)?;
                tracing::info!(instance = %owned.instance, snapshot = %owned.snapshot.name, "deleted it: it has expired");
                Ok(())
            });
            if let Err(error) = deleted {
                tracing::error!(instance = %owned.instance, snapshot = %owned.snapshot.name, "deleting it, as it has expired: {}", chain(&error));
                next = now.checked_add(AGAIN).ok();
            }
        }
        Ok(next)
    }

    /// Takes the snapshots that came due after a moment; answers when the next does.
    fn take_scheduled(&self, since: Time, now: Time) -> Result<Option<Time>, EngineError> {
        let zone = TimeZone::system();
        let mut next: Option<Time> = None;
        for (instance, config) in self.scheduled_instances()? {
            let Some(schedule) = config.parse::<Schedule>("snapshots.schedule") else { continue };
            if schedule.next_after(since, &zone).is_some_and(|due| due <= now) {
                self.take_due(&instance, &config);
            }
            next = next.into_iter().chain(schedule.next_after(now, &zone)).min();
        }
        Ok(next)
    }

    fn take_due(&self, instance: &Instance, config: &Config) {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        if cell.status() == Status::Stopped && !config.flag("snapshots.schedule.stopped", false) {
            return;
        }
        let taken = cell.claim_beside_readers("snapshotting").and_then(|claim| self.take_snapshot(&claim, instance, &BY_ITSELF, None));
        if let Err(error) = taken {
            tracing::error!(instance = %instance.name, "taking its scheduled snapshot: {}", chain(&error));
        }
    }

    /// The instances that have a schedule, each with the configuration that counts.
    fn scheduled_instances(&self) -> Result<Vec<(Instance, Config)>, EngineError> {
        let (instances, profiles) =
            self.inner.store.read(|conn| Ok((coffer_store::instance::list(conn, None)?, profiles_by_project(conn, None)?)))?;
        let expanded = |instance: Instance| {
            let own = instance.profiles.iter().filter_map(|name| profiles.get(&(instance.project.clone(), name.clone())).cloned());
            let config = instance.expanded_config(&own.collect::<Vec<Profile>>());
            config.get("snapshots.schedule").is_some().then_some((instance, config))
        };
        Ok(instances.into_iter().filter_map(expanded).collect())
    }
}

/// A snapshot that nobody asked for.
const BY_ITSELF: CreateSnapshot = CreateSnapshot { name: None, expiry: Expiry::AsConfigured };

/// Sleeps until a moment by the clock on the wall, or until somebody sets that clock; for ever without a moment.
///
/// Source: timerfd_create(2), on `TFD_TIMER_CANCEL_ON_SET`; Linux 3.0.
async fn sleep_until(moment: Option<Time>) -> io::Result<()> {
    let Some(moment) = moment else { return std::future::pending().await };
    let timer = rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A nanosecond later, so that the moment has come for whoever then compares.
    let at = Timespec { tv_sec: moment.as_second(), tv_nsec: i64::from(moment.subsec_nanosecond()) + 1 };
    let spec = Itimerspec { it_interval: zero, it_value: at };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &spec)?;
    #[expect(deprecated, reason = "the other constructor is unsafe for what an OwnedFd promises anyway: it stays open and the same")]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    // That it can be read is all that matters: it has come, or the clock was set.
    timer.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_comes_and_one_that_is_past_does_not_wait() {
        let soon = Time::now() + jiff::SignedDuration::from_millis(20);
        sleep_until(Some(soon)).await.unwrap();
        assert!(Time::now() >= soon);
        sleep_until(Some("2020-01-01T00:00:00Z".parse().unwrap())).await.unwrap();
    }
}
