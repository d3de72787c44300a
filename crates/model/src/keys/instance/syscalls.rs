//! Keys of the filter of system calls.

use super::super::{LIVE, NEXT_START, row};
use crate::key::Class::{Free, Interception, LowLevel};
use crate::key::Key;
use crate::key::Support::{self, No, Yes};
use crate::key::Value::{Bool, FilesystemPrograms, Filesystems, SystemCalls};

/// A program for the kernel is its author's to answer for, and this one would decide which devices are opened.
const NO_BPF: Support = No(
    "this server loads no program into the kernel in an instance's place; give the instance a device by a unix-char, unix-block or gpu device",
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
    row("security.syscalls.intercept.bpf", Bool, "false", NEXT_START, Interception, NO_BPF, "Whether bpf() is handled by the server."),
    row(
        "security.syscalls.intercept.bpf.devices",
        Bool,
        "false",
        NEXT_START,
        Interception,
        NO_BPF,
        "Whether device programs of the unified hierarchy may be loaded.",
    ),
    row(
        "security.syscalls.intercept.mknod",
        Bool,
        "false",
        NEXT_START,
        Interception,
        Yes,
        "Whether nodes of `null`, `zero`, `full`, `random`, `urandom`, `tty` and `console` can be made anywhere inside; `console` cannot be opened.",
    ),
    row(
        "security.syscalls.intercept.mount",
        Bool,
        "false",
        NEXT_START,
        Interception,
        Yes,
        "Whether root inside can mount the file systems of security.syscalls.intercept.mount.allowed and, by FUSE programs, of security.syscalls.intercept.mount.fuse. The new calls for mounting (fsopen) are not there then, so that programs take mount().",
    ),
    row(
        "security.syscalls.intercept.mount.allowed",
        Filesystems,
        "",
        LIVE,
        Interception,
        Yes,
        "File systems that may be mounted from block devices that the instance was given (unix-block). The kernel reads what the instance wrote there: whoever is root inside may try what its drivers make of it.",
    ),
    row(
        "security.syscalls.intercept.mount.fuse",
        FilesystemPrograms,
        "",
        LIVE,
        Interception,
        Yes,
        "File systems that FUSE programs inside mount, such as `ext4=fuse2fs,squashfs=squashfuse`. When root inside mounts such a file system, the program is started there, in its place and with its rights, as `PROGRAM SOURCE TARGET -o OPTIONS`, and its end is the call's. None of them may be in security.syscalls.intercept.mount.allowed.",
    ),
    row(
        "security.syscalls.intercept.mount.shift",
        Bool,
        "false",
        LIVE,
        Interception,
        Yes,
        "Whether ids on such file systems are those inside. Without, they are the host's, and set-id bits have no effect.",
    ),
    row(
        "security.syscalls.intercept.sched_setscheduler",
        Bool,
        "false",
        NEXT_START,
        Interception,
        Yes,
        "Whether root inside can give real-time classes up to priority 49.",
    ),
    row(
        "security.syscalls.intercept.setxattr",
        Bool,
        "false",
        NEXT_START,
        Interception,
        Yes,
        "Whether root inside can mark directories of an overlay as opaque (`trusted.overlay.opaque`).",
    ),
    row(
        "security.syscalls.intercept.sysinfo",
        Bool,
        "false",
        NEXT_START,
        Interception,
        Yes,
        "Whether sysinfo() tells the instance's memory, processes and age instead of the host's.",
    ),
];
