//! `^C` while the server works: the operation is cancelled, not left to itself.

use std::cell::RefCell;

use coffer_client::Canceller;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::error::CliError;

/// How often the user asks before the program leaves an operation that cannot be cancelled.
const PATIENCE: u8 = 3;

/// The exit code of a program that `^C` ended. Source: signal(7), 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// What happens on `^C`, which is the program's end but while an operation is waited for.
#[derive(Default)]
pub(crate) struct Interrupts {
    /// Ends the program, once `^C` has been ours.
    outside: RefCell<Option<JoinHandle<()>>>,
}

impl Interrupts {
    /// Waits for an operation; on `^C` asks the server to cancel it.
    ///
    /// # Errors
    /// Those of `wait`, which ends with one where the operation was cancelled; one where the user gave up on it.
    pub(crate) async fn guard<T>(
        &self,
        canceller: Option<Canceller>,
        complain: impl Fn(&str),
        wait: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let (Some(canceller), Ok(mut interrupt)) = (canceller, signal(SignalKind::interrupt())) else { return wait.await };
        if let Some(outside) = self.outside.take() {
            outside.abort();
        }
        let mut wait = std::pin::pin!(wait);
        let mut asked = 0;
        let done = loop {
            tokio::select! {
                done = &mut wait => break done,
                Some(()) = interrupt.recv() => {}
            }
            asked += 1;
            if let Err(error) = canceller.cancel().await {
                if asked == PATIENCE {
                    break Err(CliError::LeftBehind { operation: canceller.operation().to_owned() });
                }
                complain(&format!("{error}; ^C {} more leaves it to go on by itself", times(PATIENCE - asked)));
            }
        };
        self.outside.replace(Some(tokio::spawn(end_on(interrupt))));
        done
    }
}

async fn end_on(mut interrupt: Signal) {
    if interrupt.recv().await.is_some() {
        std::process::exit(INTERRUPTED);
    }
}

fn times(count: u8) -> &'static str {
    if count == 1 { "once" } else { "twice" }
}
