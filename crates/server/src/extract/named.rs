//! Names in paths: matched on the raw path, decoded a segment at a time, then parsed into types that are always valid.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::refusal::Refusal;

/// The variable segments of the path; a tuple where there are several.
#[derive(Debug, Clone)]
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, app).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(refuse(rejection)),
        }
    }
}

fn refuse(rejection: PathRejection) -> Refusal {
    match rejection {
        PathRejection::FailedToDeserializePathParams(error) => Refusal::bad_request(match error.into_kind() {
            ErrorKind::Message(text) => text,
            ErrorKind::DeserializeError { message, .. } => message,
            ErrorKind::InvalidUtf8InPathParam { key } => format!("the path's {key} is not UTF-8"),
            other => other.to_string(),
        }),
        other => Refusal::internal(other.to_string()),
    }
}
