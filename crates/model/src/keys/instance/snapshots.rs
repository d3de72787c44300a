//! Keys of snapshots.

use super::super::{LATER, LIVE, NEXT_START, VM, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::No;
use crate::key::Value::{Bool, Line};

/// Keys of snapshots.
pub(super) const KEYS: &[Key] = &[
    row("smbios11.*", Line, "", LIVE, Free, VM, "Strings of the virtual machine's firmware."),
    row("snapshots.expiry", Line, "", NEXT_START, Free, LATER, "When a snapshot is deleted, after its creation."),
    row(
        "snapshots.expiry.manual",
        Line,
        "",
        NEXT_START,
        Free,
        No("use snapshots.expiry"),
        "When a snapshot that was made by hand is deleted.",
    ),
    row("snapshots.pattern", Line, "snap%d", NEXT_START, Free, LATER, "Names of snapshots made without a name."),
    row("snapshots.schedule", Line, "", NEXT_START, Free, LATER, "When snapshots are made."),
    row("snapshots.schedule.stopped", Bool, "false", NEXT_START, Free, LATER, "Whether stopped instances are snapshotted too."),
];
