//! The monitor: one process behind each running instance. One thread, one event loop, nothing waits but the loop.
//!
//! ```text
//!            start            execve succeeded          freeze
//!  [Idle] ---------> [Starting] -----------> [Running] <======> [Frozen]
//!    |                   | a stage failed        | init ended     | init ended
//!    | callers gone      v                       v                v
//!    +-------------> [process ends] <------------+----------------+
//! ```

mod connections;
mod console;
mod end;
mod execs;
mod freeze;
mod halting;
mod hotplug;
mod instance;
mod interception;
mod listening;
mod poll;
mod proxies;
mod recording;
mod requests;
mod start;

use std::collections::BTreeMap;
use std::io;

use coffer_runtime_spec::{Answer, Connection, Message, Refusal, RefusalKind, Report, State};

use connections::{Asker, Peer};
use console::Console;
use execs::Running as RunningExec;
use freeze::Freeze;
use halting::Halting;
use hotplug::Job;
use instance::Instance;
use interception::Intercepting;
use listening::Listening;
use poll::{Poll, Token};
use proxies::Proxying;
use start::Starting;

use crate::cgroup::Group;

/// What the loop holds.
pub(crate) struct Monitor {
    poll: Poll,
    peers: BTreeMap<u64, Peer>,
    execs: BTreeMap<u64, RunningExec>,
    jobs: BTreeMap<u64, Job>,
    proxies: BTreeMap<u64, Proxying>,
    intercepting: Intercepting,
    /// The last number given to a peer, an exec, a job or a proxy.
    last_id: u64,
    listening: Option<Listening>,
    /// Control groups that were made before the start.
    prepared: Option<Group>,
    starting: Option<Starting>,
    instance: Option<Instance>,
    console: Console,
    freeze: Freeze,
    halting: Option<Halting>,
    log: Option<std::fs::File>,
    ended: bool,
}

/// Serves the first caller until its instance has ended, or, if it starts none, until it is gone.
///
/// # Errors
/// What making the event loop gives.
pub(crate) fn serve(first: Connection) -> io::Result<()> {
    let mut monitor = Monitor {
        poll: Poll::new()?,
        peers: BTreeMap::new(),
        execs: BTreeMap::new(),
        jobs: BTreeMap::new(),
        proxies: BTreeMap::new(),
        intercepting: Intercepting::default(),
        last_id: 0,
        listening: None,
        prepared: None,
        starting: None,
        instance: None,
        console: Console::default(),
        freeze: Freeze::default(),
        halting: None,
        log: None,
        ended: false,
    };
    monitor.add_peer(first)?;
    while !monitor.is_done() {
        for token in monitor.poll.wait()? {
            monitor.handle(token);
        }
    }
    monitor.discard();
    Ok(())
}

impl Monitor {
    /// Nothing runs, and nobody is there who could change that.
    fn is_done(&self) -> bool {
        self.ended || (self.instance.is_none() && self.peers.is_empty())
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Peer(id) => self.peer_ready(id),
            Token::StartSync => self.start_sync_ready(),
            Token::StartStatus => self.start_status_ready(),
            Token::Init => self.init_ended(),
            Token::ExecStatus(id) => self.exec_status_ready(id),
            Token::ExecEnded(id) => self.exec_ended(id),
            Token::ExecOutput(id, stream) => self.drain_exec(id, stream),
            Token::JobStatus(id) => self.job_ready(id),
            Token::ProxyStatus(id) => self.proxy_status_ready(id),
            Token::ProxyEnded(id) => self.proxy_ended(id),
            Token::Console => self.console_ready(),
            Token::Viewer(id) => self.viewer_ready(id),
            Token::Freezer => self.freezer_ready(),
            Token::Halting => self.halting_ready(),
            Token::Filters => self.listener_arrived(),
            Token::Calls(id) => self.calls_ready(id),
            Token::Answered(id) => self.call_answered(id),
        }
    }

    fn state(&self) -> State {
        match &self.instance {
            _ if self.ended => State::Ended,
            _ if self.starting.is_some() => State::Starting,
            None => State::Idle,
            Some(_) if self.freeze.frozen => State::Frozen,
            Some(_) => State::Running,
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Answers a call.
    fn answer(&mut self, asker: Asker, result: Result<Answer, Refusal>, fds: Vec<std::os::fd::OwnedFd>) {
        self.tell(asker.peer, Message::Answer { id: asker.call, result }, fds);
    }

    /// Tells all who subscribed.
    fn report(&mut self, report: &Report) {
        let subscribed: Vec<u64> = self.peers.iter().filter(|(_, peer)| peer.subscribed).map(|(id, _)| *id).collect();
        for id in subscribed {
            self.tell(id, Message::Report(report.clone()), Vec::new());
        }
    }

    /// Notes something that did not work and is not needed.
    fn warn(&mut self, text: String) {
        use std::io::Write;
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{text}");
        }
        self.report(&Report::Warning(text));
    }
}

/// A refusal without a stage.
fn refusal(kind: RefusalKind, text: impl Into<String>) -> Refusal {
    Refusal { kind, stage: None, errno: None, text: text.into() }
}

/// A refusal for an error of the kernel.
fn failed(what: &str, error: &io::Error) -> Refusal {
    Refusal { kind: RefusalKind::Failed, stage: None, errno: error.raw_os_error(), text: format!("{what}: {error}") }
}
