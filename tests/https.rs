//! The API over HTTPS: who is let in, how one becomes trusted, and what strangers see.

use coffer_testkit::{Daemon, Invocation, can_run};
use serde_json::{Value, json};

use crate::setting::{client_certificate, holds, ready_daemon, ready_for_genuine_client};

const ADDRESS: &str = "127.0.0.1:8443";

fn listen(daemon: &Daemon, address: &str) {
    daemon.api().expect("PATCH", "/1.0", Some(&json!({"config": {"core.https_address": address}})));
}

/// A request by somebody whose certificate nobody knows: curl with words of its own.
fn curl(daemon: &Daemon, words: &[&str]) -> Invocation {
    let always = ["--silent", "--insecure", "--max-time", "20"];
    daemon.inside("curl", always.iter().chain(words))
}

/// What a stranger gets: the answer's body.
#[track_caller]
fn stranger(daemon: &Daemon, path: &str, words: &[&str]) -> Value {
    let url = format!("https://{ADDRESS}{path}");
    let text = curl(daemon, &[words, &[&url]].concat()).ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

/// A client certificate that curl can show, as curl's words.
fn certificate(daemon: &Daemon, name: &str) -> Vec<String> {
    let (crt, key) = client_certificate(daemon, name);
    ["--cert", &crt, "--key", &key].map(str::to_owned).to_vec()
}

fn add_over_https(daemon: &Daemon, certificate: &[String], body: &Value) -> Value {
    let mut words: Vec<&str> = certificate.iter().map(String::as_str).collect();
    let text = body.to_string();
    words.extend(["-H", "Content-Type: application/json", "--data", &text]);
    stranger(daemon, "/1.0/certificates", &words)
}

#[test]
fn the_genuine_client_adds_us_with_a_token_and_works_over_https() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    listen(&daemon, ":8443");
    let token = daemon.lxc(["config", "trust", "add", "--name", "laptop", "--quiet"]).clean().trim().to_owned();
    holds(&daemon.lxc(["config", "trust", "list-tokens"]).clean(), &["laptop"]);
    daemon.lxc(["remote", "add", "box", ADDRESS, "--accept-certificate", &format!("--password={token}")]).ok();
    assert!(!daemon.lxc(["config", "trust", "list-tokens"]).clean().contains("laptop"));
    holds(&daemon.lxc(["config", "trust", "list"]).clean(), &["client", "laptop"]);
    daemon.lxc(["launch", "box:small", "box:c1"]).ok();
    holds(&daemon.lxc(["list", "box:"]).clean(), &["c1", "RUNNING"]);
    let done = daemon.lxc(["exec", "box:c1", "--", "sh", "-c", "cat; exit 7"]).input("over TLS").run();
    assert_eq!((done.code, done.text().as_str()), (7, "over TLS"), "{done}");
    let large = vec![b'x'; 3 << 20];
    let done = daemon.lxc(["exec", "box:c1", "--", "cat"]).input(large.clone()).run();
    assert!(done.stdout == large, "{} of {} bytes came back", done.stdout.len(), large.len());
    holds(&daemon.lxc(["info", "box:"]).clean(), &["auth: trusted", "10.99.7.1:8443", "certificate_fingerprint:"]);
    // The token is used up.
    daemon.lxc(["remote", "remove", "box"]).clean();
    let fingerprint = daemon.api().get("/1.0/certificates")[0].as_str().unwrap().to_owned();
    daemon.api().expect("DELETE", &fingerprint, None);
    daemon.lxc(["remote", "add", "box", ADDRESS, "--accept-certificate", &format!("--password={token}")]).fails();
}

#[test]
fn the_genuine_client_adds_us_with_the_trust_password() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.lxc(["config", "set", "core.https_address", ADDRESS]).clean();
    daemon.lxc(["config", "set", "core.trust_password", "sekret"]).clean();
    assert_eq!(daemon.lxc(["config", "get", "core.trust_password"]).clean().trim(), "true");
    let database = std::fs::read(daemon.state().join("database/coffer.db")).unwrap();
    let log = std::fs::read(daemon.state().join("database/coffer.db-wal")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&[database, log].concat()).contains("sekret"));
    daemon.lxc(["remote", "add", "box", ADDRESS, "--accept-certificate", "--password=wrong"]).fails();
    // A client that reads, edits and writes sends the word back that it read.
    daemon.lxc(["config", "set", "user.note", "x"]).clean();
    daemon.lxc(["remote", "add", "box", ADDRESS, "--accept-certificate", "--password=sekret"]).ok();
    holds(&daemon.lxc(["image", "list", "box:"]).clean(), &["small"]);
}

