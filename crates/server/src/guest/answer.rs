//! Answers of the guest API: no envelope.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coffer_engine::EngineError;
use serde::Serialize;

use crate::refusal::Refusal;

/// The result of a handler.
pub type GuestAnswer = Result<Response, GuestRefusal>;

/// Why an instance is refused: text with an HTTP code.
#[derive(Debug)]
pub struct GuestRefusal {
    status: StatusCode,
    text: String,
}

impl GuestRefusal {
    /// Only root inside may ask (401).
    pub fn unauthorized() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, text: "Access denied for non-root user".into() }
    }

    /// The instance may not ask (403).
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, text: text.into() }
    }

    /// There is no such thing (404).
    pub fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, text: "not found".into() }
    }
}

impl From<Refusal> for GuestRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status(), text: refusal.to_string() }
    }
}

impl From<EngineError> for GuestRefusal {
    fn from(error: EngineError) -> Self {
        Refusal::from(error).into()
    }
}

impl IntoResponse for GuestRefusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.text)).into_response();
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// Answers JSON.
pub fn json(value: &impl Serialize) -> GuestAnswer {
    let text = serde_json::to_vec(value).map_err(|error| Refusal::internal(format!("writing the answer: {error}")))?;
    Ok(typed(text, "application/json"))
}

/// Answers bytes as they are.
pub fn raw(text: String) -> GuestAnswer {
    Ok(typed(text.into_bytes(), "application/octet-stream"))
}

/// Answers nothing.
pub fn done() -> GuestAnswer {
    Ok(typed(Vec::new(), "application/octet-stream"))
}

fn typed(body: Vec<u8>, kind: &'static str) -> Response {
    let mut response = Body::from(body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
