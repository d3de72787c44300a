//! Coffer: store.
