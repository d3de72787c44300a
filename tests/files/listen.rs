//! `file mount --listen`: an instance's files over SSH, as OpenSSH's own client takes them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use coffer_testkit::{Daemon, Done};

use crate::files::inside;
use crate::setting::{holds, ready_daemon};

/// A command that serves, and what it said of itself.
struct Served {
    command: Child,
    port: String,
    user: String,
    password: String,
}

impl Served {
    fn start(daemon: &Daemon, words: &[&str]) -> Self {
        let words = [&["file", "mount", "c1"], words].concat();
        let mut command = daemon.coffer(words).into_command();
        let mut command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("our command");
        let mut lines = BufReader::new(command.stdout.take().expect("its output")).lines().map(|line| line.expect("a line"));
        let address = lines.next().expect("where it listens");
        let port = address.strip_prefix("SSH SFTP listening on 127.0.0.1:").unwrap_or_else(|| panic!("{address}")).to_owned();
        let login = lines.next().expect("how to log in");
        let mut quoted = login.split('"').skip(1).step_by(2).map(str::to_owned);
        let (user, password) = (quoted.next().unwrap_or_default(), quoted.next().unwrap_or_default());
        Self { command, port, user, password }
    }

    /// Runs commands of `sftp`.
    fn sftp(&self, daemon: &Daemon, user: &str, password: &str, commands: &str) -> Done {
        // The one way to hand over a password without a terminal.
        let answers = daemon.scratch().join("answers");
        fs::write(&answers, format!("#!/bin/sh\necho '{password}'\n")).expect("a script");
        fs::set_permissions(&answers, fs::Permissions::from_mode(0o700)).expect("a mode");
        let mut words: Vec<String> = vec!["-P".into(), self.port.clone()];
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "PubkeyAuthentication=no",
            "NumberOfPasswordPrompts=1",
            // As often as it may be, so that keys are made anew in the middle.
            "RekeyLimit=1M",
        ] {
            words.extend(["-o".into(), option.into()]);
        }
        words.push(format!("{user}@127.0.0.1"));
        let answers = answers.display().to_string();
        let sftp = daemon.inside("sftp", words).env("SSH_ASKPASS", &answers).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
        sftp.input(commands).run()
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) {
        let done = Command::new("kill").args(["-INT", &self.command.id().to_string()]).status().expect("kill");
        assert!(done.success());
        assert!(self.command.wait().expect("it ends").success());
    }
}

#[test]
fn files_are_served_over_ssh_to_who_has_the_password() {
    let Some(daemon) = ready_daemon() else { return };
    if !coffer_base::run::installed("sftp") {
        coffer_testkit::skipped("sftp is not installed");
        return;
    }
    daemon.run_instance("small", "c1");
    let served = Served::start(&daemon, &[]);
    assert!(served.user.len() >= 8 && served.password.len() >= 20, "{} {}", served.user, served.password);
    // More than a window, and more than one key is good for.
    let big: Vec<u8> = (0..5_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (here, back) = (daemon.scratch().join("big"), daemon.scratch().join("back"));
    fs::write(&here, &big).expect("a file");
    let commands = format!("put {} /root/big\nget /root/big {}\nmkdir /root/made\nls -l /root\n", here.display(), back.display());
    let done = served.sftp(&daemon, &served.user, &served.password, &commands);
    assert_eq!(done.code, 0, "{done}");
    holds(&done.to_string(), &["5000000", "made"]);
    assert!(fs::read(&back).is_ok_and(|got| got == big), "it came back otherwise");
    assert_eq!(inside(&daemon, "c1", "busybox wc -c < /root/big; stat -c %u:%g /root/made").trim(), "5000000\n0:0");
    // Nobody else comes in.
    for (user, password) in [(&served.user[..], "wrong"), (&served.user[..], ""), ("root", &served.password[..])] {
        let done = served.sftp(&daemon, user, password, "ls\n");
        assert_ne!(done.code, 0, "{done}");
        holds(&done.stderr, &["Permission denied"]);
    }
    // Several at once, each with a connection of its own.
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (served, daemon) = (&served, &daemon);
            scope.spawn(move || {
                let done = served.sftp(daemon, &served.user, &served.password, &format!("mkdir /root/by{number}\n"));
                assert_eq!(done.code, 0, "{done}");
            });
        }
    });
    assert_eq!(inside(&daemon, "c1", "ls -d /root/by*").split_whitespace().count(), 4);
    let (port, user, password) = (served.port.clone(), served.user.clone(), served.password.clone());
    served.interrupt();
    let gone = Served { command: Command::new("true").spawn().expect("true"), port, user, password };
    let done = gone.sftp(&daemon, &gone.user, &gone.password, "ls\n");
    assert!(done.code != 0 && done.stderr.contains("refused"), "{done}");
}

#[test]
fn who_serves_chooses_user_and_address_and_whether_there_is_a_password() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    if coffer_base::run::installed("sftp") {
        let served = Served::start(&daemon, &["--listen", "127.0.0.1:0", "--auth-user", "alice"]);
        assert_eq!(served.user, "alice");
        assert_eq!(served.sftp(&daemon, "alice", &served.password, "ls /\n").code, 0);
        served.interrupt();
        let served = Served::start(&daemon, &["--no-auth"]);
        assert_eq!((served.user.as_str(), served.password.as_str()), ("", ""));
        assert_eq!(served.sftp(&daemon, "anybody", "", "ls /\n").code, 0);
        served.interrupt();
    }
    let scratch = daemon.scratch().display().to_string();
    for (words, told) in [
        (&["c1", &scratch, "--listen", "127.0.0.1:0"][..], &["--listen", "directory"][..]),
        (&["c1/root", "--listen", "127.0.0.1:0"], &["c1/root", "all of"]),
        (&["c1", "--no-auth", "--auth-user", "x"], &["--no-auth", "--auth-user"]),
        (&["c1", &scratch, "--no-auth"], &["--no-auth", "directory"]),
        (&["c1", "--listen", "203.0.113.7:1"], &["203.0.113.7:1"]),
        (&["none"], &["none"]),
    ] {
        holds(&daemon.coffer([&["file", "mount"], words].concat()).fails(), told);
    }
}
