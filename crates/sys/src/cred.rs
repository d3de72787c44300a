//! Identities: uids, gids, capabilities, keyrings, resource limits.
