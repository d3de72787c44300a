//! `/internal`: the daemon's own questions, on its socket only.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};

use crate::app::{App, Phase};
use crate::envelope::{self, Answer};
use crate::extract::Parameters;
use crate::refusal::Refusal;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/internal/ready", get(ready)).route("/internal/shutdown", put(shutdown))
}

fn seconds(parameters: &Parameters, name: &str) -> Result<Option<Duration>, Refusal> {
    let parse = |text: &str| {
        text.parse()
            .map(Duration::from_secs)
            .map_err(|_| Refusal::bad_request(format!("invalid {name} {text:?}: it must be a number of seconds")))
    };
    parameters.get(name).map(parse).transpose()
}

/// `GET /internal/ready`: 200 when the daemon serves, else 503; with `timeout`, after at most so many seconds.
async fn ready(State(app): State<App>, parameters: Parameters) -> Answer {
    let mut phase = app.watch_phase();
    if let Some(patience) = seconds(&parameters, "timeout")? {
        let _ = tokio::time::timeout(patience, phase.wait_for(|phase| *phase >= Phase::Serving)).await;
    }
    let now = *phase.borrow();
    match now {
        Phase::Serving => envelope::done(),
        Phase::Starting => Err(Refusal::unavailable("the daemon is starting")),
        Phase::Stopping | Phase::Ending => Err(Refusal::unavailable("the daemon is shutting down")),
    }
}

/// `PUT /internal/shutdown`: stops all instances, then the daemon. Answers when the instances are stopped. `force` does not
/// wait for running operations, and `timeout` waits so many seconds for them.
async fn shutdown(State(app): State<App>, parameters: Parameters) -> Answer {
    let (force, timeout) = (parameters.flag("force"), seconds(&parameters, "timeout")?);
    app.enter(Phase::Stopping);
    // It goes on when the client does not wait for it.
    let stopped = tokio::spawn(async move {
        let stopped = app.engine.shutdown(force, timeout).await;
        app.enter(Phase::Ending);
        stopped
    });
    match stopped.await {
        Ok(result) => result?,
        Err(error) => return Err(Refusal::internal(format!("stopping was cut off: {error}"))),
    }
    envelope::done()
}
