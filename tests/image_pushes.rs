//! Images that one daemon sends to another: at our client's word, at the genuine one's, and between us and genuine LXD.

use coffer_testkit::{Daemon, Options, can_run, has_genuine_client, has_genuine_lxd, images};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

const HERE: &str = "127.0.0.1:8443";
const THERE: &str = "127.0.0.1:8444";

/// Two daemons in one network, each listening; the second knows the first as `box`, whose image `small` it does not have.
fn two_daemons() -> Option<(Daemon, Daemon)> {
    let daemon = ready_daemon()?;
    daemon.coffer(["config", "set", "core.https_address", HERE]).clean();
    let other = Daemon::start_beside(&daemon, Options::default());
    other.initialise_storage();
    other.coffer(["config", "set", "core.https_address", THERE]).clean();
    let token = daemon.coffer(["config", "trust", "add", "--name", "other", "--quiet"]).clean();
    other.coffer(["remote", "add", "box", token.trim()]).clean();
    Some((daemon, other))
}

/// The fingerprint of a daemon's only image.
#[track_caller]
fn only_image(daemon: &Daemon) -> String {
    let list = daemon.api().get("/1.0/images?recursion=1");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    list[0]["fingerprint"].as_str().unwrap_or_default().to_owned()
}

fn files(daemon: &Daemon) -> usize {
    std::fs::read_dir(daemon.state_seen().join("images")).map_or(0, Iterator::count)
}

#[test]
fn the_source_sends_an_image_to_who_expects_it() {
    let Some((daemon, other)) = two_daemons() else { return };
    let unified = only_image(&daemon);
    let before = other.world();
    other.coffer(["image", "copy", "box:small", "local:", "--mode=push", "--alias=sent", "--copy-aliases", "--public"]).clean();
    let image = other.api().get(&format!("/1.0/images/{unified}"));
    assert_eq!((&image["public"], &image["cached"], &image["properties"]["os"]), (&json!(true), &json!(false), &json!("busybox")));
    assert_eq!(image["aliases"].as_array().map(Vec::len), Some(2), "{image}");
    assert!(image["origin"]["asked_by"].is_string(), "{image}");
    other.run_instance("sent", "c1");
    other.coffer(["delete", "--force", "c1"]).ok();
    // What is there is not sent again, and the announcement leaves no door open.
    let again = other.coffer(["image", "copy", "box:small", "local:", "--mode=push"]).fails();
    holds(&again, &["image", "already exists"]);
    other.api().expect("DELETE", &format!("/1.0/images/{unified}"), None);
    other.expect_nothing_since(&before);
    // One in two files.
    daemon.api().expect("DELETE", &format!("/1.0/images/{unified}"), None);
    let image = images::busybox();
    let squashfs = image.squashfs.as_ref().expect("mksquashfs is among the test packages");
    daemon.coffer(["image", "import", &image.metadata.display().to_string(), &squashfs.display().to_string(), "--alias", "two"]).clean();
    other.coffer(["image", "copy", "box:two", "local:", "--mode=push", "--alias=two"]).clean();
    assert_eq!(only_image(&other), only_image(&daemon));
    other.run_instance("two", "c1");
    // A server that expects nothing says so, and the user reads it.
    let export = json!({"target": format!("https://{THERE}"), "secret": "nonsense", "certificate": certificate(&other)});
    let error = failing(&daemon, &format!("/1.0/images/{}/export", only_image(&daemon)), &export);
    holds(&error, &[THERE, "did not take the image", "not authorized"]);
    let nobody = json!({"target": "https://127.0.0.1:1", "secret": "x"});
    holds(&failing(&daemon, &format!("/1.0/images/{}/export", only_image(&daemon)), &nobody), &["connecting to 127.0.0.1:1"]);
    daemon.api().refused("POST", "/1.0/images/ffff/export", Some(&nobody), 404);
    let no_address = json!({"target": "nowhere", "secret": "x"});
    holds(&daemon.api().refused("POST", &format!("/1.0/images/{}/export", only_image(&daemon)), Some(&no_address), 400), &["nowhere"]);
}

fn certificate(daemon: &Daemon) -> Value {
    daemon.api().get("/1.0")["environment"]["certificate"].clone()
}

