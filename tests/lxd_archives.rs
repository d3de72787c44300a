//! What genuine LXD 5.0.2 exports is imported here, and what is exported here is imported there: the same configuration, the same
//! snapshots, and files that are the same in all that a file can be.

use std::path::PathBuf;

use coffer_testkit::{Daemon, can_run, has_genuine_lxd, images, random_tree, tree};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

/// How the description of a file says that it has a hole.
const HOLE: &str = " with a hole";

/// One of the two servers, with the client that belongs to it.
struct Server(Daemon);

impl Server {
    /// Genuine LXD with a pool of directories, the busybox image and nothing else.
    #[track_caller]
    fn lxd() -> Self {
        Self::lxd_on(&["dir"])
    }

    /// Genuine LXD with a pool of another driver.
    #[track_caller]
    fn lxd_on(pool: &[&str]) -> Self {
        let server = Self(Daemon::start_genuine_lxd());
        server.run(&[&["storage", "create", "default"], pool].concat());
        server.run(&["profile", "device", "add", "default", "root", "disk", "path=/", "pool=default"]);
        server.run(&["image", "import", &images::busybox().unified.display().to_string(), "--alias", "small"]);
        server
    }

    /// Ours, likewise.
    #[track_caller]
    fn ours() -> Option<Self> {
        ready_daemon().map(Self::with_root)
    }

    /// Ours with a pool of another driver.
    #[track_caller]
    fn ours_on(driver: &str) -> Option<Self> {
        if !can_run() {
            return None;
        }
        let ours = Daemon::start();
        ours.initialise(driver);
        ours.import_busybox();
        Some(Self::with_root(ours))
    }

    #[track_caller]
    fn with_root(ours: Daemon) -> Self {
        let root = json!({"root": {"type": "disk", "path": "/", "pool": "default"}});
        ours.api().expect("PUT", "/1.0/profiles/default", Some(&json!({"config": {}, "description": "", "devices": root})));
        Self(ours)
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        self.0.client_outside(words).ok()
    }

    fn pool(&self) -> PathBuf {
        self.0.state_seen().join("storage-pools/default")
    }

    /// Makes an instance with all kinds of files, a snapshot of it, and other files and configuration after that. It never runs:
    /// so its files have the owners that they have inside.
    #[track_caller]
    fn plant(&self) {
        self.run(&["init", "small", "c1", "-c", "limits.processes=123", "-c", "user.note=a: b"]);
        let srv = self.pool().join("containers/c1/rootfs/srv");
        std::fs::create_dir_all(&srv).expect("a directory");
        tree::plant(&srv);
        tree::settle_times(&self.pool().join("containers/c1/rootfs"));
        self.run(&["snapshot", "c1", "before"]);
        std::fs::remove_file(srv.join("deep/link")).expect("a link to remove");
        std::fs::write(srv.join("later"), "later").expect("a file");
        tree::settle_times(&srv);
        self.run(&["config", "set", "c1", "limits.processes=99"]);
        self.run(&["config", "device", "add", "c1", "none", "none"]);
        self.run(&["snapshot", "c1", "after"]);
    }

