//! Coffer: image.
