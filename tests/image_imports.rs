//! Images that are imported from what is no archive: the address of one on any web server, and a directory.

use coffer_testkit::{Authority, Daemon, ImageServer, Options, can_run, has_genuine_client, images};
use serde_json::json;

use crate::image_servers::operation_fails;
use crate::setting::{holds, ready_daemon};

#[test]
fn an_address_leads_to_an_image() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let mut daemon = Daemon::prepare(Options::default());
    let authority = Authority::new(&daemon.scratch());
    daemon.set_env("SSL_CERT_FILE", &authority.file());
    daemon.launch();
    daemon.initialise("dir");
    let server = ImageServer::start_with_tls(daemon.pen(), &authority);
    let offered = server.offer_directly("latest", "files/busybox.tar.xz", &images::busybox());
    let url = format!("{}/latest", server.url());
    let before = daemon.world();
    daemon.coffer(["image", "import", &url, "--alias", "ours", "os=box"]).ok();
    holds(&daemon.coffer(["image", "info", "ours"]).clean(), &["os: box", "Protocol: direct", &format!("Server: {url}")]);
    daemon.coffer(["launch", "ours", "c1"]).ok();
    assert_eq!(daemon.api().get(&format!("/1.0/images/{offered}"))["filename"], "busybox.tar.xz");
    // The genuine client asks for the same; it is here already, and gets the other alias.
    daemon.lxc(["image", "import", &url, "--alias", "theirs"]).env("SSL_CERT_FILE", &authority.file()).ok();
    assert_eq!(daemon.api().get("/1.0/images/aliases/theirs")["target"], offered.as_str());
    daemon.coffer(["delete", "--force", "c1"]).ok();
    daemon.coffer(["image", "delete", "ours"]).ok();
    let import = |url: &str| {
        operation_fails(&daemon, "/1.0/images", &json!({"source": {"type": "url", "mode": "pull", "protocol": "direct", "url": url}}))
    };
    holds(&import(&format!("{}/files/busybox.tar.xz", server.url())), &["LXD-Image-Hash"]);
    holds(&import(&format!("{}/missing", server.url())), &["missing", "404"]);
    server.damage("files/busybox.tar.xz");
    holds(&import(&url), &[&offered[..12], "files/busybox.tar.xz"]);
    assert_eq!(daemon.api().get("/1.0/images"), json!([]));
    daemon.expect_nothing_since(&before);
    // Where images may come from holds here too, and is asked before anybody is.
    daemon.coffer(["config", "set", "images.trusted=https://images.example"]).ok();
    let asked = server.requests().len();
    let body = json!({"source": {"type": "url", "url": url}});
    holds(&daemon.api().refused("POST", "/1.0/images", Some(&body), 403), &["images.trusted"]);
    holds(&daemon.api().refused("POST", "/1.0/images", Some(&json!({"source": {"type": "url", "url": "nowhere"}})), 400), &["nowhere"]);
    assert_eq!(server.requests().len(), asked);
    holds(&daemon.coffer(["image", "import", "http://localhost/latest"]).fails(), &["https://"]);
}

#[test]
fn a_directory_is_packed_and_imported() {
    let Some(daemon) = ready_daemon() else { return };
    let directory = daemon.scratch().join("image");
    std::fs::create_dir(&directory).expect("a directory");
    let path = directory.display().to_string();
    holds(&daemon.coffer(["image", "import", &path]).fails(), &["metadata.yaml", &path]);
    let archive = images::busybox().unified.display().to_string();
    daemon.inside("tar", ["--extract", "--numeric-owner", "--file", &archive, "--directory", &path]).ok();
    std::fs::write(directory.join("rootfs/added"), "here").expect("room for a file");
    daemon.coffer(["image", "import", &path, "--alias", "packed"]).ok();
    daemon.coffer(["launch", "packed", "c1"]).ok();
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/added"]).ok(), "here");
}
