//! Instances on pools of the drivers that not every host can run: the bed runs these where they are.

use coffer_testkit::{Daemon, can_run, has_genuine_client, images, skipped};
use serde_json::{Value, json};

use crate::overlay::cost_about_one_image;
use crate::recover::{Ground, comes_back};
use crate::setting::holds;

/// The drivers that a server says its host can run.
pub fn drivers(daemon: &Daemon) -> Vec<String> {
    let server = daemon.api().get("/1.0");
    let drivers = server["environment"]["storage_supported_drivers"].as_array().cloned().unwrap_or_default();
    drivers.iter().filter_map(|driver| driver["Name"].as_str().map(str::to_owned)).collect()
}

/// A daemon whose host can run a driver, else none; the genuine client is there.
pub fn daemon_with(driver: &str) -> Option<Daemon> {
    if !can_run() || !has_genuine_client() {
        return None;
    }
    let daemon = Daemon::start();
    if drivers(&daemon).iter().any(|found| found == driver) {
        return Some(daemon);
    }
    skipped(&format!("this host cannot run storage driver {driver}"));
    None
}

#[track_caller]
fn says(daemon: &Daemon, instance: &str, script: &str) -> String {
    daemon.lxc(["exec", instance, "--", "sh", "-c", script]).clean().trim().to_owned()
}

/// What the genuine client does with a pool, and an instance, from its first day to its last.
pub fn lives_on(daemon: &Daemon, driver: &str, keys: &[&str]) {
    let before = daemon.world();
    let create = ["storage", "create", "fast", driver].into_iter().chain(keys.iter().copied());
    daemon.lxc(create).clean();
    holds(&daemon.lxc(["storage", "show", "fast"]).clean(), &[&format!("driver: {driver}"), "status: Created", "source: "]);
    holds(&daemon.lxc(["storage", "info", "fast"]).clean(), &["space used:", "total space:"]);
    daemon.lxc(["profile", "device", "add", "default", "root", "disk", "path=/", "pool=fast"]).clean();
    daemon.lxc(["image", "import", &images::busybox().unified.display().to_string(), "--alias", "small"]).clean();
    // It says that there is no network.
    daemon.lxc(["init", "small", "c1"]).ok();
    // A state from before its first start, when its files may have had other owners.
    daemon.lxc(["snapshot", "c1", "new"]).clean();
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(says(daemon, "c1", "id -u; stat -c %u /bin/busybox /root"), "0\n0\n0", "{}", daemon.log());
    says(daemon, "c1", "echo one > /root/word; chown 1000:1000 /root/word");
    daemon.lxc(["snapshot", "c1", "one"]).clean();
    says(daemon, "c1", "echo two > /root/word");
    daemon.lxc(["snapshot", "c1", "two"]).clean();

    // Any state comes back, and the later ones stay.
    daemon.lxc(["restore", "c1", "one"]).clean();
    assert_eq!(says(daemon, "c1", "cat /root/word; stat -c %u /root/word /root"), "one\n1000\n0");
    daemon.lxc(["restore", "c1", "two"]).clean();
    assert_eq!(says(daemon, "c1", "cat /root/word"), "two");
    daemon.lxc(["copy", "c1", "c2"]).clean();
    daemon.lxc(["start", "c2"]).clean();
    assert_eq!(says(daemon, "c2", "cat /root/word; stat -c %u /root/word /root"), "two\n1000\n0");
    daemon.lxc(["restore", "c1", "new"]).clean();
    assert_eq!(says(daemon, "c1", "stat -c %u /root; ls /root/word 2>/dev/null; true"), "0");
    limits_and_moves(daemon);

    daemon.lxc(["delete", "--force", "c1"]).clean();
    assert_eq!(says(daemon, "c2", "cat /root/word"), "two");
    daemon.lxc(["delete", "--force", "c2"]).clean();
    daemon.lxc(["image", "delete", "small"]).clean();
    daemon.lxc(["profile", "device", "remove", "default", "root"]).clean();
    daemon.lxc(["storage", "delete", "fast"]).clean();
    daemon.expect_nothing_since(&before);
}

