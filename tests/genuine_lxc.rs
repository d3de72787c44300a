//! The genuine `lxc` 5.0.2 works with our daemon unchanged, and has nothing to warn about.

use coffer_testkit::{Daemon, can_run, has_genuine_client, images};
use serde_json::Value;

use crate::setting::{holds, ready_for_genuine_client};

#[test]
fn sets_up_storage_network_and_profile_and_launches() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let daemon = Daemon::start();
    let before = daemon.world();
    daemon.lxc(["storage", "create", "default", "dir"]).clean();
    let show = daemon.lxc(["storage", "show", "default"]).clean();
    holds(&show, &["name: default", "driver: dir", "status: Created", "used_by:", "source:"]);
    daemon.lxc(["network", "create", "lxcbr9", "ipv4.address=10.99.8.1/24", "ipv4.nat=true", "ipv6.address=none"]).clean();
    let show = daemon.lxc(["network", "show", "lxcbr9"]).clean();
    holds(&show, &["name: lxcbr9", "type: bridge", "managed: true", "ipv4.address: 10.99.8.1/24", "status: Created"]);
    daemon.lxc(["profile", "device", "add", "default", "root", "disk", "path=/", "pool=default"]).clean();
    daemon.lxc(["profile", "device", "add", "default", "eth0", "nic", "network=lxcbr9", "name=eth0"]).clean();

    let image = images::busybox();
    daemon.lxc(["image", "import", &image.unified.display().to_string(), "--alias", "small"]).clean();
    daemon.lxc(["launch", "small", "c1"]).clean();
    let list: Value = serde_json::from_str(&daemon.lxc(["list", "--format", "json"]).clean()).unwrap();
    assert_eq!(list[0]["name"], "c1");
    assert_eq!(list[0]["status"], "Running");
    let _ = daemon.ipv4("c1", "eth0");
    holds(&daemon.lxc(["list"]).clean(), &["c1", "RUNNING", "10.99.8.", "(eth0)", "CONTAINER"]);
    holds(&daemon.lxc(["network", "show", "lxcbr9"]).clean(), &["/1.0/instances/c1", "/1.0/profiles/default"]);

    daemon.lxc(["delete", "--force", "c1"]).clean();
    daemon.lxc(["image", "delete", "small"]).clean();
    daemon.lxc(["profile", "device", "remove", "default", "eth0"]).clean();
    daemon.lxc(["profile", "device", "remove", "default", "root"]).clean();
    daemon.lxc(["network", "delete", "lxcbr9"]).clean();
    daemon.lxc(["storage", "delete", "default"]).clean();
    daemon.expect_nothing_since(&before);
}

#[test]
fn imports_a_split_image() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let image = images::busybox();
    let squashfs = image.squashfs.expect("mksquashfs is among the test packages").display().to_string();
    daemon.lxc(["image", "import", &image.metadata.display().to_string(), &squashfs, "--alias", "split"]).clean();
    daemon.lxc(["launch", "split", "c1"]).clean();
    assert_eq!(daemon.lxc(["exec", "c1", "--", "cat", "/etc/os-release"]).clean().lines().next(), Some("ID=busybox"));
    holds(&daemon.lxc(["image", "list"]).clean(), &["split", "small", "busybox 1 test image", "CONTAINER"]);
}

#[test]
fn shows_and_exports_an_image_that_hashes_to_its_name() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    holds(&daemon.lxc(["image", "info", "small"]).clean(), &["Fingerprint:", "Architecture:", "os: busybox"]);
    holds(&daemon.lxc(["image", "show", "small"]).clean(), &["properties:", "os: busybox", "public: false"]);
    daemon.lxc(["image", "alias", "create", "tiny", "small"]).fails();
    let fingerprint = daemon.lxc(["image", "list", "--format", "csv", "-c", "F"]).clean().trim().to_owned();
    daemon.lxc(["image", "alias", "create", "tiny", &fingerprint]).clean();
    holds(&daemon.lxc(["image", "alias", "list"]).clean(), &["tiny", "small"]);
    let target = daemon.scratch().join("exported");
    daemon.lxc(["image", "export", "tiny", &target.display().to_string()]).ok();
    let exported = target.with_extension("tar.xz");
    assert_eq!(std::fs::read(exported).unwrap(), std::fs::read(images::busybox().unified).unwrap());
}

#[test]
fn execs_with_exit_code_stdin_environment_directory_and_user() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    let done = daemon.lxc(["exec", "c1", "--", "sh", "-c", "cat; echo to-stderr >&2; exit 7"]).input("from stdin").run();
    assert_eq!((done.code, done.text().as_str(), done.stderr.as_str()), (7, "from stdin", "to-stderr\n"));
    let script = "echo $COLOUR; pwd; id -u; id -g";
    let words = ["exec", "c1", "--env", "COLOUR=blue", "--cwd", "/tmp", "--user", "1000", "--group", "1000", "--", "sh", "-c", script];
    assert_eq!(daemon.lxc(words).clean(), "blue\n/tmp\n1000\n1000\n");
    let missing = daemon.lxc(["exec", "c1", "--", "/no/such/program"]).run();
    assert!([126, 127].contains(&missing.code), "{missing}");
}

