//! `/dev/lxd/sock`: what an instance may ask about itself, who may ask, and that it outlives the daemon.

use coffer_testkit::{Daemon, Done};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

/// Connects to the socket named first, sends the second argument and prints what comes back until the end.
const CLIENT: &str = "use Socket; $SIG{ALRM} = 'DEFAULT'; alarm 60; socket(S, PF_UNIX, SOCK_STREAM, 0) or die; \
                      connect(S, sockaddr_un($ARGV[0])) or die \"connecting: $!\\n\"; syswrite(S, $ARGV[1]); \
                      while (sysread(S, $b, 65536)) { syswrite(STDOUT, $b) }";

/// A daemon with an instance that has not started yet and has a client of unix sockets at hand: the host's perl, as busybox
/// has none.
fn with_client() -> Option<Daemon> {
    let daemon = ready_daemon()?;
    daemon.create_instance("small", "c1");
    daemon.coffer(["config", "device", "add", "c1", "client", "disk", "source=/usr", "path=/client"]).clean();
    Some(daemon)
}

/// Starts the instance.
fn started() -> Option<Daemon> {
    let daemon = with_client()?;
    daemon.change_state("c1", "start");
    Some(daemon)
}

/// The words of a command inside that sends a request.
fn client(user: &str, request: &str) -> Vec<String> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let loader = if cfg!(target_arch = "aarch64") { "ld-linux-aarch64.so.1" } else { "ld-linux-x86-64.so.2" };
    let libraries = format!("/client/lib/{triplet}");
    let (loader, modules) = (format!("{libraries}/{loader}"), format!("-I{libraries}/perl-base"));
    let words = ["exec", "c1", "--user", user, "--", &loader, "--library-path", &libraries, "/client/bin/perl", &modules];
    words.into_iter().chain(["-e", CLIENT, "/dev/lxd/sock", request]).map(str::to_owned).collect()
}

/// Sends a request from inside and answers what came back.
fn ask_as(daemon: &Daemon, user: &str, method: &str, path: &str, body: &str) -> Done {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: lxd\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    daemon.coffer(client(user, &request)).run()
}

/// The status and the body of an answer to root.
#[track_caller]
fn ask(daemon: &Daemon, path: &str) -> (u16, String) {
    parse(&ask_as(daemon, "0", "GET", path, ""))
}

#[track_caller]
fn parse(done: &Done) -> (u16, String) {
    let text = done.text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {done}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {done}"));
    (status, body.to_owned())
}

