//! End-to-end tests of the whole product; see `main.rs` beside this folder.
//!
//! Never: a rule that a room could test itself.
