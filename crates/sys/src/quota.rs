//! Project quotas.
