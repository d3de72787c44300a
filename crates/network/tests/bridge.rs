//! Bridges for real, in namespaces of their own.

fn main() {}
