//! The `cofferd` program.
fn main() {}
