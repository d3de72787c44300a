//! Keys of starting and stopping.

use super::super::{LATER, LIVE, NEXT_START, VM, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::{Bool, Choice, Int, Line};

/// Keys of starting and stopping.
pub(super) const KEYS: &[Key] = &[
    row("agent.nic_config", Bool, "", NEXT_START, Free, VM, "Whether the agent sets NIC names and MTUs."),
    row("boot.autorestart", Bool, "false", LIVE, Free, LATER, "Whether an instance whose init ended unexpectedly is started again."),
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
