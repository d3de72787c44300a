//! Coffer: sys.