#[test]
fn strangers_see_public_images_and_nothing_else() {
    let Some(daemon) = ready_daemon() else { return };
    listen(&daemon, ADDRESS);
    let server = stranger(&daemon, "/1.0", &[]);
    assert_eq!(server["metadata"]["auth"], "untrusted");
    assert!(server["metadata"]["environment"].is_null() && server["metadata"]["config"].is_null());
    for path in ["/1.0/instances", "/1.0/certificates", "/1.0/operations", "/1.0/networks", "/1.0/projects", "/internal/ready"] {
        assert_eq!(stranger(&daemon, path, &[])["error_code"], 403, "{path}");
    }
    let fingerprint = daemon.api().get("/1.0/images?recursion=1")[0]["fingerprint"].as_str().unwrap().to_owned();
    let image = format!("/1.0/images/{fingerprint}");
    let hidden = ["/1.0/images/ffff", &image, "/1.0/images/%25", "/1.0/images/aliases/small", "/1.0/images/%25/export"];
    for path in hidden {
        assert_eq!(stranger(&daemon, path, &[])["error_code"], 404, "{path}");
    }
    assert_eq!(stranger(&daemon, "/1.0/images", &[])["metadata"], json!([]));
    assert_eq!(stranger(&daemon, "/1.0/images?project=nix", &[]), stranger(&daemon, "/1.0/images", &[]));
    daemon.api().expect("PATCH", &image, Some(&json!({"public": true})));
    assert_eq!(stranger(&daemon, "/1.0/images", &[])["metadata"], json!([image]));
    assert_eq!(stranger(&daemon, "/1.0/images/aliases/small", &[])["metadata"]["target"], fingerprint.as_str());
    let bytes = curl(&daemon, &[&format!("https://{ADDRESS}{image}/export")]).run().stdout;
    assert!(bytes == std::fs::read(coffer_testkit::images::busybox().unified).unwrap());
    assert_eq!(stranger(&daemon, &image, &["-X", "DELETE"])["error_code"], 403);
    // A page of another site that a browser shows a certificate for.
    assert_eq!(stranger(&daemon, "/1.0", &["-H", "Origin: https://evil.example"])["error_code"], 403);
}

#[test]
fn a_certificate_is_trusted_until_it_is_removed() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    listen(&daemon, ADDRESS);
    let certificate = certificate(&daemon, "laptop");
    let words: Vec<&str> = certificate.iter().map(String::as_str).collect();
    assert_eq!(stranger(&daemon, "/1.0", &words)["metadata"]["auth"], "untrusted");
    let operation = daemon.api().request("POST", "/1.0/certificates", Some(&json!({"name": "my laptop", "token": true}))).unwrap().json();
    let secret = &operation["metadata"]["metadata"]["secret"];
    let refused = add_over_https(&daemon, &certificate, &json!({"password": "0000"}));
    assert_eq!((&refused["error_code"], &refused["metadata"]), (&json!(403), &Value::Null));
    assert_eq!(add_over_https(&daemon, &certificate, &json!({"certificate": "AAAA", "password": secret}))["error_code"], 403);
    assert_eq!(add_over_https(&daemon, &[], &json!({"password": secret}))["error_code"], 400);
    assert_eq!(add_over_https(&daemon, &certificate, &json!({"trust_token": secret}))["type"], "sync");
    assert_eq!(stranger(&daemon, "/1.0", &words)["metadata"]["auth"], "trusted");
    let trusted = daemon.api().get("/1.0/certificates?recursion=1");
    assert_eq!((&trusted[0]["name"], &trusted[0]["type"]), (&json!("my laptop"), &json!("client")));
    let path = format!("/1.0/certificates/{}", trusted[0]["fingerprint"].as_str().unwrap());
    daemon.api().expect("PATCH", &path, Some(&json!({"name": "old laptop"})));
    assert_eq!(daemon.api().get(&path[..path.len() - 50])["name"], "old laptop");
    let other = json!({"name": "x", "certificate": "AAAA"});
    daemon.api().refused("PUT", &path, Some(&other), 400);
    daemon.api().refused("POST", "/1.0/certificates", Some(&json!({"certificate": trusted[0]["certificate"]})), 409);
    daemon.api().refused("POST", "/1.0/certificates", Some(&json!({"token": true, "name": "x", "restricted": true})), 501);
    daemon.api().expect("DELETE", &path, None);
    assert_eq!(stranger(&daemon, "/1.0", &words)["metadata"]["auth"], "untrusted");
    assert_eq!(add_over_https(&daemon, &certificate, &json!({"password": secret}))["error_code"], 403);
    let guesses: Vec<u64> = (0..12)
        .map(|guess| add_over_https(&daemon, &certificate, &json!({"password": format!("guess {guess}")})))
        .map(|answer| u64::from(answer["error"].as_str().is_some_and(|text| text.contains("too many failed attempts"))))
        .collect();
    assert_eq!((guesses[0], guesses[11]), (0, 1), "{guesses:?}");
}

