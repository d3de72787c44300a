//! Keys of starting and stopping.

use super::super::{LIVE, NEXT_START, VM, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::{Bool, Choice, Depends, Int, Line};

/// Keys of starting and stopping.
pub(super) const KEYS: &[Key] = &[
    row("agent.nic_config", Bool, "", NEXT_START, Free, VM, "Whether the agent sets NIC names and MTUs."),
    row(
        "boot.autorestart",
        Bool,
        "false",
        LIVE,
        Free,
        Yes,
        "Whether an instance that ended without the server's doing is started again: at once, then after longer and longer times, up to 10 times a minute.",
    ),
    row(
        "boot.autostart",
        Bool,
        "",
        NEXT_START,
        Free,
        Yes,
        "Whether the instance starts with the daemon. Not set: it starts if it ran when the host went down.",
    ),
    row(
        "boot.autostart.delay",
        Int(0, 3600),
        "0",
        NEXT_START,
        Free,
        Yes,
        "Seconds to wait after this instance was started with the daemon before the next one is.",
    ),
    row("boot.autostart.priority", Int(-1000, 1000), "0", NEXT_START, Free, Yes, "Order of starting with the daemon, highest first."),
    row("boot.debug_edk2", Bool, "", NEXT_START, Free, VM, "Whether the firmware's debugging build is used."),
    row(
        "boot.depends",
        Depends,
        "",
        LIVE,
        Free,
        Yes,
        "Instances of the project that must run before this one starts, separated by commas: `db, cache:running, queue:healthy, app:ready`. A name alone waits for its health where that is checked.",
    ),
    row(
        "boot.depends.timeout",
        Int(0, 3600),
        "60",
        LIVE,
        Free,
        Yes,
        "Seconds to wait until an instance that this one depends on is as far as it should be.",
    ),
    row(
        "boot.host_shutdown_action",
        Choice(&["force-stop", "stop"]),
        "stop",
        LIVE,
        Free,
        Yes,
        "Whether the instance is stopped cleanly or killed when the daemon stops all.",
    ),
    row(
        "boot.host_shutdown_timeout",
        Int(0, 86400),
        "30",
        LIVE,
        Free,
        Yes,
        "Seconds an instance may take to stop when the daemon stops all before it is killed.",
    ),
    row("boot.mode", Line, "", NEXT_START, Free, VM, "Which firmware the virtual machine boots with."),
    row("boot.stop.priority", Int(-1000, 1000), "0", NEXT_START, Free, Yes, "Order of stopping when the daemon stops all, highest first."),
];
