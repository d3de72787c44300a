//! Keys of snapshots.

use super::super::{LIVE, NEXT_START, VM, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::{No, Yes};
use crate::key::Value::{Bool, Expiry, Line, Schedule, SnapshotPattern};

/// Keys of snapshots.
pub(super) const KEYS: &[Key] = &[
    row("smbios11.*", Line, "", LIVE, Free, VM, "Strings of the virtual machine's firmware."),
    row(
        "snapshots.expiry",
        Expiry,
        "",
        LIVE,
        Free,
        Yes,
        "After what time a snapshot is deleted by itself: `1M 2H 3d 4w 5m 6y` (minutes, hours, days, weeks, months, years).",
    ),
    row(
        "snapshots.expiry.manual",
        Line,
        "",
        NEXT_START,
        Free,
        No("use snapshots.expiry"),
        "When a snapshot that was made by hand is deleted.",
    ),
    row(
        "snapshots.pattern",
        SnapshotPattern,
        "snap%d",
        LIVE,
        Free,
        Yes,
        "Names of snapshots made without a name: `%d` is a number, `{{ creation_date|date:'2006-01-02_15-04-05' }}` the moment, written as the example.",
    ),
    row(
        "snapshots.schedule",
        Schedule,
        "",
        LIVE,
        Free,
        Yes,
        "When snapshots are made: `MINUTE HOUR DAY MONTH WEEKDAY` by the host's clock, or aliases with commas: `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@annually`, `@yearly`, `@startup`, `@never`.",
    ),
    row("snapshots.schedule.stopped", Bool, "false", LIVE, Free, Yes, "Whether stopped instances are snapshotted too."),
];
