//! Keys that reach below the typed ones.

use super::super::{LIVE, NEXT_START, VM, row};
use crate::key::Class::LowLevel;
use crate::key::Key;
use crate::key::Support::{No, Yes};
use crate::key::Value::{ApparmorRules, IdMapEntries, Text};

/// Keys that reach below the typed ones.
pub(super) const KEYS: &[Key] = &[
    row(
        "raw.apparmor",
        ApparmorRules,
        "",
        LIVE,
        LowLevel,
        Yes,
        "Rules that are added to the instance's AppArmor profile, a line each: `deny /srv/** w,`. They mean something where the kernel has AppArmor.",
    ),
    row(
        "raw.idmap",
        IdMapEntries,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "Host ids that stand for ids inside beside the range, a line each: `both 1000 1000`, `uid 50-60 500-510`, `gid 100 10000`.",
    ),
    row(
        "raw.lxc",
        Text,
        "",
        NEXT_START,
        LowLevel,
        No("the runtime is this server's own; use the typed keys"),
        "Raw configuration for liblxc.",
    ),
    row("raw.qemu", Text, "", NEXT_START, LowLevel, VM, "Raw arguments for QEMU."),
    row("raw.qemu.conf", Text, "", NEXT_START, LowLevel, VM, "Raw configuration for QEMU."),
    row("raw.qemu.qmp.early", Text, "", NEXT_START, LowLevel, VM, "Raw commands for QEMU."),
    row("raw.qemu.qmp.post-start", Text, "", NEXT_START, LowLevel, VM, "Raw commands for QEMU."),
    row("raw.qemu.qmp.pre-start", Text, "", NEXT_START, LowLevel, VM, "Raw commands for QEMU."),
    row("raw.qemu.scriptlet", Text, "", NEXT_START, LowLevel, VM, "Raw commands for QEMU."),
    row("raw.seccomp", Text, "", NEXT_START, LowLevel, No("use security.syscalls.allow and security.syscalls.deny"), "Raw seccomp policy."),
];
