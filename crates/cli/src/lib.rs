//! Coffer: cli.
