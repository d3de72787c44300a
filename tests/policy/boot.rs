//! Many instances that start with the daemon.

use std::time::{Duration, Instant};

use super::{set, started_at, state};
use crate::setting::ready_daemon;

#[test]
fn ten_instances_start_in_order_while_the_api_answers() {
    let Some(mut daemon) = ready_daemon() else { return };
    let names: Vec<String> = (0..10).map(|number| format!("b{number}")).collect();
    for name in &names {
        daemon.create_instance("small", name);
        set(&daemon, name, &["boot.autostart=true"]);
    }
    // The last one is the most urgent, and needs another one, which waits for its health.
    set(&daemon, "b8", &["health.exec=true"]);
    set(&daemon, "b9", &["boot.autostart.priority=9", "boot.depends=b8"]);
    set(&daemon, "b0", &["boot.autostart.priority=-5"]);
    daemon.coffer(["admin", "shutdown"]).deadline(Duration::from_secs(120)).run();
    assert!(daemon.wait_end(Duration::from_secs(60)), "{}", daemon.log());
    daemon.launch();
    let mut slowest = Duration::ZERO;
    let all_run = daemon.eventually(|| {
        let asked = Instant::now();
        let all = daemon.api().get("/1.0/instances?recursion=1");
        slowest = slowest.max(asked.elapsed());
        all.as_array().is_some_and(|all| all.iter().all(|instance| instance["status"] == "Running"))
    });
    assert!(all_run, "{}", daemon.log());
    assert!(slowest < Duration::from_secs(5), "an answer took {slowest:?}");
    let times: Vec<String> = names.iter().map(|name| started_at(&daemon, name)).collect();
    assert!(times[8] < times[9], "what is needed comes first: {times:?}");
    for middle in &times[1..8] {
        assert!(times[9] < *middle && *middle < times[0], "by priority: {times:?}");
    }
    assert_eq!(state(&daemon, "b8", "health"), "healthy");
}
