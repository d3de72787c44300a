//! Keys of the kernel, of moving, and of hardware and application runtimes.

use super::super::{CDI, LIVE, NEXT_START, VM, row};
use crate::key::Class::{Free, LowLevel};
use crate::key::Key;
use crate::key::Support::{No, Yes};
use crate::key::Value::{Bool, Choice, Int, Line, Modules};

/// Keys of the kernel, of moving, and of hardware and application runtimes.
pub(super) const KEYS: &[Key] = &[
    row(
        "linux.kernel_modules",
        Modules,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "Kernel modules that the host loads before the start, by name, separated by commas.",
    ),
    row("linux.kernel_modules.load", Choice(&["boot"]), "boot", NEXT_START, LowLevel, Yes, "When modules are loaded: before the start."),
    row(
        "linux.sysctl.*",
        Line,
        "",
        NEXT_START,
        LowLevel,
        No("the parameter belongs to the host, not to an instance"),
        "Kernel parameter of the host.",
    ),
    row("linux.sysctl.fs.mqueue.*", Line, "", NEXT_START, LowLevel, Yes, "POSIX message queues inside."),
    row("linux.sysctl.kernel.auto_msgmni", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.domainname", Line, "", NEXT_START, LowLevel, Yes, "NIS domain name inside."),
    row("linux.sysctl.kernel.msg_next_id", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.msgmax", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.msgmnb", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.msgmni", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.sem", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.sem_next_id", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.shm_next_id", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.shm_rmid_forced", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.shmall", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.shmmax", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.kernel.shmmni", Line, "", NEXT_START, LowLevel, Yes, "Parameter of the instance's own IPC namespace."),
    row("linux.sysctl.net.*", Line, "", NEXT_START, LowLevel, Yes, "Network parameter of the instance's own network namespace."),
    row("linux.sysctl.user.*", Line, "", NEXT_START, LowLevel, Yes, "How many namespaces and watches the users inside may have."),
    row(
        "migration.incremental.memory",
        Bool,
        "false",
        LIVE,
        Free,
        Yes,
        "Whether memory moves incrementally; stored, as instances move stopped here.",
    ),
    row("migration.incremental.memory.goal", Int(0, 100), "70", LIVE, Free, Yes, "Share of memory in sync before the instance is stopped."),
    row("migration.incremental.memory.iterations", Int(0, 10000), "10", LIVE, Free, Yes, "Number of passes at the most."),
    row("migration.stateful", Bool, "", NEXT_START, Free, VM, "Whether the virtual machine can be stopped with its state."),
    row("nvidia.driver.capabilities", Line, "", NEXT_START, Free, CDI, "What of the driver the instance needs."),
    row("nvidia.require.cuda", Line, "", NEXT_START, Free, CDI, "Version of CUDA required."),
    row("nvidia.require.driver", Line, "", NEXT_START, Free, CDI, "Version of the driver required."),
    row("nvidia.runtime", Bool, "", NEXT_START, Free, CDI, "Whether the host's driver is passed in."),
];