    /// Makes a volume with all kinds of files and one that is a disk, each with a snapshot that differs from it. No instance
    /// ever has them: so the files have the owners that they have inside.
    #[track_caller]
    fn plant_volumes(&self) {
        self.run(&["storage", "volume", "create", "default", "v1", "user.note=a: b", "snapshots.expiry=3d"]);
        let top = self.pool().join("custom/default_v1");
        tree::plant(&top);
        std::os::unix::fs::chown(&top, Some(7), Some(8)).expect("another owner");
        tree::settle_times(&top);
        self.run(&["storage", "volume", "snapshot", "default", "v1", "before"]);
        std::fs::remove_file(top.join("deep/again")).expect("a link to remove");
        std::fs::write(top.join("later"), "later").expect("a file");
        tree::settle_times(&top);
        self.run(&["storage", "volume", "create", "default", "d1", "--type", "block", "size=3MiB"]);
        let disk = self.pool().join("custom/default_d1/root.img");
        let write = |at: u64, text: &str| {
            let file = std::fs::File::options().write(true).open(&disk).expect("the disk");
            std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), at).expect("room");
        };
        write(1 << 20, "then");
        self.run(&["storage", "volume", "snapshot", "default", "d1", "before"]);
        write(2 << 20, "now");
    }

    /// A volume's configuration and files, and those of its snapshot.
    #[track_caller]
    fn files_described(&self, name: &str) -> Vec<String> {
        let mut lines = self.volume_described(name);
        for place in [format!("custom/default_{name}"), format!("custom-snapshots/default_{name}/before")] {
            lines.push(place.clone());
            lines.extend(tree::describe(&self.pool().join(place)));
        }
        lines
    }

    /// A disk's configuration and content, and those of its snapshot.
    #[track_caller]
    fn disk_described(&self, name: &str) -> Vec<String> {
        let mut lines = self.volume_described(name);
        for place in [format!("custom/default_{name}"), format!("custom-snapshots/default_{name}/before")] {
            let bytes = std::fs::read(self.pool().join(&place).join("root.img")).expect("a disk");
            let text = |at: usize| String::from_utf8_lossy(&bytes[at..at + 4]).into_owned();
            lines.push(format!("{place} {} {:?} {:?}", bytes.len(), text(1 << 20), text(2 << 20)));
        }
        lines
    }

    #[track_caller]
    fn volume_described(&self, name: &str) -> Vec<String> {
        let path = format!("/1.0/storage-pools/default/volumes/custom/{name}");
        let own = |value: &Value| {
            let config = value["config"].as_object().expect("a configuration");
            let lasting = config.iter().filter(|(key, _)| !key.starts_with("volatile.")).map(|(key, value)| format!("{key}={value}"));
            let lasting: Vec<String> = lasting.collect();
            format!("{lasting:?} {} {}", value["description"], value["name"])
        };
        let volume = self.0.api().get(&path);
        let snapshots = self.0.api().get(&format!("{path}/snapshots?recursion=1"));
        let snapshots =
            snapshots.as_array().expect("snapshots").iter().map(|snapshot| format!("{} {}", own(snapshot), snapshot["expires_at"]));
        [own(&volume), volume["content_type"].to_string()].into_iter().chain(snapshots.collect::<Vec<_>>()).collect()
    }

    /// All that must be the same there: configuration, snapshots, files of the instance and of its snapshots.
    #[track_caller]
    fn described(&self) -> Vec<String> {
        let api = self.0.api();
        let own = |value: &Value| {
            let config: Vec<String> = value["config"]
                .as_object()
                .expect("a configuration")
                .iter()
                .filter(|(key, _)| !key.starts_with("volatile."))
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            // Where the pool has another name its device says so; here both are called the same.
            format!("{} {config:?} {} {} {}", value["architecture"], value["devices"], value["profiles"], value["ephemeral"])
        };
        let mut lines = vec![own(&api.get("/1.0/instances/c1"))];
        for name in ["before", "after"] {
            let snapshot = api.get(&format!("/1.0/instances/c1/snapshots/{name}"));
            lines.push(format!("{name} {} {}", own(&snapshot), snapshot["expires_at"]));
        }
        let places = ["containers/c1", "containers-snapshots/c1/before", "containers-snapshots/c1/after"];
        for place in places {
            lines.push(place.to_owned());
            lines.extend(tree::describe(&self.pool().join(place).join("rootfs")));
        }
        lines
    }

    /// Takes an archive in and looks whether it became what was planted elsewhere, and lives.
    #[track_caller]
    fn expect(&self, archive: &str, planted: &[String]) {
        self.run(&["import", archive]);
        let found = self.described();
        same(planted, &found);
        self.run(&["restore", "c1", "before"]);
        self.run(&["start", "c1"]);
        let seen = self.run(&["exec", "c1", "--", "stat", "-c", "%a %u:%g %h", "/srv/file"]);
        assert_eq!(seen, "4750 1000:50 2\n");
        self.run(&["delete", "--force", "c1"]);
    }
}

#[test]
fn an_instance_with_snapshots_goes_from_lxd_to_us_and_back() {
    if !can_run() || !has_genuine_lxd() {
        return;
    }
    let Some(ours) = Server::ours() else { return };
    let lxd = Server::lxd();
    lxd.plant();
    let planted = lxd.described();
    for compression in ["gzip", "none"] {
        let path = lxd.0.scratch().join(format!("theirs.{compression}")).display().to_string();
        lxd.run(&["export", "c1", &path, "--compression", compression]);
        ours.expect(&path, &planted);
    }
    lxd.run(&["delete", "c1"]);
    ours.plant();
    let planted = ours.described();
    for compression in ["gzip", "zstd", "xz", "none"] {
        let path = ours.0.scratch().join(format!("ours.{compression}")).display().to_string();
        ours.run(&["export", "c1", &path, "--compression", compression]);
        lxd.expect(&path, &planted);
    }
}

