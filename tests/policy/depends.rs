//! `boot.depends`.

use super::{set, started_at, state};
use crate::setting::{holds, ready_daemon};

#[test]
fn what_an_instance_depends_on_is_started_before_it_and_is_ready() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["cache", "db", "web"] {
        daemon.create_instance("small", name);
    }
    daemon.coffer(["file", "push", "-", "db/ready"]).input("").ok();
    set(&daemon, "db", &["health.exec=test -e /ready", "boot.depends=cache:running"]);
    set(&daemon, "web", &["boot.depends=db", "boot.depends.timeout=30"]);
    daemon.coffer(["start", "web"]).clean();
    assert_eq!(state(&daemon, "db", "health"), "healthy");
    let times: Vec<String> = ["cache", "db", "web"].iter().map(|name| started_at(&daemon, name)).collect();
    assert!(times.is_sorted(), "{times:?}");
    // What is not ready in time is named, and what was asked for does not start.
    daemon.coffer(["stop", "--force", "web", "db", "cache"]).clean();
    daemon.coffer(["file", "delete", "db/ready"]).clean();
    set(&daemon, "web", &["boot.depends.timeout=1"]);
    let told = daemon.coffer(["start", "web"]).fails();
    holds(&told, &["instance web depends on db, which was not healthy within 1 seconds"]);
    assert_eq!(state(&daemon, "web", "status"), "Stopped");
}

#[test]
fn circles_and_instances_that_are_not_there_are_refused_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["a", "b", "c"] {
        daemon.create_instance("small", name);
    }
    set(&daemon, "a", &["boot.depends=b"]);
    set(&daemon, "b", &["boot.depends=c"]);
    let refused = |keys: &str| daemon.coffer(["config", "set", "c", keys]).fails();
    holds(&refused("boot.depends=a"), &["boot.depends leads in a circle: c -> a -> b -> c"]);
    holds(&refused("boot.depends=c"), &["c -> c"]);
    holds(&refused("boot.depends=nobody"), &["instance c: boot.depends names instance nobody, which does not exist in project default"]);
    // A profile may close a circle behind the gate's back: it is found at the start.
    daemon.coffer(["profile", "create", "p"]).clean();
    daemon.coffer(["profile", "add", "c", "p"]).clean();
    let told = daemon.coffer(["profile", "set", "p", "boot.depends=a"]).run();
    let told = if told.code == 0 { daemon.coffer(["start", "a"]).fails() } else { told.stderr };
    holds(&told, &["circle", "a", "b", "c"]);
}
