//! Running commands in an instance, by our own command.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::Duration;

use coffer_testkit::Daemon;

use crate::setting::{holds, ready_daemon};

#[test]
fn passes_exit_code_input_environment_directory_and_user() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let done = daemon.coffer(["exec", "c1", "--", "sh", "-c", "cat; echo to-stderr >&2; exit 7"]).input("from stdin").run();
    assert_eq!((done.code, done.text().as_str(), done.stderr.as_str()), (7, "from stdin", "to-stderr\n"));
    let words = ["exec", "c1", "--env", "COLOUR=blue", "--cwd", "/tmp", "--user", "1000", "--", "sh", "-c", "echo $COLOUR; pwd; id -u"];
    assert_eq!(daemon.coffer(words).clean(), "blue\n/tmp\n1000\n");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "kill -TERM $$"]).run().code, 143);
}

#[test]
fn root_inside_has_a_home_a_path_and_a_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let text = daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo $HOME $USER $LANG; hostname; echo $PATH"]).clean();
    assert!(text.starts_with("/root root C.UTF-8\nc1\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), "{text}");
}

#[test]
fn half_a_gigabyte_goes_through_unchanged() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    // Not all the same byte, so that a lost or doubled piece shows.
    let block: Vec<u8> = (0..=255_u8).cycle().take(65_521).collect();
    let size = 512 << 20;
    let input: Vec<u8> = block.iter().copied().cycle().take(size).collect();
    let done = daemon
        .coffer(["exec", "c1", "--mode", "non-interactive", "--", "cat"])
        .input(input.clone())
        .deadline(Duration::from_secs(300))
        .run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout == input, "{} bytes came back of {size}", done.stdout.len());
}

#[test]
fn a_terminal_follows_the_window_and_carries_control_keys() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut terminal = daemon.on_terminal(daemon.coffer(["exec", "c1", "--", "sh"]), 91, 23);
    terminal.send("tty; stty size\n");
    terminal.expect("/dev/pts/");
    terminal.expect("23 91");
    terminal.resize(111, 44);
    terminal.send("until [ \"$(stty size)\" = '44 111' ]; do :; done; echo new-size-is-here | tr a-z A-Z\n");
    terminal.expect("NEW-SIZE-IS-HERE");
    // One job from its first word on: a key between two jobs of the shell is nobody's.
    terminal.send("sh -c 'echo now-asleep | tr a-z A-Z; exec sleep 1000'\n");
    terminal.expect("NOW-ASLEEP");
    terminal.send("\x03");
    terminal.send("echo interrupted-$?-\n");
    terminal.expect("interrupted-130-");
    terminal.send("exit 9\n");
    assert_eq!(terminal.finish(), 9);
}

#[test]
fn shell_is_a_login_shell() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut terminal = daemon.on_terminal(daemon.coffer(["shell", "c1"]), 80, 24);
    terminal.send("echo $0-$HOME | tr a-z A-Z; exit 4\n");
    terminal.expect("/ROOT");
    assert_eq!(terminal.finish(), 4);
}

#[test]
fn a_stopped_or_unknown_instance_is_named() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    holds(&daemon.coffer(["exec", "c1", "--", "true"]).fails(), &["c1"]);
    holds(&daemon.coffer(["exec", "nobody", "--", "true"]).fails(), &["nobody"]);
}

#[test]
fn every_child_is_confined_like_init() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let of = |who: &str| daemon.coffer(["exec", "c1", "--", "grep", "-E", "^(Seccomp|CapBnd):", &format!("/proc/{who}/status")]).clean();
    let (init, child) = (of("1"), of("self"));
    assert_eq!(init, child);
    holds(&init, &["Seccomp:\t2"]);
    let cgroup = |who: &str| daemon.coffer(["exec", "c1", "--", "cat", &format!("/proc/{who}/cgroup")]).clean();
    assert!(!cgroup("self").contains(".."), "{}", cgroup("self"));
    // No descriptor beyond the three, and the one that `ls` itself opens.
    let open = daemon.coffer(["exec", "c1", "--", "ls", "/proc/self/fd"]).clean();
    assert_eq!(open.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[test]
fn streams_live_on_without_the_daemon() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut command =
        daemon.coffer(["exec", "c1", "--", "sh", "-c", "while read word; do echo \"got $word\"; done; exit 4"]).into_command();
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (client.stdin.take().unwrap(), BufReader::new(client.stdout.take().unwrap()));
    let mut answer = |word: &str| {
        writeln!(input, "{word}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(answer("one"), "got one\n");
    daemon.kill9();
    assert_eq!(answer("two"), "got two\n");
    daemon.launch();
    assert_eq!(answer("three"), "got three\n");
    drop(input);
    assert_eq!(client.wait().unwrap().code(), Some(4));
}

/// A socket that leads to the daemon's, as ssh does when it forwards one: bytes pass, descriptors do not.
pub fn relayed_socket(daemon: &Daemon) -> String {
    let socket = daemon.scratch().join("relay");
    let path = socket.display().to_string();
    let (listener, real) = (UnixListener::bind(&socket).expect("a socket"), daemon.state_seen().join("unix.socket"));
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = UnixStream::connect(&real).expect("the daemon's socket");
            let (near_too, far_too) = (near.try_clone().expect("a descriptor"), far.try_clone().expect("a descriptor"));
            for (mut from, mut to) in [(near_too, far_too), (far, near)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    path
}

#[test]
fn a_relayed_socket_carries_commands_too() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let words = ["exec", "c1", "--", "sh", "-c", "cat; exit 7"];
    let done = daemon.client_outside(words).env("COFFER_SOCKET", &relayed_socket(&daemon)).input("through the relay").run();
    assert_eq!((done.code, done.text().as_str()), (7, "through the relay"), "{}", done.stderr);
}

#[test]
fn what_a_command_leaves_in_the_background_does_not_keep_its_client() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let done = daemon.coffer(["exec", "c1", "--", "sh", "-c", "sleep 1000 & echo done; exit 3"]).run();
    assert_eq!((done.code, done.text().as_str()), (3, "done\n"));
    let done = daemon.coffer(["exec", "c1", "--", "no-such-program"]).run();
    assert_eq!(done.code, 127, "{}", done.stderr);
    assert!(done.stderr.contains("no-such-program"), "{}", done.stderr);
}