/// Sends a request whose operation must fail, and returns why.
#[track_caller]
fn failing(daemon: &Daemon, path: &str, body: &Value) -> String {
    let answer = daemon.api().request("POST", path, Some(body)).expect("an answer").json();
    let operation = answer["operation"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let end = daemon.api().get(&format!("{operation}/wait?timeout=60"));
    assert_eq!(end["status"], "Failure", "{end}");
    end["err"].as_str().unwrap_or_default().to_owned()
}

/// What a stranger gets who uploads a file with these headers.
#[track_caller]
fn stranger(daemon: &Daemon, path: &str, file: &str, headers: &[&str]) -> Value {
    let url = format!("https://{THERE}{path}");
    let mut words =
        vec!["--silent", "--insecure", "--max-time", "20", "--data-binary", file, "-H", "Content-Type: application/octet-stream"];
    headers.iter().for_each(|header| words.extend(["-H", header]));
    words.push(&url);
    let text = daemon.inside("curl", words).ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_secret_lets_one_image_in_once() {
    let Some((daemon, other)) = two_daemons() else { return };
    let fingerprint = only_image(&daemon);
    let announce = |fingerprint: &str| {
        let body = json!({"source": {"type": "image", "mode": "push", "fingerprint": fingerprint}, "properties": {"via": "push"}});
        let answer = other.api().request("POST", "/1.0/images", Some(&body)).expect("an answer").json();
        answer["metadata"]["metadata"]["secret"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let image = format!("@{}", images::busybox().unified.display());
    let header = |name: &str, value: &str| format!("X-LXD-{name}: {value}");
    let its = header("fingerprint", &fingerprint);
    let before = other.world();
    let refused = |headers: &[&str], file: &str, code: u16| {
        let answer = stranger(&other, "/1.0/images", file, headers);
        assert_eq!(answer["error_code"], code, "{headers:?}: {answer}");
        assert_eq!((other.api().get("/1.0/images"), files(&other)), (json!([]), 0), "{headers:?}");
    };
    refused(&[], &image, 403);
    refused(&[&its], &image, 403);
    refused(&[&its, &header("secret", "nonsense")], &image, 403);
    // It opens the door for no other image, and lets nothing in but this one's bytes.
    let secret = announce(&fingerprint);
    refused(&[&header("fingerprint", &"0".repeat(64)), &header("secret", &secret)], &image, 403);
    let elsewhere = stranger(&other, "/1.0/images?project=nowhere", &image, &[&its, &header("secret", &secret)]);
    assert_eq!(elsewhere["error_code"], 403, "{elsewhere}");
    refused(
        &[&its, &header("secret", &secret)],
        "{\"source\":{\"type\":\"image\",\"mode\":\"pull\",\"server\":\"http://127.0.0.1:1\",\"alias\":\"x\"}}",
        400,
    );
    // Used up by the attempt.
    refused(&[&its, &header("secret", &secret)], &image, 403);
    // What opens a private image for a download lets nothing in, and the other way round.
    let download = daemon.api().request("POST", &format!("/1.0/images/{fingerprint}/secret"), None).expect("an answer").json();
    let download = download["metadata"]["metadata"]["secret"].as_str().unwrap_or_else(|| panic!("{download}")).to_owned();
    refused(&[&its, &header("secret", &download)], &image, 403);
    // With the secret of the image's own operation its sender may wait for it, and see nothing else.
    let secret = announce(&fingerprint);
    let begun = stranger(
        &other,
        "/1.0/images",
        &image,
        &[&its, &header("secret", &secret), &header("public", "1"), &header("filename", "x.tar.xz")],
    );
    let (operation, wait) = (begun["operation"].as_str().unwrap_or_default(), &begun["metadata"]["metadata"]["secret"]);
    let path = format!("https://{THERE}{operation}/wait?secret={}", wait.as_str().unwrap_or_else(|| panic!("{begun}")));
    let end = other.inside("curl", ["--silent", "--insecure", &path]).ok();
    holds(&end, &["\"status\":\"Success\"", &fingerprint]);
    let image = other.api().get(&format!("/1.0/images/{fingerprint}"));
    assert_eq!((&image["public"], &image["properties"]["via"]), (&json!(false), &json!("push")));
    other.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
    other.expect_nothing_since(&before);
}

#[test]
fn the_genuine_client_has_one_daemon_send_to_another() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let Some((daemon, other)) = two_daemons() else { return };
    let fingerprint = only_image(&daemon);
    let lxc = |words: &[&str]| other.lxc(words);
    for (name, of) in [("box", &daemon), ("target", &other)] {
        let token = of.coffer(["config", "trust", "add", "--name", name, "--quiet"]).clean();
        lxc(&["remote", "add", name, token.trim()]).ok();
    }
    for mode in ["push", "relay", "pull"] {
        lxc(&["image", "copy", "box:small", "target:", "--mode", mode, "--alias", mode, "--copy-aliases"]).ok();
        holds(&lxc(&["image", "list", "target:"]).clean(), &[&fingerprint[..12]]);
        other.run_instance(mode, "c1");
        other.coffer(["delete", "--force", "c1"]).ok();
        other.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
    }
}

#[test]
fn images_go_between_us_and_genuine_lxd_in_every_way() {
    if !can_run() || !has_genuine_client() || !has_genuine_lxd() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["config", "set", "core.https_address", HERE]).clean();
    let fingerprint = only_image(&daemon);
    let lxd = Daemon::start_genuine_lxd_beside(&daemon);
    lxd.lxc(["config", "set", "core.https_address", THERE]).ok();
    lxd.lxc(["config", "set", "core.trust_password", "open"]).ok();
    let token = daemon.coffer(["config", "trust", "add", "--name", "genuine", "--quiet"]).clean();
    let lxc = |words: &[&str]| daemon.lxc(words);
    lxc(&["remote", "add", "ours", token.trim()]).ok();
    lxc(&["remote", "add", "theirs", THERE, "--accept-certificate", "--password", "open"]).ok();
    for mode in ["pull", "push", "relay"] {
        lxc(&["image", "copy", "ours:small", "theirs:", "--mode", mode, "--alias", "small"]).ok();
        holds(&lxc(&["image", "list", "theirs:"]).clean(), &[&fingerprint[..12]]);
        daemon.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
        lxc(&["image", "copy", "theirs:small", "ours:", "--mode", mode, "--alias", "small"]).ok();
        assert_eq!(only_image(&daemon), fingerprint, "{mode}");
        daemon.run_instance("small", "c1");
        daemon.coffer(["delete", "--force", "c1"]).ok();
        lxc(&["image", "delete", "theirs:small"]).ok();
    }
}
