//! Coffer: testkit.
