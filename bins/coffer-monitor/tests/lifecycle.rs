//! Instances start, run commands, and end in every way there is; nothing is left of them.

#![allow(clippy::unwrap_used, reason = "a test fails that way")]

mod support;

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime::{Monitor, MonitorClient, Nursery};
use coffer_runtime_spec::{
    Answer, ExecState, ExitReason, IdMap, RefusalKind, Report, Request, Root, Seccomp, Signal, Source, Stage, State, Streams, WindowSize,
};
use coffer_sys::process::{self, Ended};
use support::{Place, check_clean, command, read_until};

#[test]
fn busybox_init_starts_runs_commands_and_halts() {
    let mut place = Place::new(&["/sbin/init"]);
    place.spec.limits.processes = Some(100);
    let mut running = place.start();
    assert_eq!(running.status().state, State::Running);
    assert_eq!(running.sh("hostname; id -u; cat /proc/1/comm"), format!("{}\n0\ninit\n", place.spec.hostname));
    let done = running.run(&["sh", "-c", "cat; exit 7"]);
    assert_eq!((done.status, done.output.as_str()), (7, ""));
    running.ask(Request::Stop).unwrap();
    place.end(running, ExitReason::Halted);
}

#[test]
fn a_monitor_rests_after_a_freeze() {
    let place = Place::new(&["/sbin/init"]);
    let mut running = place.start();
    let monitor = running.status().monitor_pid;
    running.ask(Request::Freeze).unwrap();
    assert_eq!(running.status().state, State::Frozen);
    running.ask(Request::Thaw).unwrap();
    let began = (std::time::Instant::now(), worked(monitor));
    running.run(&["sleep", "1"]);
    let (passed, used) = (began.0.elapsed(), worked(monitor) - began.1);
    assert!(used < passed / 4, "the monitor worked for {used:?} of {passed:?}");
    place.kill(running);
}

/// How long a process has had a processor.
///
/// Source: `/proc/PID/schedstat`, the first number: nanoseconds.
fn worked(pid: u32) -> std::time::Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    std::time::Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn control_groups_made_for_a_start_go_when_none_comes() {
    let place = Place::idle();
    let cgroup = place.spec.cgroup.clone();
    let made = || std::fs::read_dir("/sys/fs/cgroup").unwrap().any(|hierarchy| hierarchy.unwrap().path().join(&cgroup).exists());
    let Monitor { connection, process: child } = support::program().spawn().unwrap();
    let mut client = MonitorClient::new(connection);
    let prepare = |client: &mut MonitorClient, cgroup: &str| client.call(Request::Prepare { cgroup: cgroup.to_owned() }, &[]);
    assert!(prepare(&mut client, "../elsewhere").is_err());
    prepare(&mut client, &cgroup).unwrap();
    assert!(made());
    client.call(Request::Discard, &[]).unwrap();
    check_clean(&cgroup, place.dir.path());
    prepare(&mut client, &cgroup).unwrap();
    drop(client);
    assert_eq!(process::wait(child.pidfd.as_fd()).unwrap(), Ended::Exited(0));
    check_clean(&cgroup, place.dir.path());
}

#[test]
fn an_init_that_is_not_ready_yet_is_asked_to_halt_when_it_is() {
    let mut place = Place::new(&["/bin/sh", "-c", "sleep 0.5; trap 'exit 7' TERM; while :; do sleep 1000 & wait $!; done"]);
    place.spec.halt_signal = Some(Signal::TERM);
    let mut running = place.start();
    running.ask(Request::Stop).unwrap();
    running.ask(Request::Stop).unwrap();
    place.end(running, ExitReason::Exit(7));
}

#[test]
fn commands_get_what_they_ask_for() {
    let place = Place::idle();
    let mut running = place.start();
    let mut exec = command(&["sh", "-c", "cat; echo $A; pwd; id -u; id -g; id -G; umask; grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status"]);
    exec.env.insert("A".into(), "b c".into());
    exec.cwd = "/tmp".into();
    (exec.uid, exec.gid, exec.groups) = (1000, 1001, vec![44, 1001]);
    let done = running.run_with(exec, b"typed\n").unwrap();
    let none = "0000000000000000";
    assert_eq!(done.output, format!("typed\nb c\n/tmp\n1000\n1001\n1001 44\n0022\nCapInh:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\n"));
    // Large input and output pass whole.
    let large = vec![b'x'; 3 << 20];
    assert_eq!(running.run_with(command(&["cat"]), &large).unwrap().output.len(), large.len());
    place.kill(running);
}

