//! Keys of the filter of system calls.

use super::super::{LIVE, NEXT_START, row};
use crate::key::Class::{Free, Interception, LowLevel};
use crate::key::Key;
use crate::key::Support::{self, No, Yes};
use crate::key::Value::{Bool, Line, SystemCalls};

/// The kernel could hand these calls to the server, which would do them with its own rights.
const NO_INTERCEPTION: Support = No(
    "this server makes no system call in an instance's place; a device node, mount or limit is given to the instance by a device or key",
);

/// Keys of the filter of system calls.
pub(super) const KEYS: &[Key] = &[
    row(
        "security.syscalls.allow",
        SystemCalls,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "System calls allowed beside the default list, one name a line.",
    ),
    row(
        "security.syscalls.deny",
        SystemCalls,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "System calls refused beside the default list, one name a line.",
    ),
    row("security.syscalls.deny_compat", Bool, "false", NEXT_START, Free, Yes, "Whether 32-bit system calls are refused on a 64-bit host."),
    row("security.syscalls.deny_default", Bool, "true", NEXT_START, LowLevel, Yes, "Whether the default list of system calls is in force."),
    row(
        "security.syscalls.intercept.bpf",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether bpf() is handled by the server.",
    ),
    row(
        "security.syscalls.intercept.bpf.devices",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether device programs of the unified hierarchy may be loaded.",
    ),
    row(
        "security.syscalls.intercept.mknod",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether mknod() of harmless devices is handled by the server.",
    ),
    row(
        "security.syscalls.intercept.mount",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether mount() is handled by the server.",
    ),
    row("security.syscalls.intercept.mount.allowed", Line, "", LIVE, Interception, NO_INTERCEPTION, "File systems that may be mounted."),
    row(
        "security.syscalls.intercept.mount.fuse",
        Line,
        "",
        LIVE,
        Interception,
        NO_INTERCEPTION,
        "File systems that are mounted by FUSE programs.",
    ),
    row(
        "security.syscalls.intercept.mount.shift",
        Bool,
        "false",
        LIVE,
        Interception,
        NO_INTERCEPTION,
        "Whether ids are mapped on such mounts.",
    ),
    row(
        "security.syscalls.intercept.sched_setscheduler",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether sched_setscheduler() is handled by the server.",
    ),
    row(
        "security.syscalls.intercept.setxattr",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether setxattr() is handled by the server.",
    ),
    row(
        "security.syscalls.intercept.sysinfo",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_INTERCEPTION,
        "Whether sysinfo() tells the instance's limits.",
    ),
];
