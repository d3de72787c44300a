//! Coffer: server.
