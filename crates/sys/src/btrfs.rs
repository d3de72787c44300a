//! Btrfs ioctls: subvolumes and snapshots.
