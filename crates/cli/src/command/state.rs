//! `start`, `stop`, `restart`, `pause`, `resume`.

use clap::Args;
use coffer_api::{InstanceStatePut, StatusCode};
use coffer_client::{Client, ClientError, Pending};

use super::console;
use super::wait::Waiting;
use crate::app::App;
use crate::error::CliError;
use crate::render::clean_lines;
use crate::target::Target;

/// Start instances, or wake paused ones
#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
    /// Ignore a stored running state
    #[arg(long)]
    stateless: bool,
    /// Attach to the console at once
    #[arg(long, value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "console")]
    console: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Stop instances
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
    /// Store the running state for the next start
    #[arg(long)]
    stateful: bool,
    /// Look at the console while it stops
    #[arg(long, value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "console")]
    console: Option<String>,
}

/// Restart instances
#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
    /// Attach to the console at once
    #[arg(long, value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "console")]
    console: Option<String>,
}

/// Pause instances: their processes stay in memory and get no processor time
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Let paused instances go on
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// Instances
    #[arg(value_name = "[REMOTE:]INSTANCE", required_unless_present = "all")]
    instances: Vec<Target>,
    /// All instances of the project
    #[arg(long, conflicts_with = "instances")]
    all: bool,
}

#[derive(Debug, Args)]
struct How {
    /// Kill instead of asking the instance to shut down
    #[arg(short, long)]
    force: bool,
    /// Seconds to wait for the shutdown before giving up; -1 waits for ever
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "SECONDS")]
    timeout: i64,
}

impl Start {
    pub(crate) async fn run(self, app: &App) -> Result<i32, CliError> {
        let request = InstanceStatePut { action: "start".into(), timeout: -1, ..Default::default() };
        let stateless = self.stateless;
        self.which.change(app, "start", request, async |client, name, request| wake(client, name, request, stateless).await).await?;
        let mut code = 0;
        for target in &self.which.instances {
            code = code.max(self.waiting.wait(app, app.client(target)?, &target.name).await?);
        }
        self.which.console(app, self.console.as_deref()).await.map(|()| code)
    }
}

/// Starts an instance or wakes it. Our servers see what it needs; of others it is asked first: a paused one is woken, a
/// stored state is restored.
async fn wake(client: &Client, name: &str, request: &InstanceStatePut, stateless: bool) -> Result<Pending, ClientError> {
    let wanted = InstanceStatePut { action: "start-or-unfreeze".into(), ..request.clone() };
    match client.change_state(name, &wanted).await {
        Err(ClientError::Refused { code: 400, .. }) => {}
        begun => return begun,
    }
    let instance = client.instance(name).await?.value;
    let mut request = request.clone();
    if instance.status_code == StatusCode::FROZEN {
        "unfreeze".clone_into(&mut request.action);
    }
    request.stateful = instance.stateful && !stateless;
    client.change_state(name, &request).await
}

impl Stop {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let request = InstanceStatePut { action: "stop".into(), timeout: self.how.timeout, force: self.how.force, stateful: self.stateful };
        let Some(kind) = self.console.as_deref() else { return self.which.change(app, "stop", request, same).await };
        let (stopped, seen) = tokio::join!(self.which.change(app, "stop", request, same), self.which.console(app, Some(kind)));
        stopped.and(seen)
    }
}

impl Restart {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let request = InstanceStatePut { action: "restart".into(), timeout: self.how.timeout, force: self.how.force, stateful: false };
        self.which.change(app, "restart", request, same).await?;
        self.which.console(app, self.console.as_deref()).await
    }
}

impl Pause {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let request = InstanceStatePut { action: "freeze".into(), ..Default::default() };
        self.which.change(app, "pause", request, same).await
    }
}

impl Resume {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let request = InstanceStatePut { action: "unfreeze".into(), ..Default::default() };
        self.which.change(app, "resume", request, same).await
    }
}

async fn same(client: &Client, name: &str, request: &InstanceStatePut) -> Result<Pending, ClientError> {
    client.change_state(name, request).await
}

impl Which {
    /// Makes the change on each instance; failures are reported one by one.
    async fn change(
        &self,
        app: &App,
        action: &'static str,
        request: InstanceStatePut,
        begin: impl AsyncFn(&Client, &str, &InstanceStatePut) -> Result<Pending, ClientError>,
    ) -> Result<(), CliError> {
        if self.all {
            return app.finish(app.client(&Target::default())?.change_all_states(request).await?, "").await.map(drop);
        }
        // All changes are begun before the first is waited for, so they run side by side.
        let single = self.instances.len() == 1;
        let mut begun = Vec::new();
        for target in &self.instances {
            let pending = async {
                let client = app.client(target)?;
                let name = target.required("the instance's name")?;
                let begun = if single { begin(&client.waiting(), name, &request).await } else { begin(client, name, &request).await };
                Ok::<_, CliError>(begun?)
            };
            begun.push((target, pending.await));
        }
        let mut failed = false;
        for (target, pending) in begun {
            let done = match pending {
                Ok(pending) => app.finish(pending, "").await.map_err(|error| with_log_hint(app, error, &target.shown())),
                Err(error) => Err(error),
            };
            match done {
                Ok(_) => {}
                Err(error) if single => return Err(error),
                Err(error) => {
                    app.complain(&format!("error: {}: {}", target.name, clean_lines(&crate::report(&error))));
                    failed = true;
                }
            }
        }
        if failed { Err(CliError::SomeFailed { action }) } else { Ok(()) }
    }

    async fn console(&self, app: &App, kind: Option<&str>) -> Result<(), CliError> {
        match (kind, self.instances.as_slice()) {
            (None, _) => Ok(()),
            (Some(kind), [target]) => console::attach(app.client(target)?, &target.name, kind).await,
            (Some(_), _) => Err(CliError::Missing { what: "the one instance whose console is wanted" }),
        }
    }
}

/// Tells the user where more may be found when an operation on an instance failed.
pub(super) fn with_log_hint(app: &App, error: CliError, instance: &str) -> CliError {
    match error {
        CliError::Client(cause @ ClientError::OperationFailed { .. }) => {
            let hint = format!("Try `{} info --show-log {instance}` for more", app.program);
            CliError::Hinted { cause, hint }
        }
        other => other,
    }
}