#[test]
fn a_revoked_token_and_an_old_one_are_good_for_nothing() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let token = json!({"name": "laptop", "token": true});
    let error = daemon.api().refused("POST", "/1.0/certificates", Some(&token), 400);
    holds(&error, &["the server does not listen on the network", "core.https_address"]);
    listen(&daemon, ADDRESS);
    daemon.api().refused("PATCH", "/1.0", Some(&json!({"config": {"core.remote_token_expiry": "soon"}})), 400);
    let certificate = certificate(&daemon, "laptop");
    let make = || daemon.api().request("POST", "/1.0/certificates", Some(&token)).unwrap().json();
    let revoked = make();
    daemon.api().expect("DELETE", revoked["operation"].as_str().unwrap(), None);
    daemon.api().expect("PATCH", "/1.0", Some(&json!({"config": {"core.remote_token_expiry": "1S"}})));
    let old = make();
    let end = daemon.api().get(&format!("{}/wait?timeout=20", old["operation"].as_str().unwrap()));
    assert_eq!((&end["status"], &end["err"]), (&json!("Failure"), &json!("the token is too old")));
    for token in [revoked, old] {
        let secret = &token["metadata"]["metadata"]["secret"];
        assert_eq!(secret.as_str().unwrap().len(), 64);
        assert_eq!(add_over_https(&daemon, &certificate, &json!({"password": secret}))["error_code"], 403);
    }
}

#[test]
fn the_address_moves_while_the_daemon_runs() {
    if !can_run() {
        return;
    }
    let mut daemon = Daemon::start();
    let answers = |daemon: &Daemon, address: &str| curl(daemon, &[&format!("https://{address}/1.0")]).run().code == 0;
    listen(&daemon, ":8443");
    assert!(answers(&daemon, ADDRESS) && answers(&daemon, "[::1]:8443"));
    // The same port, where our own listener is in the way.
    listen(&daemon, ADDRESS);
    assert!(answers(&daemon, ADDRESS) && !answers(&daemon, "[::1]:8443"));
    for (address, why) in
        [("127.0.0.1:x", "is no address"), ("192.0.2.1:8443", "listening on 192.0.2.1:8443"), ("localhost", "is no address")]
    {
        let error = daemon.api().refused("PATCH", "/1.0", Some(&json!({"config": {"core.https_address": address}})), 400);
        holds(&error, &["core.https_address", why]);
        assert!(answers(&daemon, ADDRESS), "after {address}");
    }
    let config = json!({"config": {"core.https_address": "127.0.0.1:9443", "no.such": "key"}});
    daemon.api().refused("PATCH", "/1.0", Some(&config), 400);
    assert!(answers(&daemon, ADDRESS) && !answers(&daemon, "127.0.0.1:9443"));
    let before = daemon.api().get("/1.0")["environment"]["certificate_fingerprint"].clone();
    daemon.restart();
    assert!(answers(&daemon, ADDRESS));
    assert_eq!(daemon.api().get("/1.0")["environment"]["certificate_fingerprint"], before);
    assert_eq!(daemon.api().get("/1.0")["environment"]["addresses"], json!([ADDRESS]));
    let key = std::fs::metadata(daemon.state().join("server.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    listen(&daemon, "");
    assert!(!answers(&daemon, ADDRESS));
    assert_eq!(daemon.api().get("/1.0")["environment"]["addresses"], json!([]));
}

#[test]
fn only_tls_1_3_is_spoken_and_silent_peers_keep_nobody_out() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    listen(&daemon, ADDRESS);
    let old = curl(&daemon, &["--tls-max", "1.2", &format!("https://{ADDRESS}/1.0")]).run();
    assert_eq!(old.code, 35, "curl's code for a failed handshake: {old}");
    let silent: Vec<_> = daemon.pen().in_network(|| (0..500).map(|_| std::net::TcpStream::connect(ADDRESS).unwrap()).collect());
    assert_eq!(stranger(&daemon, "/1.0", &[])["metadata"]["auth"], "untrusted");
    let refused = curl(&daemon, &[&format!("http://{ADDRESS}/1.0")]).run();
    assert_ne!(refused.code, 0, "{refused}");
    drop(silent);
}

#[test]
fn restricted_certificates_are_refused_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    for restricting in [json!({"restricted": true}), json!({"projects": ["default"]}), json!({"restricted": true, "projects": ["default"]})]
    {
        let mut body = json!({"name": "narrow", "type": "client", "token": true});
        body.as_object_mut().unwrap().extend(restricting.as_object().unwrap().clone());
        let error = daemon.api().refused("POST", "/1.0/certificates", Some(&body), 501);
        assert!(error.contains("restricted certificates are not supported yet"), "{error}");
    }
    let operations = daemon.api().get("/1.0/operations?recursion=1");
    assert_eq!(operations["running"], Value::Null, "a token was made nevertheless");
}
