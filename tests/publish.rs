//! Trees of images that this project publishes: read by its own client and daemon and by the genuine ones, signed, checked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use coffer_testkit::{Authority, Daemon, Invocation, Options, can_run, has_genuine_client, images};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

/// A tree being served by `coffer image serve`.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    #[track_caller]
    fn start(daemon: &Daemon, tree: &Path, options: &[&str]) -> Self {
        let tree = tree.display().to_string();
        let words = [&["image", "serve", &tree, "--listen", "127.0.0.1:0"], options].concat();
        let mut child = daemon.coffer(words).into_command().stdout(Stdio::piped()).spawn().expect("the command");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its first line");
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        assert!(url.starts_with("http"), "{line}");
        Self { child, url }
    }

    fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Sends a request as it is and returns the whole answer.
    #[track_caller]
    fn raw(&self, daemon: &Daemon, request: &str) -> String {
        let port = self.port();
        let mut stream = daemon.pen().in_network(|| TcpStream::connect(("127.0.0.1", port))).expect("a connection");
        stream.write_all(format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds busybox, split and in one file; returns the fingerprints.
#[track_caller]
fn add_busybox(daemon: &Daemon, tree: &Path) -> (String, String) {
    std::fs::create_dir_all(tree).expect("a directory for the tree");
    let (tree, image) = (tree.display().to_string(), images::busybox());
    let (metadata, squashfs) = (image.metadata.display().to_string(), image.squashfs.expect("mksquashfs").display().to_string());
    let add = |words: &[&str]| {
        let said = daemon.coffer([&["simplestreams", "add", &tree], words].concat()).clean();
        said.trim().rsplit(' ').next().expect("a fingerprint").to_owned()
    };
    let split = add(&[&metadata, &squashfs, "--alias", "small"]);
    let unified = add(&[&image.unified.display().to_string()]);
    (split, unified)
}

fn tree_of(daemon: &Daemon) -> PathBuf {
    daemon.scratch().join("tree")
}

fn list(daemon: &Daemon, tree: &Path) -> Vec<Value> {
    let text = daemon.coffer(["simplestreams", "list", &tree.display().to_string(), "--format=json"]).clean();
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn our_client_and_daemon_read_what_we_publish() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.api().expect("DELETE", daemon.api().get("/1.0/images")[0].as_str().expect("an image"), None);
    let tree = tree_of(&daemon);
    let (split, unified) = add_busybox(&daemon, &tree);
    holds(&daemon.coffer(["simplestreams", "verify", &tree.display().to_string()]).clean(), &["as they should be: 2, not signed"]);
    let listed = list(&daemon, &tree);
    let found: Vec<&str> = listed.iter().filter_map(|image| image["fingerprint"].as_str()).collect();
    assert!(found.contains(&split.as_str()) && found.contains(&unified.as_str()), "{listed:?}");
    let served = Served::start(&daemon, &tree, &[]);
    daemon.coffer(["remote", "add", "pub", &served.url, "--protocol=simplestreams"]).clean();
    let shown = daemon.coffer(["image", "list", "pub:", "--format=csv", "-c", "lFa"]).clean();
    assert_eq!(shown.lines().count(), 2, "each image once:\n{shown}");
    holds(&shown, &[&split, &unified, "x86_64", "small"]);
    for (name, fingerprint) in [("c1", &split), ("c2", &unified)] {
        daemon.coffer(["launch", &format!("pub:{fingerprint}"), name]).ok();
        assert_eq!(daemon.api().get(&format!("/1.0/instances/{name}"))["config"]["volatile.base_image"], fingerprint.as_str());
    }
    daemon.coffer(["launch", "pub:small", "c3"]).ok();
    holds(&daemon.coffer(["list", "--format=csv", "-c", "ns"]).clean(), &["c1,RUNNING", "c2,RUNNING", "c3,RUNNING"]);
}

#[test]
fn the_genuine_client_reads_and_launches_what_we_publish() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let mut daemon = Daemon::prepare(Options::default());
    let authority = Authority::new(&daemon.scratch());
    daemon.set_env("SSL_CERT_FILE", &authority.file());
    daemon.launch();
    daemon.initialise("dir");
    let tree = tree_of(&daemon);
    let (split, unified) = add_busybox(&daemon, &tree);
    let (certificate, key) = authority.files("localhost");
    let served = Served::start(&daemon, &tree, &["--certificate", &certificate, "--key-file", &key]);
    let lxc = |words: &[&str]| -> Invocation { daemon.lxc(words).env("SSL_CERT_FILE", &authority.file()) };
    let url = format!("https://localhost:{}", served.port());
    lxc(&["remote", "add", "pub", &url, "--protocol=simplestreams"]).ok();
    let shown = lxc(&["image", "list", "pub:", "--format=csv", "-c", "lFa"]).ok();
    holds(&shown, &[&split, &unified, "x86_64", "small"]);
    lxc(&["launch", "pub:small", "c1"]).ok();
    lxc(&["init", &format!("pub:{}", &unified[..12]), "c2"]).ok();
    holds(&lxc(&["exec", "c1", "--", "echo", "alive"]).ok(), &["alive"]);
    let served_by = daemon.api().get("/1.0/instances/c2")["config"]["volatile.base_image"].clone();
    assert_eq!(served_by, unified.as_str());
}

#[test]
fn versions_come_and_go_and_the_lists_stay_right() {
    let Some(daemon) = ready_daemon() else { return };
    let tree = tree_of(&daemon);
    let (split, unified) = add_busybox(&daemon, &tree);
    let path = tree.display().to_string();
    let image = images::busybox();
    let again = daemon.coffer(["simplestreams", "add", &path, &image.unified.display().to_string()]).fails();
    holds(&again, &["in the tree already", &unified]);
    for number in ["1", "2"] {
        let other = images::spoiled(&format!("published {number}"), |root| std::fs::write(root.join("number"), number));
        daemon.coffer(["simplestreams", "add", &path, &other.unified.display().to_string()]).clean();
    }
    assert_eq!(list(&daemon, &tree).len(), 4, "all of one product");
    let product = list(&daemon, &tree)[0]["product"].as_str().expect("a product").to_owned();
    let other = images::spoiled("another product", |root| std::fs::write(root.join("number"), "3"));
    let taken = daemon.coffer(["simplestreams", "add", &path, &other.unified.display().to_string(), "--alias", "../x"]).fails();
    holds(&taken, &["can't be an alias"]);
    daemon.coffer(["simplestreams", "remove", &path, &split[..12]]).clean();
    assert!(!list(&daemon, &tree).iter().any(|image| image["fingerprint"] == split.as_str()));
    std::fs::write(tree.join("images/stranger"), "x").expect("a stranger");
    holds(&daemon.coffer(["simplestreams", "verify", &path]).run().stderr, &["no list names images/stranger"]);
    daemon.coffer(["simplestreams", "prune", &path, "--keep=1"]).clean();
    let left = list(&daemon, &tree);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["product"], product.as_str());
    assert!(!tree.join("images/stranger").exists());
    daemon.coffer(["simplestreams", "verify", &path]).clean();
    holds(&daemon.coffer(["simplestreams", "remove", &path, "ffff"]).fails(), &["has no image ffff"]);
    // What is damaged is found and named.
    let file = std::fs::read_dir(tree.join("images")).expect("images").count();
    assert_eq!(file, 1);
    let damaged = find(&tree.join("images"));
    let mut bytes = std::fs::read(&damaged).expect("an image");
    bytes[100] ^= 1;
    std::fs::write(&damaged, bytes).expect("a damaged image");
    holds(&daemon.coffer(["simplestreams", "verify", &path]).fails(), &["has hash", &product]);
}

