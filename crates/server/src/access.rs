//! Who may do what: each route says the least that its callers must be allowed.

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use coffer_api::routes::{self, Access};

use crate::app::{App, Phase};
use crate::extract::{Parameters, Peer, Trust};
use crate::refusal::Refusal;

/// Lets a request through to its handler, if the caller may and the daemon is ready for it.
pub async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = match Peer::from_request_parts(&mut parts, &app).await {
        Ok(peer) => peer,
        Err(refusal) => return refusal.into_response(),
    };
    let template = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let open = peer.trust == Trust::None && needed(template, parts.method.as_str()) == Access::Metrics && metrics_are_open(&app).await;
    let decision = own_origin(&peer, &parts.headers)
        .and_then(|()| if open { Ok(()) } else { allowed(peer.trust, template, parts.method.as_str()) })
        .and_then(|()| ready(&app, template, parts.method.as_str()))
        .and_then(|()| this_server(parts.uri.query()));
    match decision {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Refuses what another site's page has a browser send: browsers show client certificates to any page's requests.
fn own_origin(peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
    if peer.connection.is_none() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text("origin").map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let foreign = origin.is_some() && origin != text("host");
    if foreign || text("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(Refusal::forbidden("requests from pages of other sites are refused"));
    }
    Ok(())
}

/// Refuses a request that is meant for another member of a cluster, also where nothing else of the query is read.
fn this_server(query: Option<&str>) -> Result<(), Refusal> {
    // Clients name the place where an object is, and that is `none` here.
    if Parameters::parse(query).get("target").is_some_and(|target| target != "none") {
        return Err(Refusal::bad_request("this server is not part of a cluster: leave out the target"));
    }
    Ok(())
}

/// What the route table does not know is for administrators.
fn allowed(trust: Trust, template: &str, method: &str) -> Result<(), Refusal> {
    match trust {
        Trust::Admin => Ok(()),
        Trust::Metrics if matches!(needed(template, method), Access::Anyone | Access::Metrics) => Ok(()),
        Trust::None if needed(template, method) == Access::Anyone => Ok(()),
        Trust::Metrics | Trust::None => Err(Refusal::forbidden("not authorized")),
    }
}

/// Whether an administrator opened the metrics to everybody.
async fn metrics_are_open(app: &App) -> bool {
    let config = app.run(|engine| engine.server_config()).await;
    config.is_ok_and(|config| !config.flag("core.metrics_authentication", true))
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
    use crate::extract::Connection;

    #[track_caller]
    fn check(template: &str, method: &str, expect: bool) {
        assert_eq!(allowed(Trust::None, template, method).is_ok(), expect, "{method} {template}");
        assert!(allowed(Trust::Admin, template, method).is_ok());
    }

    #[track_caller]
    fn check_origin(headers: &[(&'static str, &'static str)], expect: bool) {
        let connection = Connection { address: [127, 0, 0, 1].into(), certificate: None };
        let caller = coffer_engine::Caller { username: String::new(), protocol: "tls", address: String::new() };
        let mut peer = Peer { caller, trust: Trust::Admin, connection: Some(connection) };
        let headers: HeaderMap = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(own_origin(&peer, &headers).is_ok(), expect, "{headers:?}");
        peer.connection = None;
        assert!(own_origin(&peer, &headers).is_ok());
    }

    #[test]
    fn pages_of_other_sites_reach_nothing() {
        check_origin(&[("host", "a:8443")], true);
        check_origin(&[("host", "a:8443"), ("origin", "https://a:8443")], true);
        check_origin(&[("host", "a:8443"), ("origin", "https://evil")], false);
        check_origin(&[("host", "a:8443"), ("origin", "null")], false);
        check_origin(&[("host", "a:8443"), ("sec-fetch-site", "cross-site")], false);
    }

    #[test]
    fn who_is_not_trusted_gets_what_is_for_anyone() {
        check("/1.0", "GET", true);
        check("/1.0", "PUT", false);
        check("/1.0/instances/{name}", "GET", false);
        check("/1.0/containers/{name}/exec", "POST", false);
        check("/internal/shutdown", "PUT", false);
        check("/no/such/route", "GET", false);
        check("/1.0/metrics", "GET", false);
        assert!(allowed(Trust::Metrics, "/1.0/metrics", "GET").is_ok());
        assert!(allowed(Trust::Metrics, "/1.0", "GET").is_ok());
        for path in ["/1.0/instances", "/1.0/resources", "/1.0/operations"] {
            assert!(allowed(Trust::Metrics, path, "GET").is_err(), "{path}");
        }
    }
}
