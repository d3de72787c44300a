//! Several viewers of one console.

use coffer_testkit::Terminal;

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
    // What is typed before a client has its console, or after output that a slow viewer did not see, may be typed again.
    let answers = |viewer: &mut Terminal, word: &str, answer: &str| {
        let typed = daemon.eventually(|| {
            viewer.send(&format!("{word}\n"));
            viewer.shows(answer)
        });
        assert!(typed, "{answer} never came");
    };
    answers(&mut one, "first", "SAID-FIRST-AGAIN");
    answers(&mut other, "second", "SAID-SECOND-AGAIN");
    one.expect("SAID-SECOND-AGAIN");
    // Both are there now: what one types the other sees at once.
    one.send("for-both\n");
    one.expect("SAID-FOR-BOTH-AGAIN");
    other.expect("SAID-FOR-BOTH-AGAIN");
    // Far more than all buffers on the way to somebody who does not read.
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x > /dev/console"]).ok();
    // These two were slow as well, since nobody took in what appeared, and see again what comes now.
    answers(&mut one, "third", "SAID-THIRD-AGAIN");
    answers(&mut other, "third", "SAID-THIRD-AGAIN");
    holds(&daemon.coffer(["console", "c1", "--show-log"]).ok(), &["SAID-THIRD-AGAIN"]);
    drop(slow);
}
