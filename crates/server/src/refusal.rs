//! Why a request is refused, with the HTTP status that says so.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use coffer_engine::{EngineError, ErrorKind};
use coffer_model::NameError;

use crate::envelope;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    /// The request makes no sense (400).
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into() }
    }

    /// The caller may not (403).
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, text: text.into() }
    }

    /// There is no such thing (404).
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, text: text.into() }
    }

    /// Clients know it, but this server does not do it (501); `what` is a plural noun.
    pub fn unsupported(what: &str) -> Self {
        Self { status: StatusCode::NOT_IMPLEMENTED, text: format!("{what} are not supported yet") }
    }

    /// The path is known, the method is not (501).
    pub fn no_method() -> Self {
        Self { status: StatusCode::NOT_IMPLEMENTED, text: "not implemented".into() }
    }

    /// Not now (503).
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, text: text.into() }
    }

    /// Something here failed (500).
    pub fn internal(text: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, text: text.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let status = match error.kind() {
            ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Precondition => StatusCode::PRECONDITION_FAILED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, text: coffer_base::chain(&error) }
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED {
            tracing::warn!(status = self.status.as_u16(), "request failed: {}", self.text);
        } else {
            tracing::debug!(status = self.status.as_u16(), "request refused: {}", self.text);
        }
        envelope::json(self.status, &coffer_api::Response::error(self.status.as_u16(), self.text))
    }
}
