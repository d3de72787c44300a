//! `disk`: directories, files and file systems in memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use coffer_testkit::Daemon;
use serde_json::json;

use super::{add, inside, refused, remove};
use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Makes a directory of the host with a file in it, and names it for the API.
fn source(daemon: &Daemon, name: &str) -> (PathBuf, String) {
    let directory = daemon.scratch().join(name);
    fs::create_dir_all(&directory).expect("a directory to share");
    fs::write(directory.join("hello"), "from the host\n").expect("a directory to share");
    let text = directory.display().to_string();
    (directory, text)
}

#[test]
fn the_tutorials_directory_is_shared_and_taken_away() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "test");
    let (directory, text) = source(&daemon, "src");
    let source = format!("source={text}");
    daemon.lxc(["config", "device", "add", "test", "srcdir", "disk", "path=/home/ubuntu/src", &source, "shift=true"]).clean();
    assert_eq!(inside(&daemon, "test", "cat /home/ubuntu/src/hello"), "from the host");
    inside(&daemon, "test", "echo from inside > /home/ubuntu/src/made && chown 1000:1000 /home/ubuntu/src/made");
    assert_eq!(fs::read_to_string(directory.join("made")).unwrap(), "from inside\n");
    let made = fs::metadata(directory.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1000), "the same number on both sides");
    holds(&inside(&daemon, "test", "mount"), &["/home/ubuntu/src"]);
    holds(&inside(&daemon, "test", "df"), &["/home/ubuntu/src"]);

    assert_eq!(daemon.lxc(["config", "device", "get", "test", "srcdir", "path"]).clean(), "/home/ubuntu/src\n");
    assert_eq!(daemon.lxc(["config", "device", "list", "test"]).clean(), "srcdir\n");
    holds(
        &daemon.lxc(["config", "device", "show", "test"]).clean(),
        &["srcdir:", "path: /home/ubuntu/src", "shift: \"true\"", "type: disk"],
    );
    daemon.lxc(["config", "device", "set", "test", "srcdir", "readonly=true"]).clean();
    assert_ne!(daemon.coffer(["exec", "test", "--", "touch", "/home/ubuntu/src/no"]).run().code, 0, "it is read-only now");
    daemon.lxc(["config", "device", "unset", "test", "srcdir", "readonly"]).clean();
    inside(&daemon, "test", "touch /home/ubuntu/src/yes");

    daemon.change_state("test", "restart");
    assert_eq!(inside(&daemon, "test", "cat /home/ubuntu/src/hello"), "from the host");
    daemon.lxc(["config", "device", "remove", "test", "srcdir"]).clean();
    assert_eq!(inside(&daemon, "test", "ls /home/ubuntu/src"), "");
    assert!(!inside(&daemon, "test", "mount").contains("/home/ubuntu/src"));
}

#[test]
fn a_profiles_disk_is_overridden() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    let (_, one) = source(&daemon, "one");
    let (two_directory, two) = source(&daemon, "two");
    fs::write(two_directory.join("second"), "").unwrap();
    daemon.lxc(["profile", "device", "add", "default", "data", "disk", "path=/data", &format!("source={one}")]).clean();
    assert_eq!(inside(&daemon, "c1", "ls /data"), "hello", "an instance that runs has its profile's new disk");
    daemon.lxc(["config", "device", "override", "c1", "data", &format!("source={two}")]).clean();
    assert_eq!(inside(&daemon, "c1", "ls /data"), "hello\nsecond");
    daemon.lxc(["config", "device", "remove", "c1", "data"]).clean();
    assert_eq!(inside(&daemon, "c1", "ls /data"), "hello");
    daemon.lxc(["config", "device", "add", "c1", "data", "none"]).clean();
    assert_eq!(inside(&daemon, "c1", "ls /data"), "");
}

#[test]
fn a_readonly_disk_cannot_be_mounted_writable_again() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (directory, text) = source(&daemon, "ro");
    add(&daemon, "c1", "ro", &json!({"type": "disk", "path": "/mnt/ro", "source": text, "readonly": "true", "shift": "true"}));
    let script = "touch /mnt/ro/a 2>&1; mount -o remount,rw,bind /mnt/ro 2>&1; touch /mnt/ro/b 2>&1; true";
    holds(&inside(&daemon, "c1", script), &["Read-only file system"]);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1, "nothing was written");
    // Device nodes of the host's directory have no effect inside either.
    assert!(inside(&daemon, "c1", "grep ' /mnt/ro ' /proc/mounts").contains("nodev"));
}