#[test]
fn gives_a_terminal_that_follows_the_window() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    let mut terminal = daemon.on_terminal(daemon.lxc(["exec", "c1", "--", "sh"]), 91, 23);
    terminal.send("tty; stty size\n");
    terminal.expect("/dev/pts/");
    terminal.expect("23 91");
    terminal.resize(111, 44);
    // The shell learns of the new size on its own; a question asked too early would see the old one.
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
fn stops_starts_restarts_and_pauses() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let state = || daemon.lxc(["list", "c1", "--format", "csv", "-c", "s"]).clean().trim().to_owned();
    daemon.lxc(["init", "small", "c1"]).clean();
    assert_eq!(state(), "STOPPED");
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(state(), "RUNNING");
    daemon.lxc(["pause", "c1"]).clean();
    assert_eq!(state(), "FROZEN");
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(state(), "RUNNING");
    let first = daemon.instance_state("c1")["pid"].clone();
    daemon.lxc(["restart", "--force", "c1"]).clean();
    assert_ne!(daemon.instance_state("c1")["pid"], first);
    assert_eq!(state(), "RUNNING");
    daemon.lxc(["stop", "c1", "--timeout", "20"]).clean();
    assert_eq!(state(), "STOPPED");
    daemon.lxc(["start", "c1"]).clean();
    daemon.lxc(["delete", "c1"]).fails();
    daemon.lxc(["stop", "--force", "c1"]).clean();
    daemon.lxc(["delete", "c1"]).clean();
    assert_eq!(daemon.lxc(["list", "--format", "csv"]).clean(), "");
}

#[test]
fn reads_and_writes_configuration() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.lxc(["init", "small", "c1"]).clean();
    daemon.lxc(["config", "set", "c1", "limits.memory", "64MiB"]).clean();
    assert_eq!(daemon.lxc(["config", "get", "c1", "limits.memory"]).clean().trim(), "64MiB");
    daemon.lxc(["config", "set", "c1", "user.colour=blue", "boot.autostart=false"]).clean();
    let show = daemon.lxc(["config", "show", "c1"]).clean();
    holds(
        &show,
        &["architecture:", "limits.memory: 64MiB", "user.colour: blue", "image.os: busybox", "volatile.", "ephemeral: false", "profiles:"],
    );
    holds(&daemon.lxc(["config", "show", "c1", "--expanded"]).clean(), &["eth0:", "network: testbr0", "root:", "pool: default"]);
    // `edit` reads the new text from standard input when that is no terminal.
    let edited = show.replace("user.colour: blue", "user.colour: green");
    daemon.lxc(["config", "edit", "c1"]).input(edited).clean();
    assert_eq!(daemon.lxc(["config", "get", "c1", "user.colour"]).clean().trim(), "green");
    daemon.lxc(["config", "unset", "c1", "user.colour"]).clean();
    assert_eq!(daemon.lxc(["config", "get", "c1", "user.colour"]).clean().trim(), "");
    daemon.lxc(["config", "device", "add", "c1", "eth1", "nic", "network=testbr0", "name=eth1"]).clean();
    holds(&daemon.lxc(["config", "device", "show", "c1"]).clean(), &["eth1:", "network: testbr0"]);
    daemon.lxc(["config", "device", "remove", "c1", "eth1"]).clean();
}

#[test]
fn creates_edits_and_shows_profiles() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.lxc(["profile", "create", "myprof"]).clean();
    let text = "config:\n  limits.memory: 48MiB\n  user.vendor-data: |\n    #cloud-config\n    users:\n      - name: ubuntu\ndescription: mine\ndevices:\n  \
                eth0:\n    name: eth0\n    network: testbr0\n    type: nic\n  root:\n    path: /\n    pool: default\n    type: disk\n";
    daemon.lxc(["profile", "edit", "myprof"]).input(text).clean();
    daemon.lxc(["launch", "small", "web", "--profile", "myprof"]).clean();
    let show = daemon.lxc(["profile", "show", "myprof"]).clean();
    holds(&show, &["name: myprof", "description: mine", "limits.memory: 48MiB", "#cloud-config", "network: testbr0", "/1.0/instances/web"]);
    assert_eq!(daemon.lxc(["config", "get", "web", "limits.memory", "--expanded"]).run().code, 0);
    daemon.lxc(["profile", "delete", "myprof"]).fails();
    holds(&daemon.lxc(["profile", "list"]).clean(), &["default", "myprof"]);
}

#[test]
fn tells_about_an_instance_and_the_server() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    let _ = daemon.ipv4("c1", "eth0");
    let info = daemon.lxc(["info", "c1"]).clean();
    holds(&info, &["Name: c1", "Status: RUNNING", "Type: container", "PID:", "Processes:", "eth0", "10.99.7."]);
    holds(&daemon.lxc(["info"]).clean(), &["api_extensions:", "auth: trusted", "kernel_version:", "storage: dir"]);
    holds(&daemon.lxc(["version"]).clean(), &["Client version: 5.0.2", "Server version:"]);
    holds(&daemon.lxc(["operation", "list"]).clean(), &["ID", "TYPE"]);
    holds(&daemon.lxc(["storage", "list"]).clean(), &["default", "dir"]);
    holds(&daemon.lxc(["storage", "info", "default"]).clean(), &["name: default", "driver: dir", "space used:"]);
    holds(&daemon.lxc(["network", "list"]).clean(), &["testbr0", "bridge", "YES"]);
}

#[test]
fn shows_the_console_log() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    daemon.lxc(["exec", "c1", "--", "sh", "-c", "echo marker-on-console > /dev/console"]).clean();
    let seen = daemon.eventually(|| daemon.lxc(["console", "c1", "--show-log"]).ok().contains("marker-on-console"));
    assert!(seen, "{}", daemon.lxc(["console", "c1", "--show-log"]).ok());
}

#[test]
fn watches_events() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let mut terminal = daemon.on_terminal(daemon.lxc(["monitor", "--type", "lifecycle"]), 200, 50);
    // Nothing tells when the client is listening: make events until one arrives.
    daemon.create_instance("small", "c1");
    let made = daemon.eventually(|| {
        daemon.change_state("c1", "start");
        daemon.change_state("c1", "stop");
        terminal.shows("instance-started")
    });
    assert!(made, "{}", terminal.screen());
}
