//! `/1.0/instances/{name}/state`.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::InstanceStatePut;
use coffer_engine::{Action, StateChange};
use coffer_model::InstanceName;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place, Wire};
use crate::refusal::Refusal;
use crate::show;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/state"), get(read).put(replace))
}

/// `GET /1.0/instances/{name}/state`.
async fn read(State(app): State<App>, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let state = app.run(move |engine| engine.instance_state(&project, &name)).await?;
    envelope::sync(show::instance_state(state))
}

/// `PUT /1.0/instances/{name}/state`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstanceStatePut>,
) -> Answer {
    let change = change(&body)?;
    let view = app.run(move |engine| engine.change_state(&peer.caller, &project, &name, change)).await?;
    envelope::accepted(&view)
}

/// The action by which our client says "let it run" without asking first what the instance does.
const START_OR_UNFREEZE: &str = "start-or-unfreeze";

/// Reads a change of state. A stop that may take no time at all is a kill.
///
/// # Errors
/// If there is no such action, or state is to be kept or restored.
pub fn change(body: &InstanceStatePut) -> Result<StateChange, Refusal> {
    let action = match body.action.as_str() {
        "start" | START_OR_UNFREEZE => Action::Start,
        "stop" => Action::Stop,
        "restart" => Action::Restart,
        "freeze" => Action::Freeze,
        "unfreeze" => Action::Unfreeze,
        other => {
            let words = "start, stop, restart, freeze, unfreeze or start-or-unfreeze";
            return Err(Refusal::bad_request(format!("invalid action {other:?}: it must be {words}")));
        }
    };
    if body.stateful {
        return Err(Refusal::unsupported("stateful starts and stops"));
    }
    let stops = matches!(action, Action::Stop | Action::Restart);
    let timeout = u64::try_from(body.timeout).ok().map(Duration::from_secs);
    let or_unfreeze = body.action == START_OR_UNFREEZE;
    Ok(StateChange { action, or_unfreeze, timeout, force: body.force || (stops && timeout == Some(Duration::ZERO)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let body = serde_json::from_str(body).unwrap();
        let got = match change(&body) {
            Ok(change) if change.or_unfreeze => format!("{:?} or unfreeze", change.action),
            Ok(change) => format!("{:?} {:?} {}", change.action, change.timeout, change.force),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn changes() {
        check(r#"{"action":"start","timeout":-1,"force":false,"stateful":false}"#, "Start None false");
        check(r#"{"action":"stop","timeout":-1,"force":true}"#, "Stop None true");
        check(r#"{"action":"stop","timeout":0}"#, "Stop Some(0ns) true");
        check(r#"{"action":"stop","timeout":30}"#, "Stop Some(30s) false");
        check(r#"{"action":"freeze","timeout":0}"#, "Freeze Some(0ns) false");
        check(r#"{"action":"start-or-unfreeze"}"#, "Start or unfreeze");
        check(r#"{"action":"start","stateful":true}"#, "stateful starts and stops are not supported yet");
        check(r#"{"action":"jump"}"#, "invalid action \"jump\": it must be start, stop, restart, freeze, unfreeze or start-or-unfreeze");
    }
}
