//! A command on pipes: the kernel moves its bytes, the server tells its end.

use std::io;
use std::thread;

use coffer_client::splice::{Line, drain};
use coffer_client::{Ended, PipeSession};
use tokio::sync::oneshot;

use super::own;
use super::signals::Signals;
use crate::app::App;
use crate::error::CliError;

/// Copies the command's streams until its end and returns its exit code.
pub(super) async fn session(app: &App, session: PipeSession, with_input: bool) -> Result<i32, CliError> {
    let PipeSession { stdin, stdout, stderr, signals: mut control, mut end } = session;
    if with_input {
        let input = Line::new(own(io::stdin())?.into(), stdin);
        // The command may well end, or close its input, before this process's input ends.
        thread::spawn(move || input.run());
    } else {
        drop(stdin);
    }
    let outputs = vec![Line::new(stdout, own(io::stdout())?.into()), Line::new(stderr, own(io::stderr())?.into())];
    let broken = |cause| CliError::Stream { stream: "output", cause };
    let (over, end_known) = io::pipe().map_err(broken)?;
    let (sender, mut drained) = oneshot::channel();
    thread::spawn(move || sender.send(drain(outputs, &over)));
    let mut signals = Signals::listen(false);
    let (mut flowing, mut served) = (true, true);
    let code = loop {
        tokio::select! {
            code = end.wait(|text| app.complain(&crate::render::clean_lines(text))), if served => match code {
                Some(code) => break Some(code),
                // The command goes on without the server, and its pipes end with it.
                None => served = false,
            },
            outcome = &mut drained, if flowing => {
                flowing = false;
                // Going away without the command's end kills it.
                outcome.unwrap_or(Ok(())).map_err(broken)?;
            }
            () = std::future::ready(()), if !served && !flowing => break None,
            message = signals.next() => {
                // A server that is gone can be told nothing, which the end tells too.
                let _ = control.send(&message).await;
                if !served {
                    break None;
                }
            }
        }
    };
    drop(end_known);
    if flowing {
        drained.await.unwrap_or(Ok(())).map_err(broken)?;
    }
    let ended = match code {
        Some(code) => Ended { code, error: String::new() },
        None => end.ask().await?,
    };
    if !ended.error.is_empty() {
        app.complain(&format!("Error: {}", crate::render::clean_lines(&ended.error)));
    }
    Ok(ended.code)
}
