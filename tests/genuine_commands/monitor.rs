//! `monitor`, which runs until somebody ends it.

use coffer_testkit::{Daemon, Invocation, Options, has_genuine_client};

use super::session::{self, Client};
use crate::setting::ready_daemon_with;

/// The lines, and what each shows of a life of an instance.
pub const LINES: &str = "\
$ monitor --type lifecycle --format json
expect instance-started
$ monitor --type=lifecycle --type operation -f yaml
expect action: instance-started
$ monitor --all-projects --pretty
expect instance-started
$ monitor --pretty --type=logging --loglevel debug
expect ended: 
";

#[test]
fn what_happens_is_shown_in_each_form() {
    if !has_genuine_client() {
        return;
    }
    // Its log tells of each end.
    let Some(daemon) = ready_daemon_with(Options::default().verbose()) else { return };
    daemon.create_instance("small", "c1");
    for step in session::read("monitor", LINES) {
        for client in [Client::Genuine, Client::Ours] {
            watch(&daemon, step.invocation(&daemon, client), &step.shown());
        }
    }
}

/// Lets an instance live until a line on the screen tells of it: nothing says when a client has begun to listen.
fn watch(daemon: &Daemon, client: Invocation, expected: &str) {
    let mut terminal = daemon.on_terminal(client, 250, 50);
    let seen = daemon.eventually(|| {
        daemon.change_state("c1", "start");
        daemon.change_state("c1", "stop");
        terminal.shows(expected)
    });
    assert!(seen, "no {expected:?}: {}", terminal.screen());
}