#[test]
fn a_volume_with_snapshots_goes_from_lxd_to_us_and_back() {
    if !can_run() || !has_genuine_lxd() {
        return;
    }
    let Some(ours) = Server::ours() else { return };
    let lxd = Server::lxd();
    for (from, to, compressions) in [(&lxd, &ours, ["gzip", "none"]), (&ours, &lxd, ["zstd", "none"])] {
        from.plant_volumes();
        let (files, disk) = (from.files_described("v1"), from.disk_described("d1"));
        for compression in compressions {
            let path = |name: &str| from.0.scratch().join(format!("{name}.{compression}")).display().to_string();
            for name in ["v1", "d1"] {
                from.run(&["storage", "volume", "export", "default", name, &path(name), "--compression", compression]);
                to.run(&["storage", "volume", "import", "default", &path(name)]);
            }
            same(&files, &to.files_described("v1"));
            assert_eq!(to.disk_described("d1"), disk);
            // Without the snapshots, under another name, which is attached and read.
            from.run(&["storage", "volume", "export", "default", "v1", &path("alone"), "--volume-only", "--compression", compression]);
            to.run(&["storage", "volume", "import", "default", &path("alone"), "v2"]);
            assert_eq!(to.0.api().get("/1.0/storage-pools/default/volumes/custom/v2/snapshots"), json!([]));
            to.run(&["init", "small", "c1"]);
            to.run(&["storage", "volume", "attach", "default", "v2", "c1", "/mnt"]);
            to.run(&["start", "c1"]);
            assert_eq!(to.run(&["exec", "c1", "--", "stat", "-c", "%a %u:%g %h", "/mnt/file"]), "4750 1000:50 1\n");
            to.run(&["delete", "--force", "c1"]);
            to.run(&["storage", "volume", "restore", "default", "v1", "before"]);
            for name in ["v1", "v2", "d1"] {
                to.run(&["storage", "volume", "delete", "default", name]);
            }
        }
        for name in ["v1", "d1"] {
            from.run(&["storage", "volume", "delete", "default", name]);
        }
    }
}

/// Trees that each way of an archive is tried with.
const TREES: u64 = 12;

#[test]
fn random_trees_survive_every_way_of_an_archive() {
    if !can_run() || !has_genuine_lxd() {
        return;
    }
    let Some(ours) = Server::ours() else { return };
    let lxd = Server::lxd();
    let grown = |name: &str, seed| {
        let place = ours.0.scratch().join(name);
        random_tree::grow(&place, seed);
        tree::describe(&place)
    };
    assert_eq!(grown("one", 7), grown("same", 7));
    assert_ne!(grown("two", 8), grown("three", 9));
    for (way, (from, to)) in [(&ours, &ours), (&lxd, &ours), (&ours, &lxd)].into_iter().enumerate() {
        from.run(&["init", "small", "c1"]);
        from.run(&["storage", "volume", "create", "default", "v1"]);
        // The name of each tree is its seed.
        let first = 1000 * way as u64;
        for seed in first..first + TREES {
            random_tree::grow(&from.pool().join(format!("containers/c1/rootfs/srv/{seed}")), seed);
            random_tree::grow(&from.pool().join(format!("custom/default_v1/{}", seed + TREES)), seed + TREES);
        }
        let trees = |server: &Server| {
            let mut lines = tree::describe(&server.pool().join("containers/c1/rootfs/srv"));
            lines.extend(tree::describe(&server.pool().join("custom/default_v1")));
            lines
        };
        let planted = trees(from);
        let path = |name: &str| from.0.scratch().join(format!("{name}.{way}")).display().to_string();
        from.run(&["export", "c1", &path("c1"), "--compression", "none"]);
        from.run(&["storage", "volume", "export", "default", "v1", &path("v1"), "--compression", "none"]);
        from.run(&["delete", "c1"]);
        from.run(&["storage", "volume", "delete", "default", "v1"]);
        to.run(&["import", &path("c1")]);
        to.run(&["storage", "volume", "import", "default", &path("v1")]);
        same(&planted, &trees(to));
        to.run(&["delete", "c1"]);
        to.run(&["storage", "volume", "delete", "default", "v1"]);
    }
}

