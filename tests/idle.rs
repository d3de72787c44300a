//! Where nothing is asked of it, nothing of ours works: no process polls, spins or wakes by a clock.

use std::time::Duration;

use coffer_testkit::Daemon;

use crate::setting::ready_daemon;

/// Our processes of a daemon and its instances: those of our names in its pen's mount namespace.
fn ours(daemon: &Daemon) -> Vec<(u32, String)> {
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let pen = namespace(daemon.pen().pid());
    let numbers = std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let named = numbers.filter_map(|pid| Some((pid, std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())));
    named.filter(|(pid, name)| name.starts_with("coffer") && namespace(*pid) == pen).collect()
}

/// How long a process with all its threads has had a processor.
///
/// Source: `/proc/PID/task/TID/schedstat`, the first number: nanoseconds.
fn worked(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of =
        |path: std::path::PathBuf| -> Option<u64> { std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok() };
    Duration::from_nanos(threads.filter_map(|thread| of(thread.path())).sum())
}

#[test]
fn nothing_of_ours_works_when_nothing_is_asked() {
    let Some(daemon) = ready_daemon() else { return };
    let coffer = |words: &[&str]| daemon.coffer(words).ok();
    coffer(&["launch", "small", "c1"]);
    coffer(&["restart", "--force", "c1"]);
    // A bit of everything that leaves something open or watched behind it.
    coffer(&["exec", "c1", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo begun"]);
    coffer(&["exec", "c1", "--mode=interactive", "--", "true"]);
    coffer(&["console", "c1", "--show-log"]);
    coffer(&["pause", "c1"]);
    coffer(&["resume", "c1"]);
    coffer(&["snapshot", "c1", "s1"]);
    coffer(&["config", "set", "c1", "limits.memory=64MiB", "limits.cpu=1", "limits.processes=100"]);
    coffer(&["config", "device", "add", "c1", "web", "proxy", "listen=tcp:127.0.0.1:8123", "connect=tcp:127.0.0.1:80"]);
    coffer(&["config", "device", "add", "c1", "data", "disk", "source=/srv", "path=/data"]);
    coffer(&["config", "device", "remove", "c1", "data"]);
    coffer(&["file", "push", "/etc/hosts", "c1/root/hosts"]);
    coffer(&["list"]);
    let before: Vec<_> = ours(&daemon).into_iter().map(|(pid, name)| (pid, name, worked(pid))).collect();
    assert!(
        before.iter().any(|(_, name, _)| name == "cofferd") && before.iter().any(|(_, name, _)| name == "coffer-monitor"),
        "{before:?}"
    );
    // Somebody else's second: it passes in the instance.
    coffer(&["exec", "c1", "--", "sleep", "2"]);
    for (pid, name, earlier) in before {
        // An exec costs each of them a few milliseconds.
        let used = worked(pid).saturating_sub(earlier);
        assert!(used < Duration::from_millis(200), "{name} ({pid}) worked for {used:?} of two seconds");
    }
}
