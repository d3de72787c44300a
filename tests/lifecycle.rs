//! In which order instances start with the daemon and stop with it, and how long they may take.

use std::time::{Duration, Instant};

use coffer_testkit::{Daemon, Options, can_run, images};

use crate::setting::ready_daemon;

fn shut_down(daemon: &mut Daemon) {
    daemon.coffer(["admin", "shutdown"]).deadline(Duration::from_secs(120)).run();
    assert!(daemon.wait_end(Duration::from_secs(60)), "{}", daemon.log());
}

fn status(daemon: &Daemon, name: &str) -> String {
    daemon.instance_state(name)["status"].as_str().unwrap_or_default().to_owned()
}

/// When an instance was started last, as text that sorts.
fn started_at(daemon: &Daemon, name: &str) -> String {
    daemon.api().get(&format!("/1.0/instances/{name}"))["last_used_at"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn instances_start_with_the_daemon_by_priority_and_stop_by_theirs() {
    let Some(mut daemon) = ready_daemon() else { return };
    for (name, config) in [
        ("first", &["boot.autostart=true", "boot.autostart.priority=9", "boot.autostart.delay=1", "boot.stop.priority=1"][..]),
        ("second", &["boot.autostart=true", "boot.autostart.priority=1", "boot.stop.priority=9"]),
        ("never", &["boot.autostart=false"]),
        ("again", &[]),
    ] {
        daemon.create_instance("small", name);
        if !config.is_empty() {
            daemon.coffer(["config", "set", name].iter().chain(config)).clean();
        }
    }
    for name in ["never", "again"] {
        daemon.change_state(name, "start");
    }
    shut_down(&mut daemon);
    daemon.launch();
    let up = |daemon: &Daemon| ["first", "second", "again"].iter().all(|name| status(daemon, name) == "Running");
    assert!(daemon.eventually(|| up(&daemon)), "{}", daemon.log());
    assert_eq!(status(&daemon, "never"), "Stopped");
    let seconds = |text: &str| {
        text.split(['T', 'Z'])
            .nth(1)
            .map(|time| time.split(':').filter_map(|part| part.parse::<f64>().ok()).fold(0.0, |sum, part| sum * 60.0 + part))
    };
    let (first, second) = (started_at(&daemon, "first"), started_at(&daemon, "second"));
    assert!(first < second, "first at {first}, second at {second}");
    let apart = seconds(&second).zip(seconds(&first)).map(|(second, first)| second - first);
    // Over midnight the difference is no number to look at.
    assert!(apart.is_some_and(|apart| !(0.0..0.9).contains(&apart)), "first at {first}, second at {second}");

    let mut terminal = daemon.on_terminal(daemon.coffer(["monitor", "--type", "lifecycle", "--format", "json"]), 250, 60);
    let heard = daemon.eventually(|| {
        daemon.change_state("never", "start");
        daemon.change_state("never", "stop");
        terminal.shows("instance-stopped")
    });
    assert!(heard, "{}", terminal.screen());
    shut_down(&mut daemon);
    let place = |told: &str, name: &str| {
        let wanted = format!("/1.0/instances/{name}");
        told.lines().position(|line| line.contains("instance-stopped") && line.contains(&wanted))
    };
    // Takes in all that was told before the daemon ended.
    let _ = terminal.shows("no such word");
    let (first, second) = (place(terminal.screen(), "first"), place(terminal.screen(), "second"));
    assert!(
        first.is_some() && second.is_some() && second < first,
        "second stopped at {second:?}, first at {first:?}: {}",
        terminal.screen()
    );
}

#[test]
fn a_deaf_instance_holds_a_shutdown_up_no_longer_than_it_may() {
    if !can_run() {
        return;
    }
    let image = images::spoiled("deaf init", |root| {
        std::fs::remove_file(root.join("sbin/init"))?;
        std::fs::write(
            root.join("sbin/init"),
            "#!/bin/sh\ntrap '' PWR TERM INT HUP USR1 USR2 RTMIN+3 2>/dev/null || trap '' PWR TERM INT\nwhile :; do sleep 1000; done\n",
        )?;
        std::fs::set_permissions(root.join("sbin/init"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
    });
    let mut daemon = Daemon::start_with(Options::default());
    daemon.initialise("dir");
    daemon.import(&image.unified, "deaf");
    daemon.create_instance("deaf", "c1");
    for key in ["boot.host_shutdown_timeout=1", "boot.host_shutdown_action=force-stop"] {
        daemon.coffer(["config", "set", "c1", key]).clean();
        if daemon.instance_state("c1")["status"] != "Running" {
            daemon.change_state("c1", "start");
        }
        let begin = Instant::now();
        shut_down(&mut daemon);
        // Without the key it would be 30 seconds.
        assert!(begin.elapsed() < Duration::from_secs(25), "{key}: {:?}", begin.elapsed());
        daemon.launch();
        assert!(daemon.eventually(|| status(&daemon, "c1") == "Running"), "{}", daemon.log());
        daemon.coffer(["config", "set", "c1", "boot.host_shutdown_timeout=30"]).clean();
    }
}