#[track_caller]
fn json_of(daemon: &Daemon, path: &str) -> Value {
    let (status, body) = ask(daemon, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

#[test]
fn an_instance_reads_what_is_meant_for_it() {
    let Some(daemon) = with_client() else { return };
    daemon.coffer(["config", "set", "c1", "user.colour=blue", "cloud-init.user-data=#cloud-config", "user.meta-data=more: yes"]).clean();
    daemon.change_state("c1", "start");
    assert_eq!(json_of(&daemon, "/"), json!(["/1.0"]));
    let about = json!({"api_version": "1.0", "instance_type": "container", "location": "none", "state": "Started"});
    assert_eq!(json_of(&daemon, "/1.0"), about);
    let keys = json!(["/1.0/config/cloud-init.user-data", "/1.0/config/user.colour", "/1.0/config/user.meta-data"]);
    assert_eq!(json_of(&daemon, "/1.0/config"), keys);
    assert_eq!(ask(&daemon, "/1.0/config/user.colour"), (200, "blue".into()));
    assert_eq!(ask(&daemon, "/1.0/config/user.missing").0, 404);
    for secret in ["volatile.uuid", "limits.memory", "environment.TOKEN", "image.os"] {
        assert_eq!(ask(&daemon, &format!("/1.0/config/{secret}")).0, 403, "{secret}");
    }
    let id = daemon.coffer(["config", "get", "c1", "volatile.cloud-init.instance-id"]).clean();
    let meta = format!("#cloud-config\ninstance-id: {}\nlocal-hostname: c1\nmore: yes", id.trim());
    assert_eq!(ask(&daemon, "/1.0/meta-data"), (200, meta));
    let devices = json_of(&daemon, "/1.0/devices");
    assert_eq!(devices["root"]["path"], "/");
    let hwaddr = daemon.coffer(["config", "get", "c1", "volatile.eth0.hwaddr"]).clean();
    assert_eq!(devices["eth0"]["hwaddr"], hwaddr.trim());
    assert_eq!(ask(&daemon, "/1.0/nonsense").0, 404);
    assert_eq!(ask(&daemon, "/1.0/config/../../1.0").0, 404);
}

#[test]
fn only_root_inside_may_ask_and_only_where_that_is_wanted() {
    let Some(daemon) = started() else { return };
    assert_eq!(parse(&ask_as(&daemon, "1000", "GET", "/1.0", "")).0, 401);
    assert_eq!(parse(&ask_as(&daemon, "1000", "GET", "/", "")).0, 401);
    // Root of the host is not root of the instance.
    let socket = daemon.state().join("devlxd/c1/sock").display().to_string();
    let outside = daemon.inside("perl", ["-e", CLIENT, &socket, "GET /1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]).run();
    assert_eq!(parse(&outside).0, 401);

    daemon.coffer(["config", "set", "c1", "security.devlxd=false"]).clean();
    assert_eq!(ask(&daemon, "/1.0").0, 403);
    assert_eq!(ask(&daemon, "/").0, 200);
    daemon.change_state("c1", "stop");
    assert!(!daemon.state_seen().join("devlxd/c1").exists());
    daemon.change_state("c1", "start");
    assert_ne!(daemon.coffer(["exec", "c1", "--", "ls", "/dev/lxd"]).run().code, 0);
}

#[test]
fn an_instance_says_that_it_is_ready() {
    let Some(daemon) = started() else { return };
    let say = |body: &str| parse(&ask_as(&daemon, "0", "PATCH", "/1.0", body)).0;
    let status = || daemon.api().get("/1.0/instances/c1")["status"].as_str().map(str::to_owned);
    assert_eq!((say(r#"{"state":"Done"}"#), say("nonsense"), status().as_deref()), (400, 400, Some("Running")));
    assert_eq!(say(r#"{"state":"Ready"}"#), 200);
    assert_eq!(json_of(&daemon, "/1.0")["state"], "Ready");
    assert_eq!(status().as_deref(), Some("Ready"));
    assert_eq!(daemon.instance_state("c1")["status_code"], 113);
    holds(&daemon.coffer(["list"]).clean(), &["READY"]);
    assert_eq!(daemon.coffer(["config", "get", "c1", "volatile.last_state.ready"]).clean().trim(), "true");
    assert_eq!(say(r#"{"state":"Started"}"#), 200);
    assert_eq!(status().as_deref(), Some("Running"));
    say(r#"{"state":"Ready"}"#);
    daemon.coffer(["restart", "--force", "c1"]).clean();
    assert_eq!(status().as_deref(), Some("Running"), "a new start is ready before it says so");
}

#[test]
fn the_socket_outlives_the_daemon() {
    let Some(mut daemon) = started() else { return };
    assert_eq!(parse(&ask_as(&daemon, "0", "PATCH", "/1.0", r#"{"state":"Ready"}"#)).0, 200);
    daemon.kill9();
    daemon.launch();
    assert_eq!(json_of(&daemon, "/1.0")["state"], "Ready");
    assert_eq!(parse(&ask_as(&daemon, "1000", "GET", "/1.0", "")).0, 401);
    daemon.restart();
    assert_eq!(json_of(&daemon, "/1.0")["state"], "Ready");
}

#[test]
fn changes_are_told_as_they_happen() {
    let Some(daemon) = started() else { return };
    let mut terminal = daemon.on_terminal(daemon.coffer(client("0", "GET /1.0/events?type=config,device HTTP/1.0\r\n\r\n")), 250, 50);
    terminal.expect("200 OK");
    daemon.coffer(["config", "set", "c1", "user.colour=blue", "limits.processes=500"]).clean();
    terminal.expect(r#""metadata":{"key":"user.colour","old_value":"","value":"blue"}"#);
    daemon.coffer(["config", "device", "add", "c1", "eth1", "nic", "network=testbr0", "name=eth1"]).clean();
    terminal.expect(r#""action":"added""#);
    assert!(!terminal.screen().contains("limits.processes"), "{}", terminal.screen());
}

#[test]
fn images_are_handed_out_where_that_is_wanted() {
    let Some(daemon) = started() else { return };
    let fingerprint = daemon.api().get("/1.0/images?recursion=1")[0]["fingerprint"].as_str().unwrap().to_owned();
    let path = format!("/1.0/images/{fingerprint}/export");
    // Its length is looked at, not its bytes: they are no text.
    let status = |path: &str| {
        let done = ask_as(&daemon, "0", "GET", path, "");
        (done.text().split(' ').nth(1).map(str::to_owned), done.stdout.len() as u64)
    };
    assert_eq!(status(&path).0.as_deref(), Some("403"));
    daemon.coffer(["config", "set", "c1", "security.devlxd.images=true"]).clean();
    assert_eq!(status(&path).0.as_deref(), Some("404"), "a private image was handed out");
    daemon.api().expect("PATCH", &format!("/1.0/images/{fingerprint}"), Some(&json!({"public": true})));
    let (code, length) = status(&path);
    assert_eq!(code.as_deref(), Some("200"));
    assert!(length > std::fs::metadata(coffer_testkit::images::busybox().unified).unwrap().len());
    let part = path.replace(&fingerprint, &fingerprint[..12]);
    assert_eq!(status(&part).0.as_deref(), Some("404"), "part of a fingerprint is enough");
}
