//! Keys of users, and what the server remembers.

use super::super::{LIVE, NEXT_START, row};
use crate::key::Class::{Free, LowLevel};
use crate::key::Key;
use crate::key::Support::{No, Yes};
use crate::key::Value::{Line, Text};

/// Keys of users, and what the server remembers.
pub(super) const KEYS: &[Key] = &[
    row(
        "systemd.credential-binary.*",
        Text,
        "",
        LIVE,
        Free,
        No("put secrets into a file with the files API; credentials are not handed to init yet"),
        "A credential for the instance's systemd.",
    ),
    row(
        "systemd.credential.*",
        Text,
        "",
        LIVE,
        Free,
        No("put secrets into a file with the files API; credentials are not handed to init yet"),
        "A credential for the instance's systemd.",
    ),
    row(
        "ubuntu_pro.guest_attach",
        Line,
        "",
        NEXT_START,
        Free,
        No("this server has no Ubuntu Pro token to hand out"),
        "Whether the instance attaches to Ubuntu Pro.",
    ),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text for whoever uses the API."),
    row("volatile.*", Text, "", LIVE, LowLevel, Yes, "What the server remembers of the instance; set by the server only."),
];
