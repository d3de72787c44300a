//! Keys of instances that run one process instead of an init, and of where instances are placed.

use super::super::{LIVE, NEXT_START, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::{No, Yes};
use crate::key::Value::{Int, Line, Text};

/// Keys of instances that run one process, and of placement.
pub(super) const KEYS: &[Key] = &[
    row("oci.cwd", Line, "/", NEXT_START, Free, Yes, "Working directory of the process of oci.entrypoint: an absolute path inside."),
    row("oci.dns.domain", Line, "", NEXT_START, Free, Yes, "Domain of the process's names, where it runs instead of an init."),
    row(
        "oci.dns.nameservers",
        Line,
        "",
        NEXT_START,
        Free,
        Yes,
        "Addresses of who resolves names for the process, separated by commas. Not set: the bridges that it is on.",
    ),
    row("oci.dns.search", Line, "", NEXT_START, Free, Yes, "Domains in which the process's names are looked for, separated by commas."),
    row(
        "oci.entrypoint",
        Text,
        "",
        NEXT_START,
        Free,
        Yes,
        "Program, with its arguments in a shell's quotes, that runs instead of an init; the instance ends with it. Images from registries set it.",
    ),
    row("oci.gid", Int(0, 4_294_967_294), "0", NEXT_START, Free, Yes, "Group of the process of oci.entrypoint, as a number."),
    row("oci.uid", Int(0, 4_294_967_294), "0", NEXT_START, Free, Yes, "User of the process of oci.entrypoint, as a number."),
    row(
        "placement.group",
        Line,
        "",
        LIVE,
        Free,
        No("this server is not part of a cluster"),
        "Placement group that chooses the cluster member.",
    ),
];
