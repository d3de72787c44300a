//! Coffer: storage.
