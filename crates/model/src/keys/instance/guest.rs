//! Keys that the instance itself reads.

use super::super::{LIVE, NEXT_START, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::{No, Yes};
use crate::key::Value::{Choice, Line, Text};

/// Keys that the instance itself reads.
pub(super) const KEYS: &[Key] = &[
    row(
        "cloud-init.network-config",
        Text,
        "",
        NEXT_START,
        Free,
        Yes,
        "cloud-init's network configuration, offered to the instance as seed data.",
    ),
    row(
        "cloud-init.ssh-keys.*",
        Line,
        "",
        NEXT_START,
        Free,
        No("put the key into cloud-init.vendor-data: users and ssh_authorized_keys"),
        "An ssh key to add to cloud-init's vendor data.",
    ),
    row("cloud-init.user-data", Text, "", NEXT_START, Free, Yes, "cloud-init's user data, offered to the instance as seed data."),
    row("cloud-init.vendor-data", Text, "", NEXT_START, Free, Yes, "cloud-init's vendor data, offered to the instance as seed data."),
    row(
        "cluster.evacuate",
        Choice(&["auto", "live-migrate", "migrate", "stop"]),
        "auto",
        NEXT_START,
        Free,
        Yes,
        "What happens to the instance when its cluster member is evacuated; stored for clusters.",
    ),
    row("environment.*", Line, "", LIVE, Free, Yes, "Environment variable for the instance's init and for every `exec`."),
];
