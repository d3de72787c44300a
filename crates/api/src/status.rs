//! Status codes carried inside bodies.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A body-level status code: 100–199 under way, 200 success, 400 and up failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusCode(pub u16);

macro_rules! codes {
    ($( $name:ident = $code:literal $text:literal ),* $(,)?) => {
        impl StatusCode {
            $(
                #[doc = concat!("Code ", $code, ", written \"", $text, "\".")]
                pub const $name: StatusCode = StatusCode($code);
            )*

            /// Returns the text that stands beside the code; empty for a code this version does not know.
            pub fn text(self) -> &'static str {
                match self.0 {
                    $( $code => $text, )*
                    _ => "",
                }
            }

            /// Finds the code by its text, ignoring case.
            pub fn from_text(text: &str) -> Option<StatusCode> {
                $( if text.eq_ignore_ascii_case($text) { return Some(Self::$name); } )*
                None
            }
        }
    };
}

codes! {
    OPERATION_CREATED = 100 "Operation created",
    STARTED = 101 "Started",
    STOPPED = 102 "Stopped",
    RUNNING = 103 "Running",
    CANCELLING = 104 "Cancelling",
    PENDING = 105 "Pending",
    STARTING = 106 "Starting",
    STOPPING = 107 "Stopping",
    ABORTING = 108 "Aborting",
    FREEZING = 109 "Freezing",
    FROZEN = 110 "Frozen",
    THAWED = 111 "Thawed",
    ERROR = 112 "Error",
    READY = 113 "Ready",
    SUCCESS = 200 "Success",
    FAILURE = 400 "Failure",
    CANCELLED = 401 "Cancelled",
}

impl StatusCode {
    /// Tells whether nothing further will happen.
    pub fn is_final(self) -> bool {
        self.0 >= 200
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for StatusCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        ObjectBuilder::new().schema_type(Type::Integer).description(Some("Body-level status code")).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for StatusCode {}