#[test]
fn one_file_is_shared() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (_, text) = source(&daemon, "src");
    add(&daemon, "c1", "file", &json!({"type": "disk", "path": "/etc/from-host/hello", "source": format!("{text}/hello")}));
    assert_eq!(inside(&daemon, "c1", "cat /etc/from-host/hello"), "from the host");
    remove(&daemon, "c1", "file");
    assert_eq!(inside(&daemon, "c1", "cat /etc/from-host/hello"), "");
}

#[test]
fn memory_is_a_disk_of_its_size() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    add(&daemon, "c1", "ram", &json!({"type": "disk", "path": "/ram", "source": "tmpfs:", "size": "4MiB"}));
    assert_eq!(inside(&daemon, "c1", "df -k /ram | tail -1 | tr -s ' ' | cut -d' ' -f2"), "4096");
    inside(&daemon, "c1", "echo kept > /ram/file && chown 7:7 /ram/file");
    assert_ne!(daemon.coffer(["exec", "c1", "--", "dd", "if=/dev/zero", "of=/ram/big", "bs=1M", "count=5"]).run().code, 0);
    remove(&daemon, "c1", "ram");
    assert_eq!(inside(&daemon, "c1", "ls /ram"), "");
    add(&daemon, "c1", "ram", &json!({"type": "disk", "path": "/ram", "source": "tmpfs:", "size": "1MiB"}));
    daemon.change_state("c1", "restart");
    assert_eq!(inside(&daemon, "c1", "df -k /ram | tail -1 | tr -s ' ' | cut -d' ' -f2"), "1024");
}

#[test]
fn mounts_below_come_along_and_new_ones_follow_if_asked() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (directory, text) = source(&daemon, "tree");
    let mount = |name: &str| {
        let place = directory.join(name);
        fs::create_dir_all(&place).unwrap();
        daemon.inside("mount", ["-t", "tmpfs", "tmpfs", &place.display().to_string()]).ok();
        daemon.inside("touch", [place.join("deep").display().to_string()]).ok();
    };
    daemon.inside("mount", ["--bind", "--make-shared", &text, &text]).ok();
    mount("before");
    add(&daemon, "c1", "flat", &json!({"type": "disk", "path": "/flat", "source": text}));
    let recursive = json!({"type": "disk", "path": "/tree", "source": text, "recursive": "true", "propagation": "rslave"});
    add(&daemon, "c1", "tree", &recursive);
    assert_eq!(inside(&daemon, "c1", "ls /flat/before; ls /tree/before"), "deep");
    mount("after");
    assert_eq!(inside(&daemon, "c1", "ls /flat/after; ls /tree/after"), "deep", "slave: what the host mounts later is seen");
    inside(&daemon, "c1", "mkdir -p /tree/mine; mount -t tmpfs tmpfs /tree/before && touch /tree/before/inside-only");
    assert!(!daemon.inside("ls", [directory.join("before").display().to_string()]).ok().contains("inside-only"), "never the other way");
    remove(&daemon, "c1", "flat");
}

#[test]
fn a_missing_source_is_an_error_unless_it_is_not_required() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let missing = daemon.scratch().join("missing").display().to_string();
    let text = refused(&daemon, "c1", &json!({"type": "disk", "path": "/m", "source": missing}));
    holds(&text, &["dev", &missing, "does not exist", "required=false"]);
    assert!(daemon.api().get("/1.0/instances/c1")["devices"]["dev"].is_null(), "a refused device is not kept");
    for keys in [json!({"required": "false"}), json!({"optional": "true"})] {
        let mut device = json!({"type": "disk", "path": "/m", "source": missing});
        device.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        add(&daemon, "c1", "dev", &device);
        remove(&daemon, "c1", "dev");
    }
    daemon.change_state("c1", "stop");
    let body = json!({"devices": {"dev": {"type": "disk", "path": "/m", "source": missing}}});
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&body));
    holds(&daemon.coffer(["start", "c1"]).fails(), &["dev", "does not exist"]);
    assert_eq!(daemon.instance_state("c1")["status"], "Stopped");
}

#[test]
fn when_one_device_of_a_change_fails_the_others_are_as_before() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (_, text) = source(&daemon, "src");
    add(&daemon, "c1", "a", &json!({"type": "disk", "path": "/a", "source": text}));
    let missing = daemon.scratch().join("missing").display().to_string();
    let devices = json!({
        "a": {"type": "disk", "path": "/moved", "source": text},
        "b": {"type": "disk", "path": "/b", "source": text},
        "c": {"type": "disk", "path": "/c", "source": missing},
    });
    daemon.api().refused("PATCH", "/1.0/instances/c1", Some(&json!({ "devices": devices })), 400);
    assert_eq!(inside(&daemon, "c1", "cat /a/hello; ls /moved /b"), "from the host\n/b:\n\n/moved:");
    assert_eq!(daemon.api().get("/1.0/instances/c1")["devices"]["a"]["path"], "/a");
    remove(&daemon, "c1", "a");
}

