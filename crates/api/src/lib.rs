//! Coffer: api.