#[test]
fn commands_that_cannot_be_executed_are_told_apart() {
    let place = Place::idle();
    std::fs::write(place.root().join("tmp/data"), "no program").unwrap();
    let mut running = place.start();
    let mut check = |change: &dyn Fn(&mut coffer_runtime_spec::Exec), kind: RefusalKind, expect: &str| {
        let mut exec = command(&["nothing-here"]);
        change(&mut exec);
        let refusal = running.exec(exec).unwrap_err();
        assert_eq!((refusal.kind, refusal.to_string().as_str()), (kind, expect));
    };
    let missing = "executing the program: executing nothing-here: No such file or directory (os error 2)";
    check(&|_| (), RefusalKind::NoProgram, missing);
    let closed = "executing the program: executing /tmp/data: Permission denied (os error 13)";
    check(&|exec| exec.argv = vec!["/tmp/data".into()], RefusalKind::NotExecutable, closed);
    let nowhere = "entering the working directory: entering /nowhere: No such file or directory (os error 2)";
    check(&|exec| exec.cwd = "/nowhere".into(), RefusalKind::Invalid, nowhere);
    // The way out of CVE-2024-21626: a working directory by a descriptor of whoever joined.
    for number in 0..30 {
        let text = format!("entering the working directory: entering /proc/self/fd/{number}: ");
        let mut exec = command(&["true"]);
        exec.cwd = format!("/proc/self/fd/{number}");
        let refusal = running.exec(exec).unwrap_err();
        assert!(refusal.to_string().starts_with(&text), "{refusal}");
    }
    place.kill(running);
}

#[test]
fn a_terminal_has_a_size_and_controls_its_session() {
    let place = Place::idle();
    let mut running = place.start();
    let mut exec = command(&["sh", "-c", "tty; stty size; read line; stty size; ls -l $(tty) | cut -c 1-10; exit 3"]);
    exec.streams = Streams::Pty(WindowSize { columns: 132, rows: 43 });
    let (id, fds) = running.exec(exec).unwrap();
    let mut master = std::fs::File::from(fds.into_iter().next().unwrap());
    read_until(&master, "43 132");
    running.ask(Request::ExecResize { id, size: WindowSize { columns: 90, rows: 30 } }).unwrap();
    std::io::Write::write_all(&mut master, b"\n").unwrap();
    read_until(&master, "crw--w----");
    assert_eq!(running.wait(id), ExecState::Exited(3));
    // Closing a released terminal hangs its session up.
    let mut exec = command(&["sleep", "1000"]);
    exec.streams = Streams::Pty(WindowSize { columns: 80, rows: 24 });
    let (id, fds) = running.exec(exec).unwrap();
    running.ask(Request::ExecRelease { id }).unwrap();
    drop(fds);
    assert_eq!(running.wait(id), ExecState::Killed(Signal::HUP));
    place.kill(running);
}

#[test]
fn signals_reach_commands() {
    let place = Place::idle();
    let mut running = place.start();
    let (id, _fds) = running.exec(command(&["sleep", "1000"])).unwrap();
    running.ask(Request::ExecSignal { id, signal: Signal::TERM }).unwrap();
    assert_eq!(running.wait(id), ExecState::Killed(Signal::TERM));
    let refusal = running.ask(Request::ExecSignal { id, signal: Signal::TERM }).unwrap_err();
    assert_eq!((refusal.kind, refusal.text), (RefusalKind::NotFound, format!("there is no exec {id}")));
    place.kill(running);
}

#[test]
fn a_hundred_commands_run_at_once() {
    let place = Place::idle();
    let mut running = place.start();
    let mut execs = Vec::new();
    for number in 0..100 {
        let exec = command(&["sh", "-c", &format!("read x; exit {number}")]);
        execs.push(running.exec(exec).unwrap());
    }
    assert_eq!(running.status().execs.len(), 100);
    for (number, (id, fds)) in execs.into_iter().enumerate() {
        drop(fds);
        assert_eq!(running.wait(id), ExecState::Exited(number as u8));
    }
    assert_eq!(running.status().execs, []);
    place.kill(running);
}

#[test]
fn every_end_has_its_reason() {
    let check = |argv: &[&str], expect: ExitReason| {
        let place = Place::new(argv);
        let running = place.start();
        place.end(running, expect);
    };
    check(&["/bin/sh", "-c", "exit 3"], ExitReason::Exit(3));
    check(&["/bin/reboot", "-f"], ExitReason::Reboot);
    check(&["/bin/poweroff", "-f"], ExitReason::Halted);
    check(&["/bin/true"], ExitReason::Exit(0));
}

#[test]
fn memory_over_the_limit_is_told() {
    let mut place = Place::new(&["/bin/sh", "-c", "x=$(cat /dev/zero | tr '\\0' x)"]);
    place.spec.init.argv = vec!["/bin/dd".into(), "if=/dev/zero".into(), "of=/dev/null".into(), "bs=200M".into()];
    place.spec.limits.memory = Some(32 << 20);
    place.spec.limits.swap = Some(0);
    let running = place.start();
    place.end(running, ExitReason::Oom);
}

