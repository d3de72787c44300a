//! What came with the instance's image.

use super::super::{NEXT_START, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::Text;

/// What came with the instance's image.
pub(super) const KEYS: &[Key] = &[row("image.*", Text, "", NEXT_START, Free, Yes, "Property copied from the image at creation.")];
