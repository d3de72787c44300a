//! `/1.0/events`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// `GET /1.0/events`. The listener hears everything that happens after its request was answered; with `since` first what
/// came after the event of that number, or of what is lost of it.
async fn follow(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters, upgrade: Upgrade) -> Answer {
    let kinds = kinds(parameters.get("type"))?;
    let project = match scope {
        Scope::Project(project) => Some(project),
        Scope::All => None,
    };
    let since = parameters.get("since").map(number).transpose()?;
    let Some(since) = since else {
        let events = app.engine.events().listen();
        let write = move |event: &_| text(&show::event(event, &kinds, project.as_ref())?);
        return Ok(upgrade.then(async move |socket| feed(socket, Vec::new(), events, write, |_| None).await));
    };
    let replay = app.engine.events().listen_since(since);
    let mut first: Vec<String> = replay.gap.and_then(|first| text(&show::gap(since, first))).into_iter().collect();
    first.extend(replay.events.iter().filter_map(|event| text(&show::event(event, &kinds, project.as_ref())?)));
    let told = Arc::new(AtomicU64::new(replay.events.last().map_or(since, |event| event.sequence)));
    let known = told.clone();
    let write = move |event: &coffer_engine::Event| {
        told.store(event.sequence, Ordering::Relaxed);
        text(&show::event(event, &kinds, project.as_ref())?)
    };
    // Of a listener that was too slow: what it missed lies right after what it was told last.
    let lost = move |count| {
        let last = known.load(Ordering::Relaxed);
        text(&show::gap(last, last + count + 1))
    };
    Ok(upgrade.then(async move |socket| feed(socket, first, replay.rest, write, lost).await))
}

fn text(event: &coffer_api::Event) -> Option<String> {
    serde_json::to_string(event).ok()
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::bad_request(format!("invalid since {text:?}: it must be the number of an event")))
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
        assert_eq!(number("17"), Ok(17));
        assert!(number("yesterday").unwrap_err().to_string().contains("yesterday"));
    }
}
