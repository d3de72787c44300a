//! Several viewers of one console.

use crate::setting::{holds, ready_daemon};

#[test]
fn all_see_the_output_each_may_type_and_a_slow_one_holds_up_nobody() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let view = || daemon.on_terminal(daemon.coffer(["console", "c1"]), 80, 24);
    let (mut one, mut other, slow) = (view(), view(), view());
    // A shell on the console, so that what is typed has an effect.
    let script = "exec </dev/console >/dev/console 2>&1; while read line; do echo said-$line-again | tr a-z A-Z; done";
    let body = serde_json::json!({"command": ["sh", "-c", script], "wait-for-websocket": false, "environment": {}});
    let begun = daemon.api().request("POST", "/1.0/instances/c1/exec", Some(&body)).unwrap();
    assert_eq!(begun.status, 202);
    one.send("first\n");
    one.expect("SAID-FIRST-AGAIN");
    other.expect("SAID-FIRST-AGAIN");
    other.send("second\n");
    other.expect("SAID-SECOND-AGAIN");
    one.expect("SAID-SECOND-AGAIN");
    // Far more than all buffers on the way to somebody who does not read.
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x > /dev/console"]).ok();
    // These two were slow as well, since nobody took in what appeared: a line on the way may be among what they did not see.
    let see = |viewer: &mut coffer_testkit::Terminal| {
        daemon.eventually(|| {
            viewer.send("third\n");
            viewer.shows("SAID-THIRD-AGAIN")
        })
    };
    assert!(see(&mut one) && see(&mut other), "a viewer that reads again sees what appears");
    holds(&daemon.coffer(["console", "c1", "--show-log"]).ok(), &["SAID-THIRD-AGAIN"]);
    drop(slow);
}
