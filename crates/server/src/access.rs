//! Who may do what: each route says the least that its callers must be allowed.

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use coffer_api::routes::{self, Access};

use crate::app::{App, Phase};
use crate::extract::{Peer, Trust};
use crate::refusal::Refusal;

/// Lets a request through to its handler, if the caller may and the daemon is ready for it.
pub async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = match Peer::from_request_parts(&mut parts, &app).await {
        Ok(peer) => peer,
        Err(refusal) => return refusal.into_response(),
    };
    let template = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let decision = allowed(peer.trust, template, parts.method.as_str()).and_then(|()| ready(&app, template, parts.method.as_str()));
    match decision {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// What the route table does not know is for administrators.
fn allowed(trust: Trust, template: &str, method: &str) -> Result<(), Refusal> {
    match trust {
        Trust::Admin => Ok(()),
        Trust::None if needed(template, method) == Access::Anyone => Ok(()),
        Trust::None => Err(Refusal::forbidden("not authorized")),
    }
}

fn needed(template: &str, method: &str) -> Access {
    let method = if method == "HEAD" { "GET" } else { method };
    let path = template.replacen("/1.0/containers", "/1.0/instances", 1).replace("{*", "{");
    routes::of_path(&path).find(|route| route.method.as_str() == method).map_or(Access::Admin, |route| route.access)
}

/// While the daemon starts only its own questions are answered; while it stops, nothing new begins.
fn ready(app: &App, template: &str, method: &str) -> Result<(), Refusal> {
    let reading = matches!(method, "GET" | "HEAD");
    match app.phase() {
        Phase::Serving => Ok(()),
        Phase::Starting if template.starts_with("/internal/") || template == "/" => Ok(()),
        Phase::Starting => Err(Refusal::unavailable("the daemon is starting; try again in a moment")),
        Phase::Stopping | Phase::Ending if reading || template.starts_with("/internal/") => Ok(()),
        Phase::Stopping | Phase::Ending => Err(Refusal::unavailable("the daemon is shutting down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, method: &str, expect: bool) {
        assert_eq!(allowed(Trust::None, template, method).is_ok(), expect, "{method} {template}");
        assert!(allowed(Trust::Admin, template, method).is_ok());
    }

    #[test]
    fn who_is_not_trusted_gets_what_is_for_anyone() {
        check("/1.0", "GET", true);
        check("/1.0", "PUT", false);
        check("/1.0/instances/{name}", "GET", false);
        check("/1.0/containers/{name}/exec", "POST", false);
        check("/internal/shutdown", "PUT", false);
        check("/no/such/route", "GET", false);
    }
}
