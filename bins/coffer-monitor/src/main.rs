//! The `coffer-monitor` program.
fn main() {}