#[test]
fn limits_hold_and_change_while_it_runs() {
    let mut place = Place::idle();
    place.spec.limits.processes = Some(5);
    place.spec.limits.cpuset = Some("0".into());
    let mut running = place.start();
    assert_eq!(running.run(&["grep", "Cpus_allowed_list", "/proc/self/status"]).output, "Cpus_allowed_list:\t0\n");
    let many = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 > /dev/null 2>&1 & done; echo all";
    assert!(!running.sh(many).contains("all"));
    running.ask(Request::SetLimits { limits: Default::default() }).unwrap();
    assert!(running.sh("for i in 1 2 3 4 5 6 7 8; do true & done; wait; echo all").contains("all"));
    let limits = coffer_runtime_spec::Limits { cpuset: Some("999".into()), ..Default::default() };
    let refusal = running.ask(Request::SetLimits { limits: Box::new(limits) }).unwrap_err();
    assert_eq!(refusal.stage, Some(Stage::Cgroup));
    assert!(refusal.text.starts_with("setting cpuset.cpus in /sys/fs/cgroup/cpuset to \"999\": "), "{refusal}");
    place.kill(running);
}

#[test]
fn frozen_processes_stand() {
    let place = Place::idle();
    let mut running = place.start();
    running.ask(Request::Freeze).unwrap();
    assert_eq!(running.status().state, State::Frozen);
    assert_eq!(running.exec(command(&["true"])).unwrap_err().text, "the instance is frozen");
    assert!(running.ask(Request::Stop).is_err());
    running.ask(Request::Thaw).unwrap();
    assert_eq!(running.sh("echo on"), "on\n");
    running.ask(Request::Freeze).unwrap();
    place.kill(running);
}

#[test]
fn the_console_is_kept_shown_and_logged() {
    let mut place = Place::new(&["/bin/sh", "-c", "echo started; read line; echo got $line; sleep 1000"]);
    let log = place.dir.path().join("console.log");
    place.spec.console.log = Some(Source::Path(log.clone()));
    let mut running = place.start();
    let attach = |running: &mut support::Running, replay: bool| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let theirs: OwnedFd = theirs.into();
        running.client.call(Request::ConsoleAttach { replay }, &[theirs.as_fd()]).unwrap();
        ours
    };
    let (mut one, other) = (attach(&mut running, true), attach(&mut running, true));
    read_until(&one, "started");
    std::io::Write::write_all(&mut one, b"hello\n").unwrap();
    read_until(&one, "got hello");
    read_until(&other, "got hello");
    let (Answer::ConsoleLog { length }, fds) = running.client.call(Request::ConsoleLog, &[]).unwrap() else { panic!("no log") };
    let text = std::io::read_to_string(std::fs::File::from(fds.into_iter().next().unwrap())).unwrap();
    assert_eq!((text.len() as u64, text.as_str()), (length, "started\r\nhello\r\ngot hello\r\n"));
    drop(one);
    place.kill(running);
    assert_eq!(std::fs::read_to_string(log).unwrap(), text);
}

/// The daemon is killed; what it started lives on and its successor finds it.
#[test]
fn a_monitor_outlives_its_caller() {
    let place = Place::idle();
    let mut running = place.start();
    let chatty = "trap '' PIPE; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; touch /tmp/done; exit 5";
    let (id, fds) = running.exec(command(&["sh", "-c", chatty])).unwrap();
    let mut exec = command(&["sh", "-c", "read line"]);
    exec.streams = Streams::Pty(WindowSize { columns: 80, rows: 24 });
    let (session, master) = running.exec(exec).unwrap();
    // Everything that the caller holds is gone at once, as after kill -9.
    let support::Running { client, child, .. } = running;
    drop((client, fds, master));
    let mut client = MonitorClient::connect(&place.socket()).unwrap();
    client.call(Request::Subscribe, &[]).unwrap();
    let (Answer::ExecEnded(status), _) = client.call(Request::ExecWait { id }, &[]).unwrap() else { panic!("no status") };
    assert_eq!(status.state, ExecState::Exited(5));
    assert!(place.root().join("tmp/done").exists());
    let (Answer::Execs(execs), _) = client.call(Request::ExecList, &[]).unwrap() else { panic!("no list") };
    assert_eq!(execs.iter().map(|exec| (exec.id, exec.state)).collect::<Vec<_>>(), [(session, ExecState::Running)]);
    // The next one finds only the record.
    client.call(Request::Kill { signal: Signal::KILL }, &[]).unwrap();
    drop(client);
    assert_eq!(process::wait(child.0.pidfd.as_fd()).unwrap(), Ended::Exited(0));
    let record = place.record().unwrap();
    assert_eq!((record.name, record.reason), (place.spec.name.clone(), ExitReason::Signal(Signal::KILL)));
    assert!(MonitorClient::connect(&place.socket()).is_err());
    check_clean(&place.spec.cgroup, place.dir.path());
}

