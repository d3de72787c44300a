//! The mount API by descriptors: fsopen, open_tree, mount_setattr, move_mount.
