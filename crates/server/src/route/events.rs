//! `/1.0/events`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::EventKind;
use coffer_engine::Scope;

use crate::app::App;
use crate::envelope::Answer;
use crate::extract::{Everywhere, Parameters};
use crate::refusal::Refusal;
use crate::show;
use crate::ws::{Upgrade, feed};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/1.0/events", get(follow))
}

/// `GET /1.0/events`. The listener hears everything that happens after its request was answered.
async fn follow(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters, upgrade: Upgrade) -> Answer {
    let kinds = kinds(parameters.get("type"))?;
    let project = match scope {
        Scope::Project(project) => Some(project),
        Scope::All => None,
    };
    let events = app.engine.events().listen();
    let write = move |event: &_| serde_json::to_string(&show::event(event, &kinds, project.as_ref())?).ok();
    Ok(upgrade.then(async move |socket| feed(socket, events, write).await))
}

fn kinds(text: Option<&str>) -> Result<Vec<EventKind>, Refusal> {
    let Some(text) = text else { return Ok(vec![EventKind::Operation, EventKind::Lifecycle, EventKind::Logging]) };
    let known = |word: &str| {
        EventKind::from_text(word)
            .ok_or_else(|| Refusal::bad_request(format!("invalid event type {word:?}: it must be operation, lifecycle or logging")))
    };
    text.split(',').map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_a_list() {
        assert_eq!(kinds(None).unwrap().len(), 3);
        assert_eq!(kinds(Some("lifecycle,operation")).unwrap(), [EventKind::Lifecycle, EventKind::Operation]);
        assert_eq!(kinds(Some("x")).unwrap_err().status().as_u16(), 400);
    }
}
