//! `admin shutdown`.

use std::time::Duration;

use clap::Args;
use coffer_api::EventKind;
use coffer_client::{Client, ClientError};

use crate::app::App;
use crate::error::CliError;

/// Stop all instances, then the daemon
#[derive(Debug, Args)]
pub(crate) struct Shutdown {
    /// Do not wait for operations that are under way
    #[arg(short, long)]
    force: bool,
    /// Seconds to wait for the daemon's end; 0 waits for ever
    #[arg(short, long, default_value_t = 0, value_name = "SECONDS")]
    timeout: u64,
}

impl Shutdown {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let ended = stop(app.local(), self.force);
        if self.timeout == 0 {
            return ended.await;
        }
        let limit = Duration::from_secs(self.timeout);
        tokio::time::timeout(limit, ended).await.unwrap_or(Err(CliError::NotStopped { seconds: self.timeout }))
    }
}

/// Asks the daemon to stop and waits until it is gone: its end of an events socket closes with it.
async fn stop(client: &Client, force: bool) -> Result<(), CliError> {
    let mut events = client.events(&[EventKind::Lifecycle], false).await?;
    match client.shutdown(force).await {
        // The answer may be cut off by the very end that was asked for.
        Ok(()) | Err(ClientError::Exchanging { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    while let Ok(Some(_)) = events.next_text().await {}
    Ok(())
}
