//! The envelope around every JSON answer.

use serde::{Deserialize, Serialize};

use crate::{StatusCode, null_as_default};

/// The kind of an answer, the only field by which clients decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ResponseKind {
    /// The metadata is the answer.
    #[default]
    Sync,
    /// The metadata is an operation that goes on in the background.
    Async,
    /// The request was refused; `error` says why.
    Error,
}

/// The envelope: all seven keys are always present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "M: Default + Deserialize<'de>"))]
pub struct Response<M> {
    /// Sync, async or error.
    #[serde(rename = "type")]
    pub kind: ResponseKind,
    /// Text of `status_code`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: String,
    /// 200 for sync, 100 for async, 0 for errors (also when the HTTP status is 201).
    #[serde(default, deserialize_with = "null_as_default")]
    pub status_code: StatusCode,
    /// URL of the operation of an async answer, else empty.
    #[serde(default, deserialize_with = "null_as_default")]
    pub operation: String,
    /// The HTTP status of an error, else 0.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error_code: u16,
    /// The text of an error, else empty.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error: String,
    /// The answer itself.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metadata: M,
}

impl<M> Response<M> {
    /// Wraps the answer of a request that was carried out at once.
    pub fn sync(metadata: M) -> Self {
        Response {
            kind: ResponseKind::Sync,
            status: StatusCode::SUCCESS.text().into(),
            status_code: StatusCode::SUCCESS,
            operation: String::new(),
            error_code: 0,
            error: String::new(),
            metadata,
        }
    }

    /// Wraps the operation that carries the request out; `operation` is its URL, with `?project=` outside the default project.
    pub fn accepted(operation: String, metadata: M) -> Self {
        Response {
            kind: ResponseKind::Async,
            status: StatusCode::OPERATION_CREATED.text().into(),
            status_code: StatusCode::OPERATION_CREATED,
            operation,
            error_code: 0,
            error: String::new(),
            metadata,
        }
    }
}

impl Response<Option<()>> {
    /// Wraps a refusal; `code` equals the HTTP status.
    pub fn error(code: u16, error: String) -> Self {
        Response {
            kind: ResponseKind::Error,
            status: String::new(),
            status_code: StatusCode(0),
            operation: String::new(),
            error_code: code,
            error,
            metadata: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_seven_keys_are_written() {
        assert_eq!(
            serde_json::to_string(&Response::sync(serde_json::json!({}))).unwrap(),
            r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{}}"#
        );
        assert_eq!(
            serde_json::to_string(&Response::error(404, "Instance not found".into())).unwrap(),
            r#"{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"error":"Instance not found","metadata":null}"#
        );
        assert_eq!(
            serde_json::to_string(&Response::accepted("/1.0/operations/x".into(), ())).unwrap(),
            r#"{"type":"async","status":"Operation created","status_code":100,"operation":"/1.0/operations/x","error_code":0,"error":"","metadata":null}"#
        );
    }

    #[test]
    fn null_metadata_is_the_default() {
        let read: Response<Vec<String>> = serde_json::from_str(r#"{"type":"sync","metadata":null}"#).unwrap();
        assert!(read.metadata.is_empty());
    }
}