#[test]
fn a_target_never_leads_out_of_the_instance() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (_, text) = source(&daemon, "src");
    let host = daemon.scratch().join("not-here");
    fs::create_dir_all(&host).unwrap();
    inside(&daemon, "c1", &format!("mkdir -p /x; ln -s {} /x/link; ln -s / /x/root", host.display()));
    for path in ["/x/link", "/x/link/deeper", "/x/root/y", "/proc/self/root", "/../x"] {
        let body = json!({"devices": {"dev": {"type": "disk", "path": path, "source": text}}});
        let answer = daemon.api().request("PATCH", "/1.0/instances/c1", Some(&body)).unwrap();
        assert!(answer.status >= 400, "{path}: {}", answer.json());
    }
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    assert!(daemon.world().about(&host.display().to_string()).iter().all(|fact| !fact.starts_with("mount")));
}

#[test]
fn a_source_that_is_swapped_later_stays_what_it_was() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (directory, text) = source(&daemon, "src");
    add(&daemon, "c1", "dev", &json!({"type": "disk", "path": "/src", "source": text}));
    fs::rename(&directory, daemon.scratch().join("moved")).unwrap();
    symlink("/etc", &directory).unwrap();
    assert_eq!(inside(&daemon, "c1", "ls /src"), "hello");
    let node = refused(&daemon, "c1", &json!({"type": "disk", "path": "/n", "source": "/dev/null"}));
    holds(&node, &["dev", "/dev/null", "unix-char"]);
}

/// What the files of I/O limits say in a group and those below.
fn io_limits(group: &Path) -> String {
    let files = ["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device", "io.max"];
    let own: String = files.iter().map(|file| fs::read_to_string(group.join(file)).unwrap_or_default()).collect();
    let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    own + &below.map(|path| io_limits(&path)).collect::<String>()
}

#[test]
fn io_is_limited_and_the_limit_changes_live() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (_, text) = source(&daemon, "src");
    let disk = |keys: serde_json::Value| {
        let mut device = json!({"type": "disk", "path": "/src", "source": text});
        device.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        device
    };
    let throttled = || daemon.pen().cgroups().iter().map(|group| io_limits(group)).collect::<String>();
    add(&daemon, "c1", "dev", &disk(json!({})));
    assert!(!throttled().contains("30000000"), "{}", throttled());
    add(&daemon, "c1", "dev", &disk(json!({"limits.read": "30MB", "limits.write": "77iops"})));
    assert!(throttled().contains("30000000") && throttled().contains("77"), "{}", throttled());
    add(&daemon, "c1", "dev", &disk(json!({"limits.max": "20MB"})));
    assert!(throttled().contains("20000000") && !throttled().contains("30000000"), "{}", throttled());
    daemon.change_state("c1", "restart");
    assert!(throttled().contains("20000000"), "{}", throttled());
    remove(&daemon, "c1", "dev");
    assert!(!throttled().contains("20000000"), "{}", throttled());
    let memory = refused(&daemon, "c1", &json!({"type": "disk", "path": "/src", "source": "/proc", "limits.max": "1MB"}));
    holds(&memory, &["dev", "limits", "proc"]);
}

#[test]
fn the_owner_of_a_source_is_a_user_inside() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let (directory, text) = source(&daemon, "src");
    // An id that no instance has of its own, and none that a plain shift reaches.
    let (uid, gid) = (1_234_567, 1_234_568);
    chown(&directory, Some(uid), Some(gid)).unwrap();
    chown(directory.join("hello"), Some(uid), Some(gid)).unwrap();
    let owned = |inside: &str| json!({"type": "disk", "path": "/src", "source": text, "owner.inside": inside});
    add(&daemon, "c1", "dev", &owned("1000:1000"));
    assert_eq!(inside(&daemon, "c1", "stat -c %u:%g /src/hello"), "1000:1000");
    add(&daemon, "c1", "dev", &owned("0:0"));
    assert_eq!(inside(&daemon, "c1", "stat -c %u:%g /src/hello"), "0:0", "a change takes effect at once");
    inside(&daemon, "c1", "touch /src/made");
    let made = fs::metadata(directory.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (uid, gid));
}
