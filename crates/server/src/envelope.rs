//! The answers: LXD's envelope around every JSON body.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coffer_api::Response as Envelope;
use coffer_engine::OperationView;
use serde::Serialize;

use crate::prefer::Accepted;
use crate::refusal::Refusal;
use crate::show;

/// The result of a handler.
pub type Answer = Result<Response, Refusal>;

/// Answers 200 with `metadata`.
///
/// # Errors
/// None; the result is what handlers return.
pub fn sync(metadata: impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, &Envelope::sync(metadata)))
}

/// Answers 200 with `metadata` and the tag with which a change can be made conditional.
///
/// # Errors
/// None; the result is what handlers return.
pub fn tagged(metadata: impl Serialize, tag: &str) -> Answer {
    let mut response = json(StatusCode::OK, &Envelope::sync(metadata));
    set(&mut response, header::ETAG, &format!("\"{tag}\""));
    Ok(response)
}

/// Answers 200 with nothing.
///
/// # Errors
/// None; the result is what handlers return.
pub fn done() -> Answer {
    sync(serde_json::Map::new())
}

/// Answers 201: something was made, and stands at `location`.
///
/// # Errors
/// None; the result is what handlers return.
pub fn created(location: &str) -> Answer {
    let mut response = json(StatusCode::CREATED, &Envelope::sync(()));
    set(&mut response, header::LOCATION, location);
    Ok(response)
}

/// Answers 202: the operation carries the request out.
///
/// # Errors
/// None; the result is what handlers return.
pub fn accepted(view: &OperationView) -> Answer {
    let url = show::operation_url(view);
    let mut response = json(StatusCode::ACCEPTED, &Envelope::accepted(url.clone(), show::operation(view)));
    set(&mut response, header::LOCATION, &url);
    response.extensions_mut().insert(Accepted(view.id));
    Ok(response)
}

/// Makes a JSON response. Every answer in the envelope passes here.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(mut text) => {
            text.push(b'\n');
            let mut response = (status, Body::from(text)).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Err(error) => Refusal::internal(format!("writing the answer: {error}")).into_response(),
    }
}

/// Makes a response of raw bytes.
pub fn raw(body: impl Into<Body>) -> Response {
    let mut response = body.into().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Sets a header; a value that no header can hold (a line break in it) is left out.
pub fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[track_caller]
    fn check(answer: Answer, status: u16, body: &str) -> Response {
        let response = answer.unwrap_or_else(IntoResponse::into_response);
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let (parts, rest) = response.into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(rest.collect()).unwrap().to_bytes();
        assert_eq!(std::str::from_utf8(&bytes).unwrap().trim_end(), body);
        Response::from_parts(parts, Body::empty())
    }

    #[test]
    fn every_answer_has_all_seven_keys() {
        check(
            done(),
            200,
            r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{}}"#,
        );
        let made = check(
            created("/1.0/profiles/web"),
            201,
            r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":null}"#,
        );
        assert_eq!(made.headers()[header::LOCATION], "/1.0/profiles/web");
        check(
            Err(Refusal::not_found("instance web not found")),
            404,
            r#"{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"error":"instance web not found","metadata":null}"#,
        );
        let tagged = check(
            tagged([1], "abc"),
            200,
            r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":[1]}"#,
        );
        assert_eq!(tagged.headers()[header::ETAG], "\"abc\"");
    }

    #[test]
    fn a_header_that_cannot_be_is_left_out() {
        let answer = created("/1.0/x\r\nSet-Cookie: a").unwrap();
        assert!(!answer.headers().contains_key(header::LOCATION));
    }
}