/// A volume with a size is shared with an instance and goes to another kind of pool.
fn limits_and_moves(daemon: &Daemon) {
    daemon.lxc(["storage", "volume", "create", "fast", "data", "size=32MiB"]).clean();
    if cannot_map_ids(daemon) {
        // Only a root file system belongs to one instance alone, so that its owners can be changed instead.
        let refused = daemon.lxc(["storage", "volume", "attach", "fast", "data", "c1", "data", "/mnt"]).fails();
        holds(&refused, &["its file system cannot map ids"]);
        daemon.lxc(["storage", "volume", "delete", "fast", "data"]).clean();
        return;
    }
    daemon.lxc(["storage", "volume", "attach", "fast", "data", "c1", "data", "/mnt"]).clean();
    let full = daemon.lxc(["exec", "c1", "--", "sh", "-c", "dd if=/dev/urandom of=/mnt/big bs=1M count=64; rm /mnt/big"]).run();
    let said = full.stderr.to_lowercase();
    assert!(said.contains("no space left") || said.contains("quota"), "{full}");
    says(daemon, "c1", "echo kept > /mnt/word");
    daemon.lxc(["storage", "volume", "detach", "fast", "data", "c1", "data"]).clean();
    daemon.lxc(["storage", "create", "plain", "dir"]).clean();
    daemon.lxc(["storage", "volume", "move", "fast/data", "plain/data"]).clean();
    daemon.lxc(["storage", "volume", "attach", "plain", "data", "c1", "data", "/mnt"]).clean();
    assert_eq!(says(daemon, "c1", "cat /mnt/word"), "kept");
    daemon.lxc(["storage", "volume", "detach", "plain", "data", "c1", "data"]).clean();
    daemon.lxc(["storage", "volume", "delete", "plain", "data"]).clean();
    daemon.lxc(["storage", "delete", "plain"]).clean();
}

fn cannot_map_ids(daemon: &Daemon) -> bool {
    has_old_zfs() && daemon.api().get("/1.0/storage-pools/fast")["driver"] == "zfs"
}

/// ZFS before 2.2 has no idmapped mounts.
fn has_old_zfs() -> bool {
    // The module may be loaded only when a pool is made.
    let version = std::process::Command::new("modinfo").args(["--field", "version", "zfs"]).output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    version.starts_with("2.1.") || version.starts_with("2.0.") || version.starts_with("0.")
}

#[test]
fn an_instance_lives_on_zfs() {
    let Some(daemon) = daemon_with("zfs") else { return };
    lives_on(&daemon, "zfs", &["size=1GiB", "zfs.pool_name=coffer-e2e"]);
}

#[test]
fn an_instance_lives_on_thin_volumes() {
    let Some(daemon) = daemon_with("lvm") else { return };
    lives_on(&daemon, "lvm", &["size=3GiB", "volume.size=256MiB", "lvm.vg_name=coffer-e2e"]);
}

/// The genuine client says of a copy all that the volume has, whatever pool that goes to.
#[test]
fn a_volume_has_the_keys_that_its_driver_has() {
    let Some(mut daemon) = daemon_with("zfs") else { return };
    let tank = ["storage", "create", "tank", "zfs", "size=512MiB", "zfs.pool_name=coffer-keys", "volume.zfs.blocksize=64KiB"];
    daemon.lxc(tank).clean();
    daemon.lxc(["storage", "create", "group", "lvm", "size=1GiB", "volume.size=128MiB", "lvm.vg_name=coffer-keys"]).clean();
    daemon.lxc(["storage", "volume", "create", "tank", "data", "size=64MiB", "zfs.use_refquota=true"]).clean();
    holds(&daemon.lxc(["storage", "volume", "show", "tank", "data"]).clean(), &["zfs.blocksize: 64KiB", "zfs.use_refquota: \"true\""]);
    daemon.lxc(["storage", "volume", "set", "tank", "data", "zfs.blocksize=16KiB"]).clean();
    assert_eq!(property("recordsize,refquota"), "16K 64M");
    let foreign = daemon.lxc(["storage", "volume", "set", "tank", "data", "block.filesystem=xfs"]).fails();
    holds(&foreign, &["block.filesystem", "only volumes of driver lvm or ceph have it", "zfs"]);
    let foreign = daemon.lxc(["storage", "volume", "create", "group", "data", "zfs.blocksize=16KiB"]).fails();
    holds(&foreign, &["zfs.blocksize", "only volumes of driver zfs have it", "lvm"]);
    let large = daemon.lxc(["storage", "volume", "set", "tank", "data", "zfs.blocksize=16MiB"]).run();
    assert!(large.code == 0 || large.stderr.contains("takes blocks of at most"), "{large}");
    daemon.lxc(["storage", "volume", "set", "tank", "data", "zfs.blocksize=16KiB"]).clean();

    daemon.lxc(["storage", "volume", "snapshot", "tank", "data", "s0"]).clean();
    daemon.lxc(["storage", "volume", "copy", "tank/data", "group/data"]).ok();
    let keys = |path: &str| daemon.api().get(path)["config"].as_object().cloned().unwrap_or_default();
    let copied = keys("/1.0/storage-pools/group/volumes/custom/data");
    assert_eq!((&copied["block.filesystem"], &copied["block.mount_options"]), (&json!("ext4"), &json!("discard")));
    for path in ["data", "data/snapshots/s0"] {
        let keys = keys(&format!("/1.0/storage-pools/group/volumes/custom/{path}"));
        assert!(!keys.keys().any(|key| key.starts_with("zfs.")) && keys["size"] == "64MiB", "{keys:?}");
    }
    for (key, expect) in [
        ("block.filesystem=xfs", "it cannot be changed once the volume is made"),
        ("lvm.stripes=2", "it cannot be changed once the volume is made"),
        ("block.mount_options=noatime,dev", "mount option \"dev\" is not allowed"),
    ] {
        holds(&daemon.lxc(["storage", "volume", "set", "group", "data", key]).fails(), &[expect]);
    }
    daemon.lxc(["storage", "volume", "set", "group", "data", "block.mount_options=noatime"]).clean();
    // Whoever replaces all keys need not say again what cannot change.
    daemon.lxc(["storage", "volume", "unset", "group", "data", "block.filesystem"]).clean();
    let kept = keys("/1.0/storage-pools/group/volumes/custom/data");
    assert_eq!((&kept["block.filesystem"], &kept["block.mount_options"]), (&json!("ext4"), &json!("noatime")));

    daemon.restart();
    daemon.lxc(["storage", "volume", "restore", "tank", "data", "s0"]).clean();
    assert_eq!(property("recordsize,refquota"), "16K 64M", "{}", daemon.log());
    daemon.lxc(["storage", "volume", "move", "group/data", "tank/moved"]).ok();
    let moved = daemon.api().get("/1.0/storage-pools/tank/volumes/custom/moved")["config"].clone();
    assert_eq!((&moved["zfs.blocksize"], moved.get("block.filesystem")), (&json!("64KiB"), None), "{moved}");
    for volume in ["data", "moved"] {
        daemon.lxc(["storage", "volume", "delete", "tank", volume]).clean();
    }
    for pool in ["tank", "group"] {
        daemon.lxc(["storage", "delete", pool]).clean();
    }
}

