//! Images from simplestreams servers: resolved and fetched by the daemon, refused when a byte is wrong, followed when they move on.

use coffer_test_images::Image;
use coffer_testkit::{Authority, Daemon, ImageServer, Offer, Options, has_genuine_client, images};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

/// A daemon without images, and a server that offers busybox.
fn daemon_and_server() -> Option<(Daemon, ImageServer, String)> {
    let daemon = ready_daemon()?;
    daemon.api().expect("DELETE", daemon.api().get("/1.0/images")[0].as_str()?, None);
    let server = ImageServer::start(daemon.pen());
    let offered = server.offer(&images::busybox(), Offer::default());
    Some((daemon, server, offered))
}

/// Busybox with a file that says which version it is.
fn version(number: &str) -> Image {
    images::spoiled(&format!("version {number}"), |root| std::fs::write(root.join("version"), number))
}

fn create(server: &ImageServer, name: &str, image: &str) -> Value {
    let source = json!({"type": "image", "mode": "pull", "protocol": "simplestreams", "server": server.url(), "alias": image});
    json!({"name": name, "type": "container", "source": source})
}

fn copy(server: &ImageServer, image: &str) -> Value {
    json!({"source": {"type": "image", "mode": "pull", "protocol": "simplestreams", "server": server.url(), "alias": image}})
}

