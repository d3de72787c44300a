//! Base64 in its standard alphabet with padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes bytes as text.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads a text; `None` if it is something else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
