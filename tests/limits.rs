//! Limits hold, and can be changed while the instance runs.

use crate::setting::ready_daemon;

#[test]
fn memory_is_limited_and_the_limit_changes_live() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "limits.memory=32MiB"]).clean();
    // dd fills a buffer of one block.
    let eat = || daemon.coffer(["exec", "c1", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=80M", "count=1"]).run();
    assert_ne!(eat().code, 0, "80 MiB fitted into 32");
    daemon.coffer(["config", "set", "c1", "limits.memory=256MiB"]).clean();
    assert_eq!(eat().code, 0, "80 MiB did not fit into 256");
}

#[test]
fn processes_are_limited() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "limits.processes=20"]).clean();
    daemon.change_state("c1", "start");
    let bomb = "i=0; while [ $i -lt 50 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done; echo all-started";
    let done = daemon.coffer(["exec", "c1", "--", "sh", "-c", bomb]).run();
    assert!(!done.text().contains("all-started"), "{done}");
    daemon.change_state("c1", "stop");
}

#[test]
fn the_state_tells_what_is_used() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let state = daemon.instance_state("c1");
    assert!(state["memory"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), "{state}");
    assert!(state["processes"].as_i64().is_some_and(|count| count >= 1), "{state}");
    assert!(state["cpu"]["usage"].as_u64().is_some(), "{state}");
    assert!(state["network"]["eth0"]["hwaddr"].as_str().is_some_and(|mac| mac.len() == 17), "{state}");
}
