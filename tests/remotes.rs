//! Our own command with servers elsewhere: remotes, trust, image servers, copies between daemons; the tutorial's steps 2 to 4.

use coffer_testkit::{Daemon, ImageServer, Invocation, Offer, Options, can_run, images};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

const ADDRESS: &str = "127.0.0.1:8443";

/// A daemon that listens on the network of its pen.
fn listening() -> Option<Daemon> {
    let daemon = ready_daemon()?;
    daemon.coffer(["config", "set", "core.https_address", ADDRESS]).clean();
    Some(daemon)
}

/// Our command as another user would run it: with a configuration of its own, in the same network.
fn elsewhere(daemon: &Daemon, words: &[&str]) -> Invocation {
    let configuration = daemon.scratch().join("elsewhere").display().to_string();
    daemon.coffer(words).env("COFFER_CONF", &configuration).env("COFFER_DIR", "/no/such/daemon")
}

#[track_caller]
fn token(daemon: &Daemon, name: &str) -> String {
    daemon.coffer(["config", "trust", "add", "--name", name, "--quiet"]).clean().trim().to_owned()
}

#[test]
fn the_tutorial_s_steps_with_image_servers() {
    let Some(daemon) = ready_daemon() else { return };
    let server = ImageServer::start(daemon.pen());
    let ubuntu = Offer { product: "ubuntu:22.04:amd64", aliases: "22.04,jammy,j", ..Offer::default() };
    let offered = server.offer(&images::busybox(), ubuntu);
    // Step 2.
    let list = daemon.coffer(["remote", "list"]).clean();
    holds(
        &list,
        &["images", "https://images.linuxcontainers.org", "local (current)", "unix://", "ubuntu ", "ubuntu-daily", "simplestreams"],
    );
    daemon.coffer(["remote", "add", "ubuntu2", &server.url(), "--protocol=simplestreams"]).clean();
    holds(&daemon.coffer(["remote", "list", "--format=csv"]).clean(), &[&format!("ubuntu2,{},simplestreams,none,YES,NO,NO", server.url())]);
    // Step 3.
    holds(
        &daemon.coffer(["image", "list", "ubuntu2:"]).clean(),
        &["j (2 more)", &offered[..12], "yes", "Busybox 1 amd64", "x86_64", "CONTAINER"],
    );
    assert_eq!(daemon.coffer(["image", "list", "ubuntu2:", "22.04", "amd64", "--format=csv", "-c", "f"]).clean().trim(), &offered[..12]);
    assert_eq!(daemon.coffer(["image", "list", "ubuntu2:", "os=busybox", "-f", "csv", "-c", "f"]).clean().trim(), &offered[..12]);
    assert_eq!(daemon.coffer(["image", "list", "ubuntu2:", "arm64", "--format=csv"]).clean(), "");
    holds(&daemon.coffer(["image", "info", "ubuntu2:jammy"]).clean(), &["Fingerprint: ", "serial: 20261101_0000", "- 22.04"]);
    holds(&daemon.coffer(["image", "alias", "list", "ubuntu2:"]).clean(), &["jammy", "22.04", &offered[..12]]);
    daemon.coffer(["image", "delete", "ubuntu2:jammy"]).fails();
    // Step 4.
    let mut terminal = daemon.on_terminal(daemon.coffer(["launch", "ubuntu2:22.04", "test"]), 100, 20);
    terminal.expect("Launching test");
    assert_eq!(terminal.finish(), 0);
    holds(&daemon.coffer(["list"]).clean(), &["test", "RUNNING"]);
    let info = daemon.coffer(["image", "info", &offered]).clean();
    holds(
        &info,
        &["Cached: yes", "Protocol: simplestreams", "Alias: 22.04", "Origin:", &format!("From: {}", server.url()), "Asked by: root (unix)"],
    );
    daemon.coffer(["image", "copy", "ubuntu2:jammy", "local:", "--alias", "mine", "--copy-aliases", "--auto-update"]).clean();
    holds(&daemon.coffer(["image", "info", "mine"]).clean(), &["- mine", "- jammy", "Cached: no", "Alias: jammy"]);
    holds(&daemon.coffer(["image", "refresh", "mine"]).clean(), &["Image already up to date."]);
    // A server that can't be reached is said so.
    let error = daemon.coffer(["launch", "ubuntu:22.04", "t2"]).fails();
    holds(&error, &["cloud-images.ubuntu.com"]);
    assert!(!daemon.coffer(["list", "--format=csv"]).clean().contains("t2"));
}

