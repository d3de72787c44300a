//! The `coffer-unpack` program.
fn main() {}
