//! Keys of health checks. They are ours: other servers have none.

use super::super::{LIVE, row};
use crate::key::Class::Free;
use crate::key::Key;
use crate::key::Support::Yes;
use crate::key::Value::{Bool, HealthHttp, HealthTcp, Int, Words};

/// Keys of health checks.
pub(super) const KEYS: &[Key] = &[
    row(
        "health.exec",
        Words,
        "",
        LIVE,
        Free,
        Yes,
        "Command that ends with status 0 inside a healthy instance, run as root. Its words are split as a shell does, without a shell.",
    ),
    row(
        "health.http",
        HealthHttp,
        "",
        LIVE,
        Free,
        Yes,
        "URL that a healthy instance answers with a status from 200 to 399, seen from inside: `http://localhost:8080/path`.",
    ),
    row(
        "health.interval",
        Int(1, 86400),
        "30",
        LIVE,
        Free,
        Yes,
        "Seconds from one check to the next. Before the first success it is less.",
    ),
    row(
        "health.restart",
        Bool,
        "false",
        LIVE,
        Free,
        Yes,
        "Whether an unhealthy instance is restarted, as often as `boot.autorestart` does.",
    ),
    row("health.retries", Int(1, 100), "3", LIVE, Free, Yes, "Failures in a row that make an instance unhealthy."),
    row("health.start_period", Int(0, 86400), "0", LIVE, Free, Yes, "Seconds after the start in which failures do not count."),
    row(
        "health.tcp",
        HealthTcp,
        "",
        LIVE,
        Free,
        Yes,
        "Port, or address and port, at which a healthy instance accepts connections, seen from inside.",
    ),
    row("health.timeout", Int(1, 3600), "10", LIVE, Free, Yes, "Seconds that a check may take."),
];
