//! Coffer: runtime-spec.
