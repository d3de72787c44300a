//! Coffer: model.
