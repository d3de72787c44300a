//! The process that serves: how it is locked in, when it comes and when it goes.

use std::fs;

use coffer_testkit::Daemon;

use crate::files::{ask, put};
use crate::setting::ready_daemon;

/// The processes that serve files for this daemon; each is the child of one that waits for it.
fn servers(daemon: &Daemon) -> Vec<u32> {
    let children = |pid: u32| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        texts.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect::<Vec<_>>()
    };
    let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with("coffer-files"));
    children(daemon.pid()).into_iter().filter(named).flat_map(children).collect()
}

fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn one_process_serves_all_requests_and_is_locked_in() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    for running in [false, true] {
        if running {
            daemon.change_state("c1", "start");
        }
        for number in 0..50 {
            put(&daemon, "c1", &format!("/root/file{number}"), &[], b"content");
        }
        let all = servers(&daemon);
        let [server] = all.as_slice() else { panic!("{all:?}") };
        let init = u32::try_from(daemon.instance_state("c1")["pid"].as_u64().unwrap_or(0)).unwrap();
        let namespace = |pid: u32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            assert_ne!(namespace(*server, kind), namespace(daemon.pid(), kind), "{kind}");
            let shared = running && matches!(kind, "user" | "mnt");
            assert_eq!(namespace(*server, kind) == namespace(init, kind), shared, "{kind}");
        }
        // CHOWN, DAC_OVERRIDE, FOWNER and FSETID inside, none on the host; no new rights; a filter.
        assert_eq!([status(*server, "CapEff:"), status(*server, "CapPrm:")], ["000000000000001b", "000000000000001b"]);
        assert_eq!([status(*server, "NoNewPrivs:"), status(*server, "Seccomp:")], ["1", "2"]);
        let uid: u32 = status(*server, "Uid:").split(' ').next().and_then(|uid| uid.parse().ok()).unwrap();
        assert!(uid >= 100_000, "{uid}");
        // Not dumpable: its files in /proc are root's.
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(format!("/proc/{server}/environ")).unwrap().uid(), 0);
    }
}

#[test]
fn a_start_and_a_stop_end_it() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.create_instance("small", "c1");
    put(&daemon, "c1", "/root/x", &[], b"x");
    let stopped = servers(&daemon);
    assert_eq!(stopped.len(), 1);
    daemon.change_state("c1", "start");
    assert!(servers(&daemon).is_empty());
    assert_eq!(ask(&daemon, "GET", "c1", "/root/x", &[], b"").body, b"x");
    let running = servers(&daemon);
    assert!(running.len() == 1 && running != stopped, "{running:?}");
    daemon.change_state("c1", "stop");
    assert!(daemon.eventually(|| servers(&daemon).is_empty()));
    assert_eq!(ask(&daemon, "GET", "c1", "/root/x", &[], b"").body, b"x");
    daemon.api().expect("DELETE", "/1.0/instances/c1", None);
    assert!(servers(&daemon).is_empty());
    daemon.expect_nothing_since(&before);
}

#[test]
fn a_killed_server_is_replaced_and_a_killed_daemon_leaves_none() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.create_instance("small", "c2");
    for instance in ["c1", "c2"] {
        put(&daemon, instance, "/root/x", &[], b"x");
    }
    for server in servers(&daemon) {
        daemon.inside("kill", ["-KILL", &server.to_string()]).ok();
    }
    for instance in ["c1", "c2"] {
        assert!(daemon.eventually(|| ask(&daemon, "GET", instance, "/root/x", &[], b"").body == b"x"), "{instance}");
    }
    let all = servers(&daemon);
    assert_eq!(all.len(), 2);
    daemon.kill9();
    assert!(daemon.eventually(|| all.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true))));
    daemon.launch();
    for instance in ["c1", "c2"] {
        assert_eq!(ask(&daemon, "GET", instance, "/root/x", &[], b"").body, b"x");
    }
}

#[test]
fn many_clients_at_once_are_all_served() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    std::thread::scope(|scope| {
        for client in 0..40 {
            let daemon = &daemon;
            scope.spawn(move || {
                let (path, body) = (format!("/root/file{client}"), format!("of client {client}"));
                for _ in 0..5 {
                    put(daemon, "c1", &path, &[], body.as_bytes());
                    assert_eq!(ask(daemon, "GET", "c1", &path, &[], b"").body, body.as_bytes());
                }
            });
        }
    });
    assert_eq!(servers(&daemon).len(), 1);
}
