//! Many websockets read by one thread: a short command needs no more, and threads are what it would wait for.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Incoming;

/// One websocket that is read.
pub struct Flow {
    incoming: Incoming,
    sink: Option<Box<dyn Write + Send>>,
}

impl Flow {
    /// Copies what arrives to `sink`.
    pub fn to(incoming: Incoming, sink: Box<dyn Write + Send>) -> Flow {
        Flow { incoming, sink: Some(sink) }
    }

    /// Forgets what arrives, and answers pings.
    pub fn drained(incoming: Incoming) -> Flow {
        Flow { incoming, sink: None }
    }
}

/// Reads all flows until each of those with a sink has ended.
///
/// A sink that does not take its bytes holds up the others, as a full pipe holds up the command that writes to it.
///
/// # Errors
/// If a flow with a sink can't be read or its sink can't be written.
pub fn pump(mut flows: Vec<Flow>) -> io::Result<()> {
    while flows.iter().any(|flow| flow.sink.is_some()) {
        let ready = ready(&flows)?;
        let mut over = Vec::new();
        for at in ready {
            let Flow { incoming, sink } = &mut flows[at];
            let ended = match sink {
                Some(sink) => incoming.advance(sink)?.is_some(),
                // What nobody wants may also break without harm.
                None => !matches!(incoming.advance(&mut io::sink()), Ok(None)),
            };
            if ended {
                over.push(at);
            }
        }
        // Closing each socket at its end tells the server that everything arrived.
        for at in over.into_iter().rev() {
            flows.swap_remove(at);
        }
    }
    Ok(())
}

/// Waits until something can be read and says where, in ascending order.
fn ready(flows: &[Flow]) -> io::Result<Vec<usize>> {
    let early: Vec<usize> = (0..flows.len()).filter(|at| flows[*at].incoming.has_early()).collect();
    if !early.is_empty() {
        return Ok(early);
    }
    let mut fds: Vec<_> = flows.iter().map(|flow| PollFd::new(flow.incoming.socket(), PollFlags::IN)).collect();
    loop {
        match poll(&mut fds, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((0..fds.len()).filter(|at| !fds[*at].revents().is_empty()).collect())
}
