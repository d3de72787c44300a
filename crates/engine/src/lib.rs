//! Coffer: engine.
