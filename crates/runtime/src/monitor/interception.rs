//! Calls from inside that wait for an answer. A child gives each: whoever is root inside can make it wait, but not us.
//!
//! A call that takes a program of the instance's is put off by the child that finds out, for one of the few that wait for programs:
//! what those programs call themselves, a `mount` above all, must find a child that answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Answer as Reply, Mounting, Refusal};
use coffer_sys::process::{self, Child, CloneOptions, Ended};
use coffer_sys::seccomp::listen::{self, Answer, Call};
use coffer_sys::socket::PacketSocket;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::Monitor;
use super::instance::now;
use super::poll::{Interest, Token};
use crate::intercept::{self, Outcome, Setting};

/// How many calls are answered at the same time; the next ones wait in the kernel.
const MOST_CALLS: usize = 16;

/// How many programs are waited for beside them, and how many more calls may want one before the next ones are told to try again.
const MOST_PROGRAMS: usize = 4;
const MOST_PUT_OFF: usize = 64;

/// What a child says by its exit status that has put its call off.
const PUT_OFF: u8 = 1;

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
    answering: BTreeMap<u64, Answering>,
    /// Those that wait for a program.
    starting: BTreeMap<u64, Answering>,
    /// Calls that take a program and wait for one of those.
    put_off: VecDeque<(u64, Call)>,
}

/// A child that answers a call.
#[derive(Debug)]
struct Answering {
    child: Child,
    listener: u64,
    call: Call,
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
            self.answer_call(id, call, false);
        }
    }

    fn answer_call(&mut self, from: u64, call: Call, starts_programs: bool) {
        let (Some(instance), Some(listener)) = (&self.instance, self.intercepting.listeners.get(&from)) else { return };
        let Some(userns) = &instance.userns else { return };
        let child = process::clone(CloneOptions::default(), || {
            let (spec, group, door) = (&*instance.spec, &instance.group, instance.door.as_ref());
            let uptime = now().saturating_sub(instance.started_at) / 1000;
            let setting = Setting { spec, userns, group, door, uptime, starts_programs };
            match intercept::answer(&setting, listener.as_fd(), &call) {
                Outcome::Answered => 0,
                Outcome::PutOff => PUT_OFF,
            }
        });
        let id = self.last_id + 1;
        let watched = child.and_then(|child| self.poll.add(&child.pidfd, Token::Answered(id), Interest::Read).map(|()| child));
        match watched {
            Ok(child) => {
                self.last_id = id;
                let children = if starts_programs { &mut self.intercepting.starting } else { &mut self.intercepting.answering };
                children.insert(id, Answering { child, listener: from, call });
            }
            Err(_) => try_again(listener, &call),
        }
    }

    /// A child has answered, or has put its call off.
    pub(super) fn call_answered(&mut self, id: u64) {
        if let Some(done) = self.intercepting.starting.remove(&id) {
            let _ = process::wait(done.child.pidfd.as_fd());
            return self.start_programs();
        }
        let Some(Answering { child, listener, call }) = self.intercepting.answering.remove(&id) else { return };
        let ended = process::wait(child.pidfd.as_fd());
        for id in std::mem::take(&mut self.intercepting.resting) {
            if let Some(listener) = self.intercepting.listeners.get(&id)
                && let Err(error) = self.poll.add(listener, Token::Calls(id), Interest::Read)
            {
                self.warn(format!("listening to system calls: {error}"));
            }
        }
        if matches!(ended, Ok(Ended::Exited(PUT_OFF))) {
            self.intercepting.put_off.push_back((listener, call));
            self.start_programs();
        }
    }

    /// Has the programs started for which there is room, and refuses the calls for which there is not even room to wait.
    fn start_programs(&mut self) {
        while self.intercepting.starting.len() < MOST_PROGRAMS
            && let Some((listener, call)) = self.intercepting.put_off.pop_front()
        {
            self.answer_call(listener, call, true);
        }
        if self.intercepting.put_off.len() > MOST_PUT_OFF
            && let Some((listener, call)) = self.intercepting.put_off.pop_back()
            && let Some(listener) = self.intercepting.listeners.get(&listener)
        {
            try_again(listener, &call);
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

/// Tells a caller that there is no room for its call now.
fn try_again(listener: &OwnedFd, call: &Call) {
    // Who has been killed meanwhile waits for no answer.
    let _ = listen::answer(listener.as_fd(), call.id, Answer::Fails(Errno::AGAIN.raw_os_error()));
}
