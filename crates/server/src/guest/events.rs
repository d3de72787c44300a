//! `/1.0/events` of the guest API: a websocket, or lines of JSON for who asks without one.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use coffer_engine::{Guest, GuestEvent, GuestEventBody};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};

use super::answer::GuestAnswer;
use crate::app::App;
use crate::extract::Parameters;
use crate::refusal::Refusal;
use crate::ws::{Upgrade, feed};

/// Which events a listener wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    config: bool,
    device: bool,
}

/// Writes an event for the listener; nothing for what is not for it.
type Write = Box<dyn Fn(&GuestEvent) -> Option<String> + Send + Sync>;

/// `GET /1.0/events?type=config,device`.
pub async fn follow(State(app): State<App>, Extension(guest): Extension<Guest>, parameters: Parameters, request: Request) -> GuestAnswer {
    let kinds = Kinds::parse(parameters.get("type"))?;
    let events = app.engine.guest_events();
    let write: Write = Box::new(move |event| shown(event, &guest, kinds).map(|event| event.to_string()));
    let (mut parts, _) = request.into_parts();
    Ok(match Upgrade::from_request_parts(&mut parts, &app).await {
        Ok(upgrade) => upgrade.then(async move |socket| feed(socket, Vec::new(), events, write, |_| None).await),
        Err(_) => lines(events, write),
    })
}

/// Answers a body that has a line for each event and no end.
fn lines(events: broadcast::Receiver<Arc<GuestEvent>>, write: Write) -> Response {
    let next = async |(mut events, write): (broadcast::Receiver<Arc<GuestEvent>>, Write)| loop {
        match events.recv().await {
            Ok(event) => {
                if let Some(line) = write(&event) {
                    return Some((Ok::<_, Infallible>(Bytes::from(line + "\n")), (events, write)));
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    };
    Body::from_stream(stream::unfold((events, write), next)).into_response()
}

impl Kinds {
    fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        let Some(text) = text else { return Ok(Self { config: true, device: true }) };
        let mut kinds = Self { config: false, device: false };
        for word in text.split(',') {
            match word {
                "config" => kinds.config = true,
                "device" => kinds.device = true,
                _ => return Err(Refusal::bad_request(format!("invalid event type {word:?}: it must be config or device"))),
            }
        }
        Ok(kinds)
    }
}

/// An event as the instance that it is for reads it; nothing for others.
fn shown(event: &GuestEvent, guest: &Guest, kinds: Kinds) -> Option<Value> {
    if (&event.project, &event.name) != (&guest.project, &guest.name) {
        return None;
    }
    let (kind, metadata) = match &event.body {
        GuestEventBody::Config { key, old_value, value } if kinds.config => {
            ("config", json!({ "key": key, "old_value": old_value, "value": value }))
        }
        GuestEventBody::Device { action, name, config } if kinds.device => {
            ("device", json!({ "action": action, "name": name, "config": config }))
        }
        GuestEventBody::Config { .. } | GuestEventBody::Device { .. } => return None,
    };
    Some(json!({ "timestamp": event.timestamp, "type": kind, "metadata": metadata }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_a_list() {
        assert_eq!(Kinds::parse(None).unwrap(), Kinds { config: true, device: true });
        assert_eq!(Kinds::parse(Some("device")).unwrap(), Kinds { config: false, device: true });
        assert_eq!(Kinds::parse(Some("lifecycle")).unwrap_err().status().as_u16(), 400);
    }
}
