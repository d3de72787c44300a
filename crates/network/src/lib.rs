//! Coffer: network.