#[test]
fn an_instance_ends_with_its_monitor() {
    let place = Place::idle();
    let mut running = place.start();
    let pid = running.status().pid;
    let init = process::pidfd_open(pid).unwrap();
    process::signal(running.child.0.pidfd.as_fd(), 9).unwrap();
    support::wait_readable(&init);
    drop(running);
    // The next start of that name finds what is left and removes it.
    let running = place.start();
    place.kill(running);
}

#[test]
fn a_caller_that_goes_before_a_start_leaves_no_monitor() {
    let monitor = support::program().spawn().unwrap();
    drop(monitor.connection);
    assert_eq!(process::wait(monitor.process.pidfd.as_fd()).unwrap(), Ended::Exited(0));
}

#[test]
fn a_nursery_survives_the_death_of_its_nurse() {
    let parent = format!("coffer-test-nursery-{}", std::process::id());
    let nursery = Nursery::new(support::load_program(), &parent);
    // What is waited for below is a child of ours, or waiting would fail.
    let use_up = |monitor: Monitor| {
        drop(monitor.connection);
        assert_eq!(process::wait(monitor.process.pidfd.as_fd()).unwrap(), Ended::Exited(0));
    };
    nursery.prepare().unwrap();
    use_up(nursery.take().unwrap());
    use_up(nursery.take().unwrap());
    let first = nurse_of(&parent).unwrap();
    process::signal(process::pidfd_open(first).unwrap().as_fd(), 9).unwrap();
    use_up(nursery.take().unwrap());
    let second = nurse_of(&parent).unwrap();
    assert_ne!(first, second);
    let nurse = process::pidfd_open(second).unwrap();
    drop(nursery);
    assert_eq!(process::wait(nurse.as_fd()).unwrap(), Ended::Exited(0));
}

/// Finds the nurse that works for this control group.
fn nurse_of(parent: &str) -> Option<u32> {
    let wanted = format!("coffer-monitor\0nurse\0{parent}/.monitors\0");
    let numbers = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.into_iter().find(|pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted.as_bytes()))
}

#[test]
fn a_privileged_instance_has_no_user_namespace() {
    let mut place = Place::idle();
    place.spec.idmap = IdMap::Privileged;
    let mut running = place.start();
    assert_eq!(running.sh("cut -c 1-40 /proc/self/uid_map | tr -s ' '"), " 0 0 4294967295\n");
    assert!(running.sh("echo x > /proc/sys/kernel/core_pattern").contains("Read-only file system"));
    assert!(running.sh("echo h > /proc/sysrq-trigger").contains("can't create"));
    assert_eq!(running.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    place.kill(running);
}

#[test]
fn what_fails_names_its_stage_and_leaves_nothing() {
    let mut place = Place::idle();
    place.spec.init.argv = vec!["/sbin/none".into()];
    place.check_refused("executing the program: executing /sbin/none: No such file or directory (os error 2)");
    let mut place = Place::idle();
    place.spec.root.source = Source::Path("/nowhere".into());
    place.check_refused("opening what the spec names: opening the root file system: No such file or directory (os error 2)");
    let mut place = Place::idle();
    place.spec.hostname = "a/b".into();
    place.check_refused("checking the spec: hostname \"a/b\" has a character that is not allowed there");
    let mut place = Place::idle();
    place.spec.root = Root { source: Source::Path("/proc/self".into()), readonly: false, idmapped: true };
    let refusal = place.try_start(&[]).map(drop).unwrap_err();
    assert!(refusal.to_string().starts_with("mapping the ids of the root file system: its file system cannot map ids"), "{refusal}");
    let mut place = Place::idle();
    let rule = coffer_runtime_spec::SeccompRule { call: "frobnicate".into(), action: coffer_runtime_spec::Action::Allow };
    place.spec.security.seccomp = Seccomp::Default { rules: vec![rule], native_only: false };
    let expect = "installing the seccomp filter: seccomp rule names \"frobnicate\", which is no system call that this program knows";
    place.check_refused(expect);
    let mut place = Place::idle();
    place.spec.sysctls.insert("kernel.core_pattern".into(), "x".into());
    place.check_refused("setting kernel parameters: kernel.core_pattern belongs to the host, not to an instance");
}

#[test]
fn ends_of_commands_are_reported() {
    let place = Place::idle();
    let mut running = place.start();
    let (id, _fds) = running.exec(command(&["sh", "-c", "exit 9"])).unwrap();
    loop {
        if let Report::ExecExited(status) = running.report() {
            assert_eq!((status.id, status.state), (id, ExecState::Exited(9)));
            break;
        }
    }
    // It stays until somebody has asked.
    assert_eq!(running.wait(id), ExecState::Exited(9));
    place.kill(running);
}