/// The first file below a directory.
fn find(directory: &Path) -> PathBuf {
    let entry = std::fs::read_dir(directory).expect("a directory").next().expect("something in it").expect("an entry").path();
    if entry.is_dir() { find(&entry) } else { entry }
}

#[test]
fn nothing_beside_the_tree_is_handed_out() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let tree = tree_of(&daemon);
    add_busybox(&daemon, &tree);
    std::fs::write(daemon.scratch().join("secret"), "top secret").expect("a file beside the tree");
    std::os::unix::fs::symlink(daemon.scratch().join("secret"), tree.join("link")).expect("a link out of the tree");
    std::os::unix::fs::symlink("/", tree.join("root")).expect("a link out of the tree");
    std::fs::write(tree.join(".hidden"), "top secret").expect("a hidden file");
    std::fs::write(tree.join("key"), "top secret").expect("a key");
    std::fs::set_permissions(tree.join("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    let served = Served::start(&daemon, &tree, &[]);
    let paths = [
        "/../secret",
        "/%2e%2e/secret",
        "/streams/../../secret",
        "/link",
        "/root/etc/passwd",
        "/.hidden",
        "/key",
        "//secret",
        "/",
        "/streams",
        "/streams/v1/index.json/",
        "/images/..%2f..%2fsecret",
        "/streams/v1/%00",
        "http://x/../secret",
    ];
    for path in paths {
        let answer = served.raw(&daemon, &format!("GET {path} HTTP/1.1"));
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(!answer.contains("secret") && !answer.contains("root:"), "{path}: {answer}");
    }
    let whole = served.raw(&daemon, "GET /streams/v1/index.json HTTP/1.1");
    assert!(whole.starts_with("HTTP/1.1 200") && whole.contains("image-downloads"), "{whole}");
    let tag = whole.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    let known = served.raw(&daemon, &format!("GET /streams/v1/index.json HTTP/1.1\r\nIf-None-Match: {tag}"));
    assert!(known.starts_with("HTTP/1.1 304"), "{known}");
    let body = whole.split("\r\n\r\n").nth(1).expect("a body");
    let part = served.raw(&daemon, "GET /streams/v1/index.json HTTP/1.1\r\nRange: bytes=5-9");
    assert!(part.starts_with("HTTP/1.1 206") && part.ends_with(&body[5..10]), "{part}");
    holds(&part, &[&format!("content-range: bytes 5-9/{}", body.len())]);
    assert!(served.raw(&daemon, "GET /streams/v1/index.json HTTP/1.1\r\nRange: bytes=999999-").starts_with("HTTP/1.1 416"));
    assert!(served.raw(&daemon, "POST /streams/v1/index.json HTTP/1.1").starts_with("HTTP/1.1 405"));
    let head = served.raw(&daemon, "HEAD /streams/v1/index.json HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let clear = daemon.coffer(["image", "serve", &tree.display().to_string(), "--listen", "0.0.0.0:0"]).fails();
    holds(&clear, &["0.0.0.0:0 is not a loopback address"]);
}

#[test]
fn signed_lists_are_believed_by_their_key_alone() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.api().expect("DELETE", daemon.api().get("/1.0/images")[0].as_str().expect("an image"), None);
    let tree = tree_of(&daemon);
    add_busybox(&daemon, &tree);
    let (path, key) = (tree.display().to_string(), daemon.scratch().join("own.key").display().to_string());
    let served = Served::start(&daemon, &tree, &[]);
    let refused = |alias: &str| {
        let source = json!({"type": "image", "mode": "pull", "protocol": "simplestreams", "server": served.url, "alias": alias});
        let answer = daemon.api().request("POST", "/1.0/images", Some(&json!({ "source": source }))).expect("an answer").json();
        let operation = answer["operation"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        daemon.api().get(&format!("{operation}/wait?timeout=60"))["err"].as_str().unwrap_or_default().to_owned()
    };
    holds(&daemon.coffer(["config", "set", "images.require_signature=true"]).fails(), &["set images.trusted_keys too"]);
    holds(&daemon.coffer(["config", "set", "images.trusted_keys=nonsense"]).fails(), &["images.trusted_keys", "nonsense"]);
    let other = daemon.scratch().join("other");
    std::fs::create_dir(&other).expect("another tree");
    let stranger = daemon.coffer(["simplestreams", "sign", &other.display().to_string(), "--key", &format!("{key}.other")]).clean();
    daemon.coffer(["config", "set", &format!("images.trusted_keys={}", stranger.trim()), "images.require_signature=true"]).clean();
    holds(&refused("small"), &["index.json is not signed, and only signed lists are accepted here"]);
    let own = daemon.coffer(["simplestreams", "sign", &path, "--key", &key]).clean().trim().to_owned();
    holds(&daemon.coffer(["simplestreams", "verify", &path, "--signed-by", &own]).clean(), &[&format!("signed by {own}")]);
    holds(&refused("small"), &["is signed by key", &own, "not one that is trusted here"]);
    daemon.coffer(["config", "set", &format!("images.trusted_keys={},{own}", stranger.trim())]).clean();
    assert_eq!(refused("small"), "");
    // A daemon that signs nothing is no source now.
    let source = json!({"type": "image", "mode": "pull", "protocol": "lxd", "server": "https://127.0.0.1:1", "alias": "x"});
    let text = daemon.api().refused("POST", "/1.0/images", Some(&json!({ "source": source })), 403);
    holds(&text, &["signs nothing (its protocol is lxd)"]);
    // A signed tree is not changed without its key, and a changed list is noticed.
    let image = images::spoiled("published 1", |root| std::fs::write(root.join("number"), "1"));
    let add = |more: &[&str]| daemon.coffer([&["simplestreams", "add", &path, &image.unified.display().to_string()], more].concat());
    holds(&add(&[]).fails(), &["is signed: give the key with --key"]);
    add(&["--key", &key]).clean();
    daemon.coffer(["simplestreams", "verify", &path, "--signed-by", &own]).clean();
    let file = tree.join("streams/v1/images.json");
    let text = std::fs::read_to_string(&file).expect("the list").replace("amd64", "arm64");
    std::fs::write(&file, text).expect("a forged list");
    holds(&refused("small"), &["images.json does not fit its signature by key", &own]);
    holds(&daemon.coffer(["simplestreams", "verify", &path]).fails(), &["images.json does not fit its signature"]);
}
