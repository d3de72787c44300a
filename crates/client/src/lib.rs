//! Coffer: client.
