//! `wait`, and the options of `launch` and `start` that wait.

use clap::Args;
use coffer_api::InstanceWaitPost;
use coffer_client::{Client, ClientError};

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// The exit code when the time was over, as of timeout(1).
const TIMED_OUT: i32 = 124;

/// The key of an operation's metadata that says so.
const TIMED_OUT_KEY: &str = "timed_out";

/// Wait until an instance has done something
///
/// Conditions: `init` (its init runs), `network` or `ip` (an address that others can reach), `ipv4`, `ipv6`, `ready` (it says so
/// through the guest API), `healthy` (its health check passed), `cloud-init` (it has ended without errors), `port:N` (somebody
/// accepts connections at a TCP port), `cmd:COMMAND` (a command ends with status 0; its words are split as a shell does). The exit
/// code is 124 when the time was over.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coffer wait web network port:80\n  coffer wait web 'cmd:test -e /run/ready' --timeout 30")]
pub(crate) struct Wait {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
    /// What to wait for; all of them
    #[arg(value_name = "CONDITION", required = true)]
    conditions: Vec<String>,
    /// Seconds to wait; 0 waits for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u32,
}

/// Waiting after a start.
#[derive(Debug, Args)]
pub(super) struct Waiting {
    /// Wait until it has done this: init, network, ipv4, ipv6, ready, healthy, cloud-init, port:N or cmd:COMMAND; may be given several times
    #[arg(long, value_name = "CONDITION")]
    wait: Vec<String>,
    /// Seconds to wait, after which the exit code is 124; 0 waits for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait_timeout: u32,
}

impl Wait {
    pub(crate) async fn run(self, app: &App) -> Result<i32, CliError> {
        let name = self.instance.required("the instance's name")?;
        wait(app, app.client(&self.instance)?, name, self.conditions, self.timeout).await
    }
}

impl Waiting {
    /// Waits for an instance that was started, if that is wanted, and returns the exit code.
    pub(super) async fn wait(&self, app: &App, client: &Client, name: &str) -> Result<i32, CliError> {
        if self.wait.is_empty() { Ok(0) } else { wait(app, client, name, self.wait.clone(), self.wait_timeout).await }
    }
}

async fn wait(app: &App, client: &Client, name: &str, conditions: Vec<String>, timeout: u32) -> Result<i32, CliError> {
    let request = InstanceWaitPost { conditions, timeout: timeout.into() };
    let pending = client.wait_instance(name, &request).await?;
    let id = pending.operation().map(|operation| operation.id.clone()).unwrap_or_default();
    let Err(error) = app.finish(pending, "").await else { return Ok(0) };
    let timed_out = match &error {
        CliError::Client(ClientError::OperationFailed { .. }) => {
            let operation = client.operation(&id).await;
            operation.is_ok_and(|operation| operation.metadata.is_some_and(|metadata| metadata.contains_key(TIMED_OUT_KEY)))
        }
        _ => false,
    };
    if !timed_out {
        return Err(error);
    }
    app.complain(&format!("Error: {}", crate::render::clean_lines(&crate::report(&error))));
    Ok(TIMED_OUT)
}