#[test]
fn what_is_in_the_format_of_btrfs_goes_from_lxd_to_us_and_back() {
    if !can_run() || !has_genuine_lxd() {
        return;
    }
    let Some(ours) = Server::ours_on("btrfs") else { return };
    let lxd = Server::lxd_on(&["btrfs", "size=1GiB"]);
    ours.run(&["storage", "create", "plain", "dir"]);
    for (from, to) in [(&lxd, &ours), (&ours, &lxd)] {
        let path = |name: &str| from.0.scratch().join(name).display().to_string();
        from.plant();
        let planted = from.described();
        from.run(&["export", "c1", &path("c1"), "--optimized-storage", "--compression", "none"]);
        let listed = std::process::Command::new("tar").args(["-tf", &path("c1")]).output().expect("tar");
        let streams = ["optimized_header.yaml", "snapshots/before.bin", "snapshots/after.bin", "container.bin"];
        holds(&String::from_utf8_lossy(&listed.stdout), &streams);
        to.expect(&path("c1"), &planted);
        from.plant_volumes();
        let (files, disk) = (from.files_described("v1"), from.disk_described("d1"));
        for name in ["v1", "d1"] {
            from.run(&["storage", "volume", "export", "default", name, &path(name), "--optimized-storage", "--compression", "gzip"]);
            to.run(&["storage", "volume", "import", "default", &path(name)]);
        }
        same(&files, &to.files_described("v1"));
        assert_eq!(to.disk_described("d1"), disk);
        // The format is read whatever the pool is.
        ours.run(&["import", &path("c1"), "c2", "--storage", "plain"]);
        ours.run(&["import", &path("c1"), "c3"]);
        let tree = |pool: &str, name: &str| {
            tree::describe(&ours.0.state_seen().join("storage-pools").join(pool).join("containers").join(name).join("rootfs"))
        };
        same(&tree("default", "c3"), &tree("plain", "c2"));
        ours.run(&["delete", "c2"]);
        ours.run(&["delete", "c3"]);
        for server in [from, to] {
            for name in ["v1", "d1"] {
                server.run(&["storage", "volume", "delete", "default", name]);
            }
        }
        from.run(&["delete", "c1"]);
    }
}

#[test]
fn what_cannot_be_in_the_format_of_btrfs_is_refused_or_packed_otherwise() {
    let Some(ours) = Server::ours_on("btrfs") else { return };
    let path = |name: &str| ours.0.scratch().join(name).display().to_string();
    ours.run(&["init", "small", "c1"]);
    let nested = ours.pool().join("containers/c1/rootfs/srv/nested");
    let made = ours.0.inside("btrfs", ["subvolume", "create", &seen_inside(&ours, &nested)]).run();
    assert_eq!(made.code, 0, "{made}");
    let said = ours.0.client_outside(["export", "c1", &path("nested"), "--optimized-storage"]).fails();
    holds(&said, &["other subvolumes are nested in it", "export it without --optimized-storage"]);
    ours.run(&["export", "c1", &path("nested")]);
    // A driver without a format of its own packs as ever.
    ours.run(&["storage", "create", "plain", "dir"]);
    ours.run(&["init", "small", "c2", "--storage", "plain"]);
    ours.run(&["export", "c2", &path("plain"), "--optimized-storage", "--compression", "none"]);
    let listed = std::process::Command::new("tar").args(["-tf", &path("plain")]).output().expect("tar");
    holds(&String::from_utf8_lossy(&listed.stdout), &["backup/container/rootfs/bin"]);
    assert_eq!(ours.0.api().get("/1.0/instances/c1/snapshots"), json!([]));
}

/// A path as it is inside the daemon's pen.
fn seen_inside(server: &Server, path: &std::path::Path) -> String {
    let below = path.strip_prefix(server.0.state_seen()).expect("a path in the state directory");
    server.0.state().join(below).display().to_string()
}

#[test]
fn an_image_that_we_publish_runs_there_and_the_other_way_round() {
    if !can_run() || !has_genuine_lxd() {
        return;
    }
    let Some(ours) = Server::ours() else { return };
    let lxd = Server::lxd();
    ours.plant();
    let root = |server: &Server, name: &str| tree::describe(&server.pool().join("containers").join(name).join("rootfs"));
    let planted = root(&ours, "c1");
    ours.run(&["publish", "c1", "--alias", "mine", "--compression", "zstd", "release=7"]);
    let path = ours.0.scratch().join("image").display().to_string();
    ours.run(&["image", "export", "mine", &path]);
    lxd.run(&["image", "import", &format!("{path}.tar.zst"), "--alias", "mine"]);
    lxd.run(&["init", "mine", "c1"]);
    same(&planted, &root(&lxd, "c1"));
    lxd.run(&["publish", "c1", "--alias", "theirs"]);
    let path = lxd.0.scratch().join("image").display().to_string();
    lxd.run(&["image", "export", "theirs", &path]);
    ours.run(&["image", "import", &format!("{path}.tar.gz"), "--alias", "theirs"]);
    ours.run(&["init", "theirs", "c2"]);
    same(&planted, &root(&ours, "c2"));
}

/// Expects that two descriptions are the same; LXD's archives do not say where a file's holes are, so those may be filled.
#[track_caller]
fn same(planted: &[String], found: &[String]) {
    let plain = |line: &String| line.replace(HOLE, "");
    let missing = planted.iter().filter(|line| !found.iter().any(|other| plain(other) == plain(line))).map(|line| format!("- {line}"));
    let more = found.iter().filter(|line| !planted.iter().any(|other| plain(other) == plain(line))).map(|line| format!("+ {line}"));
    let differences: Vec<String> = missing.chain(more).collect();
    assert!(differences.is_empty() && planted.len() == found.len(), "{}", differences.join("\n"));
}
