//! Coffer: base.
