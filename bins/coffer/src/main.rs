//! The `coffer` program.
fn main() {}