/// Properties of a volume's dataset.
fn property(names: &str) -> String {
    let words = ["get", "-H", "-o", "value", names, "coffer-keys/custom/default_data"];
    let output = std::process::Command::new("zfs").args(words).output().expect("zfs can be asked");
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_restart_of_the_server_brings_a_zfs_pool_back() {
    let Some(mut daemon) = daemon_with("zfs") else { return };
    daemon.lxc(["storage", "create", "fast", "zfs", "size=512MiB", "zfs.pool_name=coffer-again"]).clean();
    daemon.lxc(["storage", "volume", "create", "fast", "data"]).clean();
    daemon.restart();
    holds(&daemon.lxc(["storage", "show", "fast"]).clean(), &["status: Created"]);
    daemon.lxc(["storage", "set", "fast", "size=1GiB"]).clean();
    let total = daemon.api().get("/1.0/storage-pools/fast/resources")["space"]["total"].as_u64();
    assert!(total > Some(800 << 20), "{total:?}");
    daemon.lxc(["storage", "volume", "delete", "fast", "data"]).clean();
    daemon.lxc(["storage", "delete", "fast"]).clean();
}

#[test]
fn everything_comes_back_from_a_zfs_pool_after_the_database_was_lost() {
    let Some(daemon) = daemon_with("zfs") else { return };
    drop(daemon);
    comes_back(&Ground { driver: "zfs", config: json!({"size": "1GiB"}), maps_ids: !has_old_zfs() });
}

#[test]
fn everything_comes_back_from_thin_volumes_after_the_database_was_lost() {
    let Some(daemon) = daemon_with("lvm") else { return };
    drop(daemon);
    comes_back(&Ground { driver: "lvm", config: json!({"size": "2GiB", "volume.size": "128MiB"}), maps_ids: true });
}

#[test]
fn everything_comes_back_from_thick_volumes_after_the_database_was_lost() {
    let Some(daemon) = daemon_with("lvm") else { return };
    drop(daemon);
    let config = json!({"size": "2GiB", "volume.size": "128MiB", "lvm.use_thinpool": "false", "lvm.vg_name": "coffer-back"});
    comes_back(&Ground { driver: "lvm", config, maps_ids: true });
}

#[test]
fn two_hundred_instances_cost_about_one_image_on_zfs() {
    let Some(daemon) = daemon_with("zfs") else { return };
    cost_about_one_image(&daemon, "zfs", &json!({"size": "2GiB", "zfs.pool_name": "coffer-many"}));
}

#[test]
fn two_hundred_instances_cost_about_one_image_on_thin_volumes() {
    let Some(daemon) = daemon_with("lvm") else { return };
    cost_about_one_image(&daemon, "lvm", &json!({"size": "4GiB", "volume.size": "128MiB", "lvm.vg_name": "coffer-many"}));
}

#[test]
fn a_driver_that_the_host_cannot_run_is_refused_by_what_is_missing() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let here = drivers(&daemon);
    for (driver, missing) in [("zfs", "zfs-dkms"), ("lvm", "device mapper"), ("ceph", "module rbd")] {
        if here.iter().any(|found| found == driver) {
            continue;
        }
        let body = json!({"name": "x", "driver": driver});
        let text = daemon.api().refused("POST", "/1.0/storage-pools", Some(&body), 400);
        assert!(text.contains("not available on this host") && (text.contains(missing) || text.contains("package")), "{text}");
        assert_eq!(daemon.api().get("/1.0/storage-pools"), Value::Array(Vec::new()));
    }
}
