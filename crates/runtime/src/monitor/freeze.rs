//! Stopping and continuing all processes.

use coffer_runtime_spec::{Answer, RefusalKind, State};

use super::connections::Asker;
use super::poll::{Interest, Token};
use super::{Monitor, failed, refusal};
use crate::cgroup::Freezer;

/// The freezer, opened when first asked for.
#[derive(Debug, Default)]
pub(super) struct Freeze {
    freezer: Option<Freezer>,
    /// All processes stand, or are about to.
    pub(super) frozen: bool,
    waiters: Vec<Asker>,
}

impl Monitor {
    /// Freezes; answers when all processes stand.
    pub(super) fn freeze(&mut self, asker: Asker) {
        match self.state() {
            State::Running | State::Frozen => {}
            State::Idle | State::Starting | State::Ended => {
                return self.answer(asker, Err(refusal(RefusalKind::State, "the instance is not running")), Vec::new());
            }
        }
        if let Err(error) = self.set_frozen(true) {
            return self.answer(asker, Err(failed("freezing", &error)), Vec::new());
        }
        self.freeze.waiters.push(asker);
        self.freezer_ready();
    }

    /// Thaws.
    pub(super) fn thaw(&mut self, asker: Asker) {
        let result = match self.state() {
            State::Frozen => self.set_frozen(false).map_err(|error| failed("thawing", &error)),
            State::Running => Ok(()),
            State::Idle | State::Starting | State::Ended => Err(refusal(RefusalKind::State, "the instance is not running")),
        };
        for waiter in std::mem::take(&mut self.freeze.waiters) {
            self.answer(waiter, Err(refusal(RefusalKind::State, "thawed before all processes stood")), Vec::new());
        }
        self.answer(asker, result.map(|()| Answer::Done), Vec::new());
    }

    fn set_frozen(&mut self, frozen: bool) -> std::io::Result<()> {
        if self.freeze.freezer.is_none() {
            let Some(instance) = &self.instance else { return Err(rustix::io::Errno::SRCH.into()) };
            let freezer = Freezer::open(&instance.group)?.ok_or(rustix::io::Errno::NOSYS)?;
            if let Some(events) = freezer.events() {
                self.poll.add(events, Token::Freezer, Interest::Changed)?;
            }
            self.freeze.freezer = Some(freezer);
        }
        if let Some(freezer) = &self.freeze.freezer {
            freezer.set(frozen)?;
        }
        self.freeze.frozen = frozen;
        Ok(())
    }

    /// The kernel's file has changed.
    pub(super) fn freezer_ready(&mut self) {
        // Reading it also makes the next change wake us.
        let standing = self.freeze.freezer.as_ref().is_some_and(|freezer| freezer.is_frozen().unwrap_or(false));
        if !standing || !self.freeze.frozen {
            return;
        }
        for waiter in std::mem::take(&mut self.freeze.waiters) {
            self.answer(waiter, Ok(Answer::Done), Vec::new());
        }
    }

    /// Closes the freezer. Version 1 lets nothing frozen die, so a kill must thaw first.
    pub(super) fn thaw_to_kill(&mut self) {
        if let Some(freezer @ Freezer::Legacy { .. }) = &self.freeze.freezer {
            let _ = freezer.set(false);
        }
    }
}
