//! Long steps that are cancelled in the middle: nothing of them stays behind, and what they were of is free at once.

use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use coffer_testkit::{Daemon, ImageServer, Offer};
use serde_json::{Value, json};

use crate::image_downloads::large;
use crate::setting::ready_daemon;

/// Starts something that takes a while, waits until it shows its progress, and answers its address.
#[track_caller]
pub fn start_to_progress(daemon: &Daemon, start: impl FnOnce() -> Value, progress: &str) -> String {
    let mut listener = daemon.api().events("type=operation");
    let answer = start();
    let url = answer["operation"].as_str().unwrap_or_else(|| panic!("no operation: {answer}")).to_owned();
    loop {
        let event = listener.one();
        let operation = &event["metadata"];
        if operation["id"] == url.rsplit('/').next().unwrap_or_default() {
            assert_eq!(operation["status"], "Running", "{operation}");
            if operation["metadata"][progress].is_string() {
                return url;
            }
        }
    }
}

/// Starts something that takes a while, cancels it as soon as it shows its progress, and expects that it has ended so.
#[track_caller]
fn cancel_at_progress(daemon: &Daemon, start: impl FnOnce() -> Value, progress: &str) {
    let url = start_to_progress(daemon, start, progress);
    daemon.api().expect("DELETE", &url, None);
    assert_eq!(daemon.api().get(&url)["status"], "Cancelled");
}

fn post(daemon: &Daemon, path: &str, body: &Value) -> Value {
    daemon.api().request("POST", path, Some(body)).expect("an answer").json()
}

/// The names in a directory of the daemon's state.
fn names(daemon: &Daemon, directory: &str) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        std::fs::read_dir(daemon.state_seen().join(directory)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    names
}

/// An instance with some megabytes that no compressor makes smaller; it does not run.
fn plant_large(daemon: &Daemon, bytes: u32) {
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", &format!("head -c {bytes} /dev/urandom > /large")]).ok();
    daemon.change_state("c1", "stop");
}

#[test]
fn an_unpacking_that_is_cancelled_leaves_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    plant_large(&daemon, 24_000_000);
    // The slowest to unpack: it takes more than a second.
    daemon.coffer(["publish", "c1", "--alias", "slow", "--compression", "bzip2"]).ok();
    daemon.coffer(["delete", "c1"]).ok();
    let before = daemon.world();
    let create = || post(&daemon, "/1.0/instances", &json!({"name": "new", "source": {"type": "image", "alias": "slow"}}));
    cancel_at_progress(&daemon, create, "create_instance_from_image_unpack_progress");
    let gone = || daemon.api().get("/1.0/instances") == json!([]);
    assert!(daemon.eventually(gone), "{}", daemon.api().get("/1.0/instances"));
    let volume = daemon.state_seen().join("storage-pools/default/containers/new");
    assert!(daemon.eventually(|| !volume.exists()), "its volume stays");
    daemon.expect_nothing_since(&before);
    // The name is free, and the image as good as before.
    daemon.coffer(["init", "slow", "new"]).ok();
}

/// Whether a process has a handler for SIGINT. Source: proc_pid_status(5), `SigCgt`.
fn catches_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    caught.is_some_and(|caught| caught & 0b10 != 0)
}

#[test]
fn a_client_that_is_interrupted_has_its_operation_cancelled() {
    let Some(daemon) = ready_daemon() else { return };
    plant_large(&daemon, 24_000_000);
    let images = daemon.api().get("/1.0/images");
    let mut listener = daemon.api().events("type=operation");
    let mut client = daemon.client_outside(["publish", "c1", "--alias", "never", "--compression", "bzip2"]).into_command();
    let client = client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("our client");
    let id = loop {
        let event = listener.one();
        if event["metadata"]["metadata"]["create_image_from_container_pack_progress"].is_string() {
            break event["metadata"]["id"].as_str().expect("an identity").to_owned();
        }
    };
    // It has heard that the operation runs once it listens for the signal.
    assert!(daemon.eventually(|| catches_interrupts(client.id())), "it does not listen");
    daemon.inside("kill", ["-INT", &client.id().to_string()]).ok();
    let ended = client.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("cancelled"), "{told}");
    assert_eq!(daemon.api().get(&format!("/1.0/operations/{id}"))["status"], "Cancelled");
    assert_eq!(daemon.api().get("/1.0/images"), images);
}

