//! The end of an instance and of its monitor.

use std::os::fd::AsFd;

use coffer_runtime_spec::{ExitReason, ExitRecord, Report, Signal};
use coffer_sys::process::{self, Ended};

use super::Monitor;
use super::hotplug::own_netns;
use super::instance::{Instance, now};
use crate::cgroup;
use crate::link::Links;

impl Monitor {
    /// Init has ended, and with it every process of the instance: takes everything down, tells, and ends.
    pub(super) fn init_ended(&mut self) {
        if self.starting.is_some() {
            // Either its pipe says why, or it became init and has ended at once.
            while self.starting.is_some() {
                self.start_status_ready();
            }
        }
        let Some(instance) = &self.instance else { return };
        let Ok(Some(ended)) = process::try_wait(instance.init.pidfd.as_fd()) else { return };
        let reason = reason(ended, instance);
        if let Err(error) = self.console.close() {
            self.warn(format!("writing the console's log: {error}"));
        }
        self.end_proxies();
        self.end_interception();
        // Everything of the instance that we hold goes now, so that its storage is free when its end is told.
        let Some(instance) = self.instance.take() else { return };
        self.give_back_links(&instance);
        let record = ExitRecord {
            name: instance.spec.name.clone(),
            reason,
            started_at: instance.started_at,
            ended_at: now(),
            execs: self.exec_statuses(),
        };
        instance.group.destroy();
        drop(instance);
        self.execs.clear();
        self.jobs.clear();
        self.ended = true;
        self.close_listening(Some(&record));
        self.report(&Report::Exited { reason });
    }

    /// Gives the host its own links back before the network namespace ends with the last of its handles.
    /// Those that share one of the host's are removed: until the namespace has gone, a moment later, they would keep the
    /// hardware address that the next start wants.
    pub(super) fn give_back_links(&mut self, instance: &Instance) {
        for nic in instance.spec.nics.iter().filter(|nic| nic.over.is_some()) {
            let removed = own_netns().and_then(|here| Links::with_our_rights(instance.netns.as_fd(), here.as_fd())?.delete(&nic.name));
            if let Err(error) = removed {
                self.warn(format!("removing link {}: {error}", nic.name));
            }
        }
        for nic in instance.spec.nics.iter().filter(|nic| nic.give_back) {
            let moved = own_netns().and_then(|here| {
                let links = Links::with_our_rights(instance.netns.as_fd(), here.as_fd())?;
                links.move_out(&nic.name, here.as_fd(), &nic.host_name)
            });
            if let Err(error) = moved {
                self.warn(format!("giving link {} back: {error}", nic.host_name));
            }
        }
    }

    /// Closes the socket, with a record for whoever comes later.
    pub(super) fn close_listening(&mut self, record: Option<&ExitRecord>) {
        let Some(listening) = self.listening.take() else { return };
        if let Err(error) = listening.close(record) {
            self.warn(format!("leaving the exit record: {error}"));
        }
    }
}

/// Reads the reason off init's status. Source: reboot(2), "Behavior inside PID namespaces".
fn reason(ended: Ended, instance: &Instance) -> ExitReason {
    match ended {
        Ended::Exited(status) => ExitReason::Exit(status),
        Ended::Killed(number) => match Signal::from_number(number).unwrap_or(Signal::KILL) {
            Signal::HUP => ExitReason::Reboot,
            Signal::INT => ExitReason::Halted,
            Signal::KILL if !instance.killed && cgroup::oom_kills(&instance.group) > 0 => ExitReason::Oom,
            signal => ExitReason::Signal(signal),
        },
    }
}