#[test]
fn remotes_are_kept_changed_and_removed() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let server = ImageServer::start(daemon.pen());
    let run = |words: &[&str]| daemon.coffer(words);
    run(&["remote", "add", "a", &server.url(), "--protocol", "simplestreams"]).clean();
    run(&["remote", "add", "a", &server.url(), "--protocol", "simplestreams"]).fails();
    run(&["remote", "rename", "a", "b"]).clean();
    run(&["remote", "set-url", "b", "https://images.example"]).clean();
    holds(&run(&["remote", "list", "-f", "csv"]).clean(), &["b,https://images.example,simplestreams"]);
    run(&["remote", "switch", "b"]).clean();
    assert_eq!(run(&["remote", "get-default"]).clean(), "b\n");
    holds(&run(&["remote", "remove", "b"]).fails(), &["is the default one"]);
    holds(&run(&["list"]).fails(), &["remote 'b' only serves images"]);
    run(&["--force-local", "list"]).clean();
    run(&["remote", "switch", "local"]).clean();
    run(&["remote", "remove", "b"]).clean();
    for words in [["remote", "remove", "local"], ["remote", "remove", "ubuntu"], ["remote", "switch", "nix"]] {
        run(&words).fails();
    }
    holds(&run(&["remote", "add", "x", "http://images.example", "--protocol=simplestreams"]).fails(), &["not reached over HTTPS"]);
    holds(
        &run(&["remote", "add", "x", "https://r.example", "--protocol=teapot"]).fails(),
        &["simplestreams, lxd or oci, not by \"teapot\""],
    );
    holds(&run(&["remote", "add", "x", "http://127.0.0.1:1", "--protocol=simplestreams"]).fails(), &["connecting to 127.0.0.1:1"]);
    run(&["remote", "add", "../x", &server.url(), "--protocol=simplestreams"]).fails();
    assert_eq!(run(&["remote", "list", "-f", "csv"]).clean().lines().count(), 4);
}

#[test]
fn a_daemon_is_added_with_a_token_and_used_over_https() {
    let Some(daemon) = listening() else { return };
    let run = |words: &[&str]| elsewhere(&daemon, words);
    let token = token(&daemon, "laptop");
    holds(&daemon.coffer(["config", "trust", "list-tokens"]).clean(), &["laptop", &token[..20]]);
    run(&["remote", "add", "box", &token]).clean();
    assert!(!daemon.coffer(["config", "trust", "list-tokens"]).clean().contains("laptop"));
    holds(&daemon.coffer(["config", "trust", "list"]).clean(), &["client", "laptop", "root@"]);
    holds(&run(&["remote", "list", "-f", "csv"]).clean(), &[&format!("box,https://{ADDRESS},lxd,tls,NO,NO,NO")]);
    run(&["launch", "box:small", "box:c1"]).clean();
    holds(&run(&["list", "box:"]).clean(), &["c1", "RUNNING"]);
    run(&["remote", "switch", "box"]).clean();
    let done = run(&["exec", "c1", "--", "sh", "-c", "cat; echo oops >&2; exit 7"]).input("over TLS").run();
    assert_eq!((done.code, done.text().as_str(), done.stderr.as_str()), (7, "over TLS", "oops\n"));
    let large: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    assert!(run(&["exec", "c1", "--", "cat"]).input(large.clone()).run().stdout == large);
    let mut terminal = daemon.on_terminal(run(&["exec", "c1", "--", "sh"]), 90, 20);
    terminal.send("stty size; exit 9\n");
    terminal.expect("20 90");
    assert_eq!(terminal.finish(), 9);
    run(&["config", "set", "c1", "user.colour=blue"]).clean();
    assert_eq!(run(&["config", "get", "c1", "user.colour"]).clean(), "blue\n");
    // Whom the server trusts no more is a stranger at the next request.
    let list: Value = serde_json::from_str(&daemon.coffer(["config", "trust", "list", "-f", "json"]).clean()).unwrap();
    let fingerprint = list[0]["fingerprint"].as_str().unwrap();
    holds(&daemon.coffer(["config", "trust", "show", &fingerprint[..12]]).clean(), &["name: laptop", "BEGIN CERTIFICATE"]);
    daemon.coffer(["config", "trust", "remove", &fingerprint[..12]]).clean();
    holds(&run(&["list"]).fails(), &["not authorized"]);
}