#[test]
fn a_backup_and_its_import_that_are_cancelled_leave_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    plant_large(&daemon, 8_000_000);
    let backups = "/1.0/instances/c1/backups";
    let back_up = || post(&daemon, backups, &json!({"name": "slow", "compression_algorithm": "bzip2"}));
    cancel_at_progress(&daemon, back_up, "create_backup_progress");
    // The instance is free as soon as the packing has ended.
    daemon.change_state("c1", "start");
    daemon.change_state("c1", "stop");
    assert_eq!((daemon.api().get(backups), names(&daemon, "backups/instances/c1")), (json!([]), vec![]));

    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    let file = daemon.scratch().join("slow.tar.bz2");
    daemon.coffer(["export", "c1", &file.display().to_string(), "--compression", "bzip2"]).ok();
    let archive = std::fs::read(&file).expect("the archive");
    let (before, here) = (daemon.world(), names(&daemon, "storage-pools/default/containers"));
    let received = names(&daemon, "backups");
    let import = || {
        let headers = [("Content-Type", "application/octet-stream"), ("X-LXD-name", "new")];
        daemon.api().send("POST", "/1.0/instances", &headers, &archive).expect("an answer").json()
    };
    cancel_at_progress(&daemon, import, "create_instance_from_backup_unpack_progress");
    let only_one = || daemon.api().get("/1.0/instances") == json!(["/1.0/instances/c1"]);
    assert!(daemon.eventually(only_one), "{}", daemon.api().get("/1.0/instances"));
    assert!(daemon.eventually(|| names(&daemon, "storage-pools/default/containers") == here), "its volume stays");
    daemon.expect_nothing_since(&before);
    assert_eq!(names(&daemon, "backups"), received, "what was received stays");
    daemon.coffer(["import", &file.display().to_string(), "new"]).ok();
}

#[test]
fn a_copy_and_an_import_of_a_volume_that_are_cancelled_leave_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    let volumes = "/1.0/storage-pools/default/volumes/custom";
    daemon.api().expect("POST", volumes, Some(&json!({"name": "data"})));
    // Large files show progress, small ones take time.
    let top = daemon.state_seen().join("storage-pools/default/custom/default_data");
    for number in 0..10 {
        let directory = top.join(format!("{number}"));
        std::fs::create_dir(&directory).expect("a directory");
        let mut noise = vec![0_u8; 2 << 20];
        std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut noise)).expect("noise");
        std::fs::write(directory.join("large"), noise).expect("room for the file");
        for small in 0..250 {
            std::fs::write(directory.join(format!("{small}")), "small").expect("room for the file");
        }
    }
    let copy = json!({"name": "other", "source": {"type": "copy", "pool": "default", "name": "data"}});
    let only_one = || {
        let places = names(&daemon, "storage-pools/default/custom");
        daemon.api().get(volumes) == json!([format!("{volumes}/data")]) && places.len() == 1
    };
    cancel_at_progress(&daemon, || post(&daemon, volumes, &copy), "copy_progress");
    assert!(daemon.eventually(only_one), "{} {:?}", daemon.api().get(volumes), names(&daemon, "storage-pools/default/custom"));

    daemon.api().expect("POST", &format!("{volumes}/data/backups"), Some(&json!({"name": "b", "compression_algorithm": "bzip2"})));
    let archive = daemon.api().request("GET", &format!("{volumes}/data/backups/b/export"), None).expect("an answer").body;
    let import = || {
        let headers = [("Content-Type", "application/octet-stream"), ("X-LXD-name", "other")];
        daemon.api().send("POST", volumes, &headers, &archive).expect("an answer").json()
    };
    cancel_at_progress(&daemon, import, "create_instance_from_backup_unpack_progress");
    assert!(daemon.eventually(only_one), "{} {:?}", daemon.api().get(volumes), names(&daemon, "storage-pools/default/custom"));
    // Nobody holds it any more.
    daemon.api().expect("DELETE", &format!("{volumes}/data"), None);
}

#[test]
fn a_download_that_is_cancelled_leaves_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    let server = ImageServer::start(daemon.pen());
    let offered = server.offer(&large("cancelled"), Offer::default());
    let (before, images) = (names(&daemon, "images"), daemon.api().get("/1.0/images"));
    // The first piece comes; the others wait for one that is never asked for.
    server.gather(1, 1000);
    let source = json!({"type": "image", "mode": "pull", "protocol": "simplestreams", "server": server.url(), "alias": offered});
    cancel_at_progress(&daemon, || post(&daemon, "/1.0/images", &json!({"source": source})), "download_progress");
    assert!(daemon.eventually(|| names(&daemon, "images") == before), "{:?}", names(&daemon, "images"));
    assert_eq!(daemon.api().get("/1.0/images"), images);
    // An instance that needed it goes too.
    server.gather(1, 1000);
    cancel_at_progress(&daemon, || post(&daemon, "/1.0/instances", &json!({"name": "c1", "source": source})), "download_progress");
    let gone = || daemon.api().get("/1.0/instances") == json!([]) && names(&daemon, "images") == before;
    assert!(daemon.eventually(gone), "{} {:?}", daemon.api().get("/1.0/instances"), names(&daemon, "images"));
}
