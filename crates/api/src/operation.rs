//! Work that goes on in the background.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{LifecycleRequestor, StatusCode, Timestamp};

/// What kind of work an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum OperationClass {
    /// Runs by itself.
    #[default]
    Task,
    /// Waits for the client to connect websockets.
    Websocket,
    /// Is nothing but a secret that someone may redeem.
    Token,
}

impl OperationClass {
    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationClass::Task => "task",
            OperationClass::Websocket => "websocket",
            OperationClass::Token => "token",
        }
    }
}

wire! {
    /// Work that goes on in the background.
    pub struct Operation {
        /// UUID.
        pub id: String,
        /// Task, websocket or token.
        pub class: OperationClass,
        /// What is being done, in words.
        pub description: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When state or metadata last changed.
        pub updated_at: Timestamp,
        /// Text of `status_code`.
        pub status: String,
        /// Final from 200 up.
        pub status_code: StatusCode,
        /// URLs of what it works on, by kind (`instances`, `containers`, `images` …), without project.
        pub resources: Option<BTreeMap<String, Vec<String>>>,
        /// Results, websocket secrets and progress; values of `*_progress` keys are texts.
        pub metadata: Option<BTreeMap<String, Value>>,
        /// Whether DELETE cancels it.
        pub may_cancel: bool,
        /// Why it failed, else empty.
        pub err: String,
        /// Name of the cluster member, `none` without a cluster.
        pub location: String,
        /// Who asked for it; absent for what the server began by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub requestor: Option<LifecycleRequestor>,
    }

    /// `GET /1.0/operations/log`: an operation as it is remembered.
    pub struct OperationLogEntry {
        /// UUID.
        pub id: String,
        /// Task, websocket or token.
        pub class: OperationClass,
        /// What was done, in words.
        pub description: String,
        /// Project it belonged to.
        pub project: String,
        /// Text of `status_code`.
        pub status: String,
        /// Final from 200 up.
        pub status_code: StatusCode,
        /// URLs of what it worked on, by kind, without project.
        pub resources: Option<BTreeMap<String, Vec<String>>>,
        /// Why it failed, else empty.
        pub err: String,
        /// Who asked for it; `null` for what the server began by itself.
        pub requestor: Option<LifecycleRequestor>,
        /// When it began.
        pub created_at: Timestamp,
        /// When it ended; unset while it works.
        pub ended_at: Timestamp,
    }
}

impl Operation {
    /// Returns a value of the metadata.
    pub fn metadata_value(&self, key: &str) -> Option<&Value> {
        self.metadata.as_ref()?.get(key)
    }

    /// Returns a text of the metadata.
    pub fn metadata_text(&self, key: &str) -> Option<&str> {
        self.metadata_value(key)?.as_str()
    }
}
