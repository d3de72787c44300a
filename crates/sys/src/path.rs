//! Walks by openat2 that cannot leave a root.
