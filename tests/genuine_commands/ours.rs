//! What the genuine client leaves to the daemon's own program: setting a server up.

use coffer_testkit::{Daemon, can_run};
use serde_json::json;

use crate::setting::holds;

#[test]
fn a_server_is_set_up_as_the_words_say() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let place = daemon.scratch().join("pool");
    std::fs::create_dir(&place).expect("a directory for the pool");
    let init = ["admin", "init", "--auto", "--network-address", "127.0.0.1", "--network-port", "8444", "--storage-backend", "dir"];
    daemon.coffer(init.iter().copied().chain(["--storage-pool", &place.display().to_string()])).ok();
    assert_eq!(daemon.api().get("/1.0")["config"]["core.https_address"], "127.0.0.1:8444");
    let pool = daemon.api().get("/1.0/storage-pools/default");
    assert_eq!((&pool["driver"], &pool["config"]["source"]), (&json!("dir"), &json!(place.display().to_string())), "{pool}");
    holds(&Daemon::start().coffer(["admin", "init", "--auto", "--storage-backend", "nonsense"]).fails(), &["nonsense"]);
}

#[test]
fn the_least_is_set_up_and_a_file_holds_the_pool() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    daemon.coffer(["admin", "init", "--minimal"]).ok();
    assert_eq!(daemon.api().get("/1.0/profiles/default")["devices"]["root"]["pool"], "default");
    assert_eq!(daemon.api().get("/1.0")["config"].get("core.https_address"), None);
    let daemon = Daemon::start();
    daemon.coffer(["admin", "init", "--auto", "--storage-backend", "btrfs", "--storage-create-loop", "1"]).ok();
    let pool = daemon.api().get("/1.0/storage-pools/default");
    assert_eq!((&pool["driver"], &pool["config"]["size"]), (&json!("btrfs"), &json!("1GiB")), "{pool}");
    let device = ["admin", "init", "--auto", "--storage-backend", "btrfs", "--storage-create-device", "/dev/nothing"];
    holds(&Daemon::start().coffer(device).fails(), &["/dev/nothing"]);
}
