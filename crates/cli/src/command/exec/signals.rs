//! The signals that a command inside should hear of.

use std::task::Poll;

use coffer_api::ControlMessage;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal;

/// The signals passed on as they are. Source: signal(7).
const PASSED: [i32; 6] = [1, 2, 3, 10, 12, 15];

/// Listens for signals and changes of the terminal's size.
pub(super) struct Signals {
    /// `None` where nobody wants to know.
    resized: Option<Signal>,
    passed: Vec<(i32, Signal)>,
}

impl Signals {
    /// Begins to listen; sizes are of interest to a command on a terminal only.
    pub(super) fn listen(interactive: bool) -> Signals {
        let resized = if interactive { signal(SignalKind::window_change()).ok() } else { None };
        let passed = PASSED.into_iter().filter_map(|number| Some((number, signal(SignalKind::from_raw(number)).ok()?)));
        Signals { resized, passed: passed.collect() }
    }

    /// Waits for the next one. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> ControlMessage {
        std::future::poll_fn(|context| {
            if let Some(resized) = &mut self.resized
                && resized.poll_recv(context).is_ready()
            {
                let (columns, rows) = terminal::size();
                return Poll::Ready(ControlMessage::window_resize(columns, rows));
            }
            let heard = self.passed.iter_mut().find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
            heard.map_or(Poll::Pending, |signal| Poll::Ready(ControlMessage::Signal { signal }))
        })
        .await
    }
}
