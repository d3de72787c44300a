//! `Prefer: wait=SECONDS`: a change that is over within so long is answered with how it ended.
//!
//! It spares the client the request with which it would wait. Servers that do not know the header ignore it, and the
//! client waits as ever: the answer has the same form.
//!
//! Source: RFC 7240, "Prefer Header for HTTP", 4.3.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use coffer_engine::Class;
use uuid::Uuid;

use crate::app::App;
use crate::envelope;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// No request is held longer than this: proxies and clients lose patience.
const LONGEST: Duration = Duration::from_secs(30);

/// Names the operation that an answer speaks of, for [`hold`].
#[derive(Debug, Clone, Copy)]
pub struct Accepted(pub Uuid);

/// Holds the answer to a change back until its operation is over or the client's time is up.
pub async fn hold(State(app): State<App>, request: Request, next: Next) -> Response {
    let limit = wanted(request.headers());
    let answer = next.run(request).await;
    let (Some(limit), Some(&Accepted(id))) = (limit, answer.extensions().get()) else { return answer };
    // Others wait for a connection of this very client.
    if app.engine.operations().get(id).is_none_or(|view| view.class != Class::Task) {
        return answer;
    }
    let Some(view) = app.engine.operations().wait(id, Some(limit)).await else { return answer };
    match envelope::accepted(&view) {
        Ok(mut held) => {
            debug_assert_eq!(answer.status(), StatusCode::ACCEPTED, "only operations are held");
            held.headers_mut().insert(APPLIED, HeaderValue::from_static("wait"));
            held
        }
        Err(_) => answer,
    }
}

/// How long the client would wait for the answer; what is no number is as if it were not there, as the standard wants.
fn wanted(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split([',', ';']));
    let mut seconds = preferences.filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    });
    let wanted = Duration::from_secs(seconds.next()?);
    (!wanted.is_zero()).then_some(wanted.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&'static str], expect: Option<u64>) {
        let headers: HeaderMap = values.iter().map(|value| (PREFER, HeaderValue::from_static(value))).collect();
        assert_eq!(wanted(&headers), expect.map(Duration::from_secs), "{values:?}");
    }

    #[test]
    fn the_time_that_a_client_would_wait() {
        check(&[], None);
        check(&["wait=1"], Some(1));
        check(&["respond-async, Wait=\"5\""], Some(5));
        check(&["respond-async", "wait = 7; x=y"], Some(7));
        check(&["wait=2, wait=9"], Some(2));
        check(&["wait=3600"], Some(30));
        check(&["wait=0"], None);
        check(&["wait=-1", "wait=soon", "wait"], None);
    }
}
