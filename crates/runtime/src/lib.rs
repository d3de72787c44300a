//! Coffer: runtime.
