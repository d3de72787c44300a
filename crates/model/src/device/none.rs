//! `none`: nothing; takes away a device of the same name that a profile gives.

use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::Line;
use crate::keys::{NEXT_START, row};

/// Keys of the device kind `none`.
pub const KEYS: &[Key] = &[row("type", Line, "", NEXT_START, Free, Yes, "`none`.")];