/// Sends a request whose operation must fail, and returns why.
#[track_caller]
pub fn operation_fails(daemon: &Daemon, path: &str, body: &Value) -> String {
    let answer = daemon.api().request("POST", path, Some(body)).expect("an answer").json();
    let operation = answer["operation"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let end = daemon.api().get(&format!("{operation}/wait?timeout=60"));
    assert_eq!(end["status"], "Failure", "{end}");
    end["err"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_instance_is_launched_from_an_alias_and_the_image_is_kept() {
    let Some((daemon, server, offered)) = daemon_and_server() else { return };
    let created = daemon.api().expect("POST", "/1.0/instances", Some(&create(&server, "c1", "busybox")));
    assert!(created["metadata"]["download_progress"].as_str().is_some_and(|text| text.starts_with("100%")), "{created}");
    daemon.change_state("c1", "start");
    let config = daemon.api().get("/1.0/instances/c1")["config"].clone();
    assert_eq!((&config["image.os"], &config["image.serial"]), (&json!("Busybox"), &json!("20261101_0000")));
    assert_eq!(config["volatile.base_image"], offered.as_str());
    let image = daemon.api().get(&format!("/1.0/images/{offered}"));
    assert_eq!((&image["cached"], &image["auto_update"], &image["public"]), (&json!(true), &json!(true), &json!(false)));
    assert_eq!(image["update_source"]["alias"], "busybox");
    assert_eq!(image["update_source"]["server"], server.url());
    assert_eq!((&image["origin"]["asked_by"], &image["origin"]["protocol"]), (&json!("root (unix)"), &json!("simplestreams")));
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.agent.starts_with("Coffer/")), "{requests:?}");
    // It is here and kept up to date: nobody is asked again.
    daemon.api().expect("POST", "/1.0/instances", Some(&create(&server, "c2", "busybox")));
    assert_eq!(server.requests().len(), requests.len());
    assert_eq!(daemon.api().get("/1.0/images").as_array().unwrap().len(), 1);
    // What is copied on purpose is not only cached any more.
    let mut body = copy(&server, "busybox");
    body["aliases"] = json!([{"name": "bb", "description": "mine"}]);
    let done = daemon.api().expect("POST", "/1.0/images", Some(&body));
    assert_eq!(done["metadata"]["fingerprint"], offered.as_str());
    let image = daemon.api().get(&format!("/1.0/images/{offered}"));
    assert_eq!((&image["cached"], &image["aliases"][0]["name"]), (&json!(false), &json!("bb")));
}

#[test]
fn names_mean_what_they_mean_on_image_servers() {
    let Some((daemon, server, offered)) = daemon_and_server() else { return };
    server.offer(&version("old"), Offer { serial: "20261001_0000", ..Offer::default() });
    let unified = server.offer(
        &images::busybox(),
        Offer { product: "whole:1:amd64", aliases: "whole", vendor: "incus", kind: "combined", ..Offer::default() },
    );
    server.offer(&version("arm"), Offer { product: "busybox:1:arm64", ..Offer::default() });
    server.edit("busybox:1:arm64", |product| product["arch"] = json!("arm64"));
    for (name, fingerprint) in [("busybox/1", &offered), ("busybox/amd64", &offered), (&offered[..12], &offered), ("whole", &unified)] {
        daemon.api().expect("POST", "/1.0/instances", Some(&create(&server, "c1", name)));
        assert_eq!(daemon.api().get("/1.0/instances/c1")["config"]["volatile.base_image"], fingerprint.as_str(), "{name}");
        daemon.api().expect("DELETE", "/1.0/instances/c1", None);
    }
    for name in ["nothing", "busybox/riscv64", "../busybox", "ffff"] {
        let error = operation_fails(&daemon, "/1.0/instances", &create(&server, "c1", name));
        holds(&error, &["has no image", name, "x86_64", &server.url()]);
        assert_eq!(daemon.api().get("/1.0/instances"), json!([]), "{name}");
    }
    let error = daemon.api().refused("POST", "/1.0/instances", Some(&create(&server, "1bad", "busybox")), 400);
    holds(&error, &["invalid instance name"]);
    let mut missing = create(&server, "c1", "busybox");
    missing["profiles"] = json!(["nix"]);
    let asked = server.requests().len();
    daemon.api().refused("POST", "/1.0/instances", Some(&missing), 404);
    assert_eq!(server.requests().len(), asked, "the server was asked before the request was looked at");
}

#[test]
fn a_download_that_breaks_goes_on_where_it_was() {
    let Some((daemon, server, offered)) = daemon_and_server() else { return };
    server.cut_once("root.squashfs", 100_000);
    let done = daemon.api().expect("POST", "/1.0/images", Some(&copy(&server, "busybox")));
    assert_eq!(done["metadata"]["fingerprint"], offered.as_str());
    let pieces: Vec<_> = server.requests().into_iter().filter(|request| request.path.ends_with("root.squashfs")).collect();
    assert_eq!(pieces.iter().map(|piece| piece.status).collect::<Vec<_>>(), [200, 206]);
    assert!(pieces[1].from > 0 && pieces[1].from <= 100_000, "{pieces:?}");
    // A server without ranges begins anew; what came twice is taken once.
    daemon.api().expect("DELETE", &format!("/1.0/images/{offered}"), None);
    server.forget_ranges();
    server.cut_once("root.squashfs", 100_000);
    daemon.api().expect("POST", "/1.0/images", Some(&copy(&server, "busybox")));
    daemon.run_instance_of(&offered, "c1");
}

#[test]
fn what_is_wrong_is_refused_and_leaves_nothing() {
    let Some((daemon, server, _)) = daemon_and_server() else { return };
    let nothing = |what: &str| {
        assert_eq!(daemon.api().get("/1.0/images"), json!([]), "{what}");
        let files: Vec<_> = std::fs::read_dir(daemon.state_seen().join("images")).unwrap().collect();
        assert!(files.is_empty(), "{what}: {files:?}");
    };
    let item = |product: &mut Value, name: &str, key: &str, value: Value| product["versions"]["20261101_0000"]["items"][name][key] = value;
    server.damage("root.squashfs");
    let error = operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox"));
    holds(&error, &["root.squashfs has hash", "damaged or replaced on the way"]);
    nothing("a flipped bit");
    // The files' own hashes are right, but they do not belong together.
    server.offer(&images::busybox(), Offer::default());
    let wrong = "ab".repeat(32);
    server.edit("busybox:1:amd64", |product| item(product, "lxd.tar.xz", "combined_squashfs_sha256", json!(wrong)));
    holds(&operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox")), &["abababababab", "has hash"]);
    nothing("a wrong combined hash");
    server.offer(&images::busybox(), Offer::default());
    server.edit("busybox:1:amd64", |product| item(product, "root.squashfs", "size", json!(1000)));
    holds(&operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox")), &["not the 1000 that the server announced"]);
    nothing("more bytes than announced");
    for path in ["../../secret", "/etc/passwd", "http://127.0.0.1:1/x", "a/%2e%2e/b"] {
        server.offer(&images::busybox(), Offer::default());
        server.edit("busybox:1:amd64", |product| item(product, "root.squashfs", "path", json!(path)));
        holds(&operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox")), &["leads out of its tree"]);
        nothing(path);
    }
    server.edit("busybox:1:amd64", |product| item(product, "lxd.tar.xz", "combined_squashfs_sha256", json!("../../../root/.bashrc")));
    holds(&operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox")), &["has no image busybox"]);
    server.put("streams/v1/images.json", b"{\"products\": [".to_vec());
    holds(&operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox")), &["is not what an image server answers"]);
    nothing("no JSON");
}

#[test]
fn a_list_does_not_go_back_in_time() {
    let Some((daemon, server, offered)) = daemon_and_server() else { return };
    daemon.api().expect("POST", "/1.0/images", Some(&copy(&server, "busybox")));
    daemon.api().expect("DELETE", &format!("/1.0/images/{offered}"), None);
    // Nothing changed: the lists are not sent again.
    daemon.api().expect("POST", "/1.0/images", Some(&copy(&server, "busybox")));
    let again = server.requests().into_iter().filter(|request| request.path.starts_with("streams/") && request.status == 304).count();
    assert_eq!(again, 2);
    server.date("Sat, 31 Oct 2026 00:00:00 +0000");
    let error = operation_fails(&daemon, "/1.0/images", &copy(&server, "busybox/1"));
    holds(&error, &["older than that of Sun, 01 Nov 2026 00:00:00 +0000", "replaying old images"]);
    server.date("Mon, 02 Nov 2026 00:00:00 +0000");
    daemon.api().expect("POST", "/1.0/images", Some(&copy(&server, "busybox/1")));
}

#[test]
fn only_servers_that_are_listed_are_asked() {
    let Some((daemon, server, _)) = daemon_and_server() else { return };
    daemon.api().expect("PATCH", "/1.0", Some(&json!({"config": {"images.trusted": "https://images.example"}})));
    for (path, body) in [("/1.0/images", copy(&server, "busybox")), ("/1.0/instances", create(&server, "c1", "busybox"))] {
        holds(&daemon.api().refused("POST", path, Some(&body), 403), &["images.trusted", &server.url()]);
    }
    assert_eq!(server.requests(), [], "the server was asked");
    daemon.api().expect("PATCH", "/1.0", Some(&json!({"config": {"images.trusted": format!("https://images.example,{}", server.url())}})));
    daemon.api().expect("POST", "/1.0/images", Some(&copy(&server, "busybox")));
    daemon.api().refused("PATCH", "/1.0", Some(&json!({"config": {"images.trusted": "nonsense"}})), 400);
    for (change, status, why) in [
        (json!({"protocol": "oci", "alias": "UPPER"}), 400, "is no image of a registry"),
        (json!({"protocol": "ftp"}), 400, "simplestreams, lxd or oci"),
        (json!({"server": "file:///etc"}), 400, "invalid URL"),
        (json!({"alias": ""}), 400, "the source has no image"),
        (json!({"image_type": "virtual-machine"}), 501, "images of virtual machines"),
        (json!({"certificate": "AAAA"}), 400, "certificate"),
    ] {
        let mut body = copy(&server, "busybox");
        body["source"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        holds(&daemon.api().refused("POST", "/1.0/images", Some(&body), status), &[why]);
    }
}

#[test]
fn an_image_follows_its_alias() {
    let Some((mut daemon, server, first)) = daemon_and_server() else { return };
    let mut body = copy(&server, "busybox");
    body["auto_update"] = json!(true);
    body["aliases"] = json!([{"name": "bb", "description": ""}]);
    daemon.api().expect("POST", "/1.0/images", Some(&body));
    let refresh = |fingerprint: &str| daemon.api().expect("POST", &format!("/1.0/images/{fingerprint}/refresh"), None);
    assert_eq!(refresh(&first)["metadata"]["refreshed"], false);
    let second = server.offer(&version("2"), Offer { serial: "20261102_0000", ..Offer::default() });
    assert_eq!(refresh(&first)["metadata"]["refreshed"], true);
    assert_eq!(daemon.api().get("/1.0/images"), json!([format!("/1.0/images/{second}")]));
    assert_eq!(daemon.api().get("/1.0/images/aliases/bb")["target"], second.as_str());
    assert!(!daemon.state_seen().join("images").join(&first).exists());
    // By itself: at a start of the daemon, and when the configuration of it changes.
    let third = server.offer(&version("3"), Offer { serial: "20261103_0000", ..Offer::default() });
    daemon.restart();
    let is = |daemon: &Daemon, fingerprint: &str| daemon.api().get("/1.0/images") == json!([format!("/1.0/images/{fingerprint}")]);
    assert!(daemon.eventually(|| is(&daemon, &third)), "{}", daemon.log());
    let fourth = server.offer(&version("4"), Offer { serial: "20261104_0000", ..Offer::default() });
    daemon.api().expect("PATCH", "/1.0", Some(&json!({"config": {"images.auto_update_interval": "12"}})));
    assert!(daemon.eventually(|| is(&daemon, &fourth)), "{}", daemon.log());
    assert_eq!(daemon.api().get(&format!("/1.0/images/{fourth}"))["cached"], false);
    // One that a client sent follows nothing.
    let sent = daemon.import_busybox();
    assert_eq!(daemon.api().expect("POST", &format!("/1.0/images/{sent}/refresh"), None)["metadata"]["refreshed"], false);
    let image = daemon.api().get(&format!("/1.0/images/{sent}"));
    assert_eq!((&image["origin"]["server"], &image["origin"]["asked_by"]), (&json!(""), &json!("root (unix)")));
}

#[test]
fn a_pool_that_has_an_image_unpacked_has_the_newer_one_at_once() {
    let Some((mut daemon, server, first)) = daemon_and_server() else { return };
    daemon.api().expect("POST", "/1.0/storage-pools", Some(&json!({"name": "fast", "driver": "btrfs", "config": {"size": "512MiB"}})));
    let mut body = copy(&server, "busybox");
    body["auto_update"] = json!(true);
    daemon.api().expect("POST", "/1.0/images", Some(&body));
    let device = json!({"root": {"type": "disk", "path": "/", "pool": "fast"}});
    let instance = json!({"name": "c1", "source": {"type": "image", "fingerprint": first}, "devices": device});
    daemon.api().expect("POST", "/1.0/instances", Some(&instance));
    let unpacked = |daemon: &Daemon| daemon.api().get("/1.0/storage-pools/fast/volumes/image");
    let only = |fingerprint: &str| json!([format!("/1.0/storage-pools/fast/volumes/image/{fingerprint}")]);
    assert_eq!(unpacked(&daemon), only(&first));
    let second = server.offer(&version("2"), Offer { serial: "20261102_0000", ..Offer::default() });
    daemon.api().expect("POST", &format!("/1.0/images/{first}/refresh"), None);
    assert_eq!(unpacked(&daemon), only(&second), "nobody made an instance from it yet");

    // One that was missed when its image went is removed when the pool is opened next.
    let images = daemon.state().join("storage-pools/fast/images");
    let stray = images.join("e".repeat(64)).display().to_string();
    daemon.inside("btrfs", ["subvolume", "create", &stray]).ok();
    daemon.restart();
    assert!(daemon.inside("test", ["-e", &stray]).run().code != 0, "the stray volume is still there");
    assert_eq!(unpacked(&daemon), only(&second));
    daemon.api().expect("DELETE", &format!("/1.0/images/{second}"), None);
    assert_eq!(unpacked(&daemon), json!([]));
}

#[test]
fn the_genuine_client_lists_launches_and_copies_from_a_server() {
    if !coffer_testkit::can_run() || !has_genuine_client() {
        return;
    }
    let mut daemon = Daemon::prepare(Options::default());
    let authority = Authority::new(&daemon.scratch());
    daemon.set_env("SSL_CERT_FILE", &authority.file());
    daemon.launch();
    daemon.initialise("dir");
    let server = ImageServer::start_with_tls(daemon.pen(), &authority);
    let offered = server.offer(&images::busybox(), Offer { aliases: "ubuntu/22.04,22.04,jammy", ..Offer::default() });
    let lxc = |words: &[&str]| daemon.lxc(words).env("SSL_CERT_FILE", &authority.file());
    lxc(&["remote", "add", "images2", &server.url(), "--protocol=simplestreams", "--public"]).clean();
    holds(&lxc(&["image", "list", "images2:"]).clean(), &["22.04 (5 more)", &offered[..12], "Busybox 1 amd64", "x86_64", "CONTAINER"]);
    holds(&lxc(&["image", "list", "images2:", "22.04", "amd64"]).clean(), &["22.04"]);
    lxc(&["launch", "images2:22.04", "c1"]).clean();
    holds(&lxc(&["list"]).clean(), &["c1", "RUNNING"]);
    lxc(&["image", "copy", "images2:jammy", "local:", "--alias", "mine", "--auto-update", "--copy-aliases"]).ok();
    holds(
        &lxc(&["image", "info", "mine"]).clean(),
        &["Fingerprint:", "Server: https://localhost", "Protocol: simplestreams", "Alias: jammy"],
    );
    holds(&lxc(&["image", "refresh", "mine"]).ok(), &["already up to date"]);
    // Without the authority nobody vouches for the server.
    daemon.unset_env("SSL_CERT_FILE");
    daemon.stop();
    daemon.launch();
    let error = operation_fails(&daemon, "/1.0/images", &copy(&server, "22.04"));
    holds(&error, &["localhost", "can't be trusted"]);
}