#[test]
fn a_server_is_believed_by_its_certificate_alone() {
    let Some(mut daemon) = listening() else { return };
    daemon.coffer(["config", "set", "core.trust_password=sekret"]).clean();
    let fingerprint = daemon.api().get("/1.0")["environment"]["certificate_fingerprint"].as_str().unwrap().to_owned();
    let add = |daemon: &Daemon, more: &[&str]| elsewhere(daemon, &[&["remote", "add", "box", ADDRESS], more].concat());
    holds(&add(&daemon, &["--password=sekret"]).input("no\n").fails(), &["not done, as you chose"]);
    holds(&add(&daemon, &["--password=wrong", "--accept-certificate"]).fails(), &["does not fit"]);
    holds(
        &add(&daemon, &["--password=sekret"]).input(format!("{fingerprint}\n")).ok(),
        &[&format!("Certificate fingerprint: {fingerprint}")],
    );
    holds(&elsewhere(&daemon, &["image", "list", "box:"]).clean(), &["small"]);
    // Another server in its place has another key.
    daemon.stop();
    for file in ["server.crt", "server.key"] {
        std::fs::remove_file(daemon.state().join(file)).unwrap();
    }
    daemon.launch();
    holds(&elsewhere(&daemon, &["image", "list", "box:"]).fails(), &["has another certificate than the one it was added with"]);
    // A token that names the server's certificate is of no use with another one.
    let spoiled = token(&daemon, "x");
    daemon.stop();
    for file in ["server.crt", "server.key"] {
        std::fs::remove_file(daemon.state().join(file)).unwrap();
    }
    daemon.launch();
    holds(&elsewhere(&daemon, &["remote", "add", "y", &spoiled]).fails(), &["what arrived has fingerprint"]);
}

#[test]
fn images_are_copied_between_daemons() {
    let Some(daemon) = listening() else { return };
    let other = Daemon::start_beside(&daemon, Options::default());
    other.initialise_storage();
    let fingerprint = daemon.api().get("/1.0/images?recursion=1")[0]["fingerprint"].as_str().unwrap().to_owned();
    // The other daemon's user, in the same network.
    let run = |words: &[&str]| other.coffer(words);
    run(&["remote", "add", "box", &token(&daemon, "other")]).clean();
    // Private: opened by a secret that is good once.
    run(&["image", "copy", "box:small", "local:", "--alias", "pulled", "--auto-update"]).clean();
    let image = other.api().get(&format!("/1.0/images/{fingerprint}"));
    assert_eq!((&image["update_source"]["protocol"], &image["aliases"][0]["name"]), (&json!("lxd"), &json!("pulled")));
    assert!(std::fs::read(other.state().join("images").join(&fingerprint)).unwrap() == std::fs::read(images::busybox().unified).unwrap());
    other.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
    run(&["image", "copy", "box:small", "local:", "--mode=relay", "--alias", "relayed"]).clean();
    holds(&run(&["image", "list"]).clean(), &["relayed", &fingerprint[..12]]);
    other.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
    // A launch from another daemon's image.
    run(&["init", "box:small", "c1"]).clean();
    assert_eq!(other.api().get("/1.0/instances/c1")["config"]["volatile.base_image"], fingerprint.as_str());
    assert_eq!(other.api().get(&format!("/1.0/images/{fingerprint}"))["cached"], true);
    // Nobody can send to a daemon that does not listen.
    holds(&run(&["image", "copy", "box:small", "local:", "--mode=push"]).fails(), &["local", "core.https_address"]);
    holds(&run(&["image", "copy", "small", "local:"]).fails(), &["the image is there already"]);
}
