//! Calls from inside that wait for an answer. A child gives each: whoever is root inside can make it wait, but not us.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Answer as Reply, Mounting, Refusal};
use coffer_sys::process::{self, Child, CloneOptions};
use coffer_sys::seccomp::listen::{self, Answer, Call};
use coffer_sys::socket::PacketSocket;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::Monitor;
use super::instance::now;
use super::poll::{Interest, Token};
use crate::intercept::{self, Setting};

/// How many calls are answered at the same time; the next ones wait in the kernel.
const MOST_CALLS: usize = 16;

/// The filters inside that hand calls on. Empty, and of no cost, where nothing is intercepted.
#[derive(Debug, Default)]
pub(super) struct Intercepting {
    /// Where those who install a filter send its listener.
    arrivals: Option<PacketSocket>,
    /// A listener for each filter that somebody inside still has.
    listeners: BTreeMap<u64, OwnedFd>,
    /// Those that are not listened to while enough is being answered.
    resting: BTreeSet<u64>,
    /// The children that answer.
    answering: BTreeMap<u64, Child>,
}

impl Monitor {
    /// Waits for the listeners of filters.
    pub(super) fn expect_listeners(&mut self, arrivals: Option<PacketSocket>) -> std::io::Result<()> {
        if let Some(socket) = &arrivals {
            self.poll.add(socket, Token::Filters, Interest::Read)?;
        }
        self.intercepting.arrivals = arrivals;
        Ok(())
    }

    /// A filter was installed: whoever did it has sent its listener.
    pub(super) fn listener_arrived(&mut self) {
        let Some(socket) = &self.intercepting.arrivals else { return };
        let listener = match socket.receive(64) {
            Ok(Some(mut packet)) => packet.fds.pop(),
            Ok(None) | Err(_) => return self.poll.remove(socket),
        };
        let Some(listener) = listener else { return };
        let id = self.next_id();
        match self.poll.add(&listener, Token::Calls(id), Interest::Read) {
            Ok(()) => drop(self.intercepting.listeners.insert(id, listener)),
            // Its callers get ENOSYS then.
            Err(error) => self.warn(format!("listening to system calls: {error}")),
        }
    }

    /// Somebody waits for an answer, or nobody is left who could ask.
    pub(super) fn calls_ready(&mut self, id: u64) {
        let Some(listener) = self.intercepting.listeners.get(&id) else { return };
        if self.intercepting.answering.len() >= MOST_CALLS {
            self.poll.remove(listener);
            self.intercepting.resting.insert(id);
            return;
        }
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut fds, Some(&none)).map(|_| fds[0].revents()).unwrap_or(PollFlags::empty());
        if !ready.contains(PollFlags::IN) {
            if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
                self.intercepting.listeners.remove(&id);
            }
            return;
        }
        // One that was killed meanwhile is not there any more.
        if let Ok(call) = listen::receive(listener.as_fd()) {
            self.answer_call(id, &call);
        }
    }

    fn answer_call(&mut self, listener: u64, call: &Call) {
        let (Some(instance), Some(listener)) = (&self.instance, self.intercepting.listeners.get(&listener)) else { return };
        let Some(userns) = &instance.userns else { return };
        let child = process::clone(CloneOptions::default(), || {
            let proc = instance.door.as_ref().map(|door| &door.proc);
            let uptime = now().saturating_sub(instance.started_at) / 1000;
            let spec = &instance.spec;
            let (devices, mounting) = (&spec.devices[..], &spec.security.mounting);
            let setting = Setting { idmap: &spec.idmap, userns, group: &instance.group, proc, uptime, devices, mounting };
            intercept::answer(&setting, listener.as_fd(), call);
            0
        });
        let id = self.last_id + 1;
        let watched = child.and_then(|child| self.poll.add(&child.pidfd, Token::Answered(id), Interest::Read).map(|()| child));
        match watched {
            Ok(child) => {
                self.last_id = id;
                self.intercepting.answering.insert(id, child);
            }
            Err(_) => drop(listen::answer(listener.as_fd(), call.id, Answer::Fails(Errno::AGAIN.raw_os_error()))),
        }
    }

    /// A child has answered.
    pub(super) fn call_answered(&mut self, id: u64) {
        let Some(child) = self.intercepting.answering.remove(&id) else { return };
        let _ = process::wait(child.pidfd.as_fd());
        for id in std::mem::take(&mut self.intercepting.resting) {
            if let Some(listener) = self.intercepting.listeners.get(&id)
                && let Err(error) = self.poll.add(listener, Token::Calls(id), Interest::Read)
            {
                self.warn(format!("listening to system calls: {error}"));
            }
        }
    }

    /// From the next call on.
    pub(super) fn set_mounting(&mut self, mounting: Mounting) -> Result<Reply, Refusal> {
        self.running()?.spec.security.mounting = mounting;
        Ok(Reply::Done)
    }

    /// Nobody is left to be answered.
    pub(super) fn end_interception(&mut self) {
        self.intercepting = Intercepting::default();
    }
}
