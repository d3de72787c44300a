//! `mount`: file systems on block devices that the instance was given, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use coffer_test_images::Release;
use coffer_testkit::{Daemon, images};

use super::{refused, script};
use crate::setting::{holds, ready_daemon};

/// A loop device over a file system, gone with the value.
pub(super) struct Disk {
    pub(super) node: String,
}

impl Disk {
    /// Makes a file system that holds what is in `content`; none where the host lacks something.
    pub(super) fn new(name: &str, kind: &str, content: &Path, scratch: &Path) -> Option<Self> {
        let file = scratch.join(name);
        let (size, program, words): (u64, String, Vec<&str>) = match kind {
            "squashfs" => (0, "mksquashfs".into(), vec![utf8(content), utf8(&file), "-quiet", "-no-progress"]),
            "xfs" => (300 << 20, "mkfs.xfs".into(), vec!["-q", utf8(&file)]),
            _ => (8 << 20, format!("mkfs.{kind}"), vec!["-q", "-d", utf8(content), utf8(&file)]),
        };
        if size > 0 {
            std::fs::File::create(&file).and_then(|file| file.set_len(size)).expect("the file below the loop device");
        }
        match Command::new(&program).args(words).output() {
            Ok(done) => assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr)),
            Err(error) => {
                coffer_testkit::skipped(&format!("{program}: {error}"));
                return None;
            }
        }
        let done = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().expect("losetup");
        let node = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        if node.is_empty() {
            coffer_testkit::skipped("no loop device to be had");
            return None;
        }
        Some(Self { node })
    }

    /// Whether the device is still over its file.
    fn is_there(&self) -> bool {
        Command::new("losetup").arg(&self.node).output().is_ok_and(|done| done.status.success())
    }

    /// Gives it to an instance.
    pub(super) fn give(&self, daemon: &Daemon, instance: &str, name: &str) {
        let (source, path) = (format!("source={}", self.node), format!("path=/dev/{name}"));
        daemon.coffer(["config", "device", "add", instance, name, "unix-block", &source, &path]).ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = Command::new("losetup").args(["--detach", &self.node]).status();
        }
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// What the file systems hold: a file of root's, and a node of `null`.
pub(super) fn content(daemon: &Daemon) -> PathBuf {
    let content = daemon.scratch().join("content");
    std::fs::create_dir_all(&content).expect("a directory");
    std::fs::write(content.join("file"), "from outside").expect("a file");
    let made = Command::new("mknod").arg(content.join("null")).args(["c", "1", "3"]).status().expect("mknod");
    assert!(made.success());
    content
}

pub(super) fn set(daemon: &Daemon, key: &str, value: &str) {
    daemon.coffer(["config", "set", "c1", &format!("security.syscalls.intercept.mount{key}={value}")]).ok();
}

/// A running instance that may mount ext4 from `/dev/disk1`.
fn mounting() -> Option<(Daemon, Disk)> {
    let daemon = ready_daemon()?;
    let disk = Disk::new("disk1", "ext4", &content(&daemon), &daemon.scratch())?;
    daemon.create_instance("small", "c1");
    for (key, value) in [("", "true"), (".allowed", "ext4"), (".shift", "true")] {
        set(&daemon, key, value);
    }
    disk.give(&daemon, "c1", "disk1");
    daemon.change_state("c1", "start");
    Some((daemon, disk))
}

#[test]
fn a_file_system_on_a_device_of_the_instance_is_mounted() {
    let Some((mut daemon, disk)) = mounting() else { return };
    let mounted = script(
        &daemon,
        "c1",
        "mkdir /srv/m && mount -t ext4 /dev/disk1 /srv/m && cat /srv/m/file && stat -c ' %u:%g' /srv/m/file && \
         echo inside > /srv/m/new && grep ' /srv/m ' /proc/mounts",
    );
    holds(&mounted, &["from outside 0:0", "/dev/disk1 /srv/m ext4 rw,nodev,relatime", "errors=remount-ro"]);
    // Nodes on it are none, and nobody inside can have it otherwise.
    holds(&refused(&daemon, "c1", "cat /srv/m/null"), &["Permission denied"]);
    holds(&refused(&daemon, "c1", "mount -o remount,bind,dev /srv/m"), &["ermi"]);
    script(
        &daemon,
        "c1",
        "mount -o remount,bind,ro,nodev /srv/m && ! touch /srv/m/no && mount -o remount,bind,rw,nodev /srv/m && touch /srv/m/yes",
    );
    // The host has none of it.
    let host = daemon.inside("cat", ["/proc/self/mountinfo"]).ok();
    assert!(!host.contains("/dev/disk1") && !host.contains(&disk.node), "{host}");
    script(&daemon, "c1", "umount /srv/m && [ ! -e /srv/m/file ]");
    // What was written is on the device; flags are taken as they are meant.
    let again = script(
        &daemon,
        "c1",
        "mount -t ext4 -o ro,noexec,noatime,data=ordered /dev/disk1 /srv/m && cat /srv/m/new && grep ' /srv/m ' /proc/mounts && \
         ! touch /srv/m/no 2>/dev/null && umount /srv/m",
    );
    holds(&again, &["inside", "ext4 ro,nodev,noexec,noatime"]);
    // Without a shift ids on disk are the host's, and set-id bits are of no effect.
    set(&daemon, ".shift", "false");
    let host_ids = script(
        &daemon,
        "c1",
        "mount -t ext4 /dev/disk1 /srv/m && stat -c %u:%g /srv/m/file && grep ' /srv/m ' /proc/mounts; umount /srv/m",
    );
    holds(&host_ids, &["65534:65534", "nosuid,nodev"]);
    // It is the monitor's work, whatever the daemon does.
    daemon.kill9();
    daemon.launch();
    script(&daemon, "c1", "mount -t ext4 /dev/disk1 /srv/m && umount /srv/m");
    set(&daemon, ".allowed", "xfs");
    holds(&refused(&daemon, "c1", "mount -t ext4 /dev/disk1 /srv/m"), &["ermi"]);
    daemon.coffer(["delete", "--force", "c1"]).ok();
    // Nothing of it is left that would keep the device.
    assert!(Command::new("losetup").args(["--detach", &disk.node]).status().is_ok_and(|done| done.success()));
    assert!(daemon.eventually(|| !disk.is_there()), "{} is still in use", disk.node);
}

#[test]
fn what_may_not_be_mounted_is_refused() {
    let Some((daemon, disk)) = mounting() else { return };
    let Some(other) = Disk::new("disk2", "ext4", &daemon.scratch().join("content"), &daemon.scratch()) else { return };
    script(&daemon, "c1", "mkdir /srv/m; touch /srv/file");
    // Other types, and none that is known.
    for kind in ["xfs", "squashfs", "btrfs", "vfat", "iso9660", "ext2", "debugfs", "tracefs"] {
        refused(&daemon, "c1", &format!("mount -t {kind} /dev/disk1 /srv/m"));
    }
    for (source, told) in [("/dev/null", "Block device"), ("/dev/none", "No such file"), ("/srv", "Block device")] {
        holds(&refused(&daemon, "c1", &format!("mount -i -t ext4 {source} /srv/m")), &[told]);
    }
    // Of a file busybox would make a loop device first.
    refused(&daemon, "c1", "mount -t ext4 /srv/file /srv/m");
    holds(&refused(&daemon, "c1", "mount -t ext4 /dev/disk1 /srv/none"), &["No such file"]);
    holds(&refused(&daemon, "c1", "mount -t ext4 /dev/disk1 /srv/file"), &["Not a directory"]);
    for options in ["errors=panic", "journal_dev=0x800", "journal_path=/dev/disk1", "sb=1", "context=x", "nosuchoption"] {
        holds(&refused(&daemon, "c1", &format!("mount -t ext4 -o {options} /dev/disk1 /srv/m")), &["Invalid argument"]);
    }
    // A node of a device that the instance was not given, in a directory of the host's.
    let shared = daemon.scratch().join("shared");
    std::fs::create_dir(&shared).expect("a directory");
    let number = other.node.trim_start_matches("/dev/loop");
    let made = Command::new("mknod").args(["-m", "666"]).arg(shared.join("disk2")).args(["b", "7", number]).status().expect("mknod");
    assert!(made.success());
    daemon.coffer(["config", "device", "add", "c1", "shared", "disk", &format!("source={}", shared.display()), "path=/srv/shared"]).ok();
    script(&daemon, "c1", "[ -b /srv/shared/disk2 ]");
    holds(&refused(&daemon, "c1", "mount -t ext4 /srv/shared/disk2 /srv/m"), &["ermi"]);
    // Once it has it, it may; and no more when it is taken away.
    other.give(&daemon, "c1", "disk2");
    script(&daemon, "c1", "mount -t ext4 /dev/disk2 /srv/m && umount /srv/m");
    daemon.coffer(["config", "device", "remove", "c1", "disk2"]).ok();
    holds(&refused(&daemon, "c1", "mount -t ext4 /srv/shared/disk2 /srv/m"), &["ermi"]);
    // Who is not root inside, or root of something smaller.
    let user = daemon.coffer(["exec", "c1", "--user", "1000", "--", "mount", "-t", "ext4", "/dev/disk1", "/srv/m"]).run();
    assert_ne!(user.code, 0, "{user}");
    holds(&refused(&daemon, "c1", "busybox unshare -U -r -m mount -t ext4 /dev/disk1 /srv/m"), &["ermi"]);
    // A node that a user of the instance alone may read.
    daemon.coffer(["config", "device", "set", "c1", "disk1", "mode=0400"]).ok();
    script(&daemon, "c1", "mount -t ext4 /dev/disk1 /srv/m && umount /srv/m");
    assert_eq!(script(&daemon, "c1", "grep -c /dev/disk1 /proc/mounts; true").trim(), "0");
    // Without the key nothing is mounted, and the usual mounts go on beside it.
    script(&daemon, "c1", "mount -t tmpfs none /srv/m && mount --bind /srv /mnt && umount /mnt && umount /srv/m");
    daemon.create_instance("small", "c2");
    disk.give(&daemon, "c2", "disk1");
    daemon.change_state("c2", "start");
    holds(&refused(&daemon, "c2", "mount -t ext4 /dev/disk1 /mnt"), &["ermi"]);
}

#[test]
fn it_is_mounted_where_its_caller_means_it() {
    let Some((daemon, _disk)) = mounting() else { return };
    script(
        &daemon,
        "c1",
        "mkdir -p /srv/m /srv/root/bin /srv/root/dev /srv/root/sub /srv/root/proc && cp /bin/busybox /srv/root/bin && \
         mount --bind /dev /srv/root/dev && ln -s /sub /srv/root/link && ln -s m /srv/link",
    );
    // Links and dots lead where they lead inside.
    script(&daemon, "c1", "cd /srv/root && mount -t ext4 ../../dev/disk1 ../link && [ -e /srv/m/file ] && umount /srv/m");
    let chrooted = "busybox chroot /srv/root /bin/busybox mount -t ext4 /dev/disk1";
    script(&daemon, "c1", &format!("{chrooted} /link && [ -e /srv/root/sub/file ] && [ ! -e /sub ] && umount /srv/root/sub"));
    script(&daemon, "c1", &format!("{chrooted} ../../../sub && [ -e /srv/root/sub/file ] && umount /srv/root/sub"));
    // Links of /proc would be followed in the monitor's place.
    for magic in ["/proc/1/root/srv/m", "/proc/self/cwd", "/proc/self/root/srv/m", "/proc/thread-self/root/srv/m"] {
        refused(&daemon, "c1", &format!("cd /srv/m && mount -t ext4 /dev/disk1 {magic}"));
    }
    refused(&daemon, "c1", "mount -t ext4 /proc/1/root/dev/disk1 /srv/m");
    assert_eq!(script(&daemon, "c1", "grep -c /dev/disk1 /proc/mounts; true").trim(), "0");
    // Root may go where only another may; the kernel counts its rights as it does elsewhere.
    script(&daemon, "c1", "mkdir -p -m 700 /srv/of/m && chown 1000 /srv/of && mount -t ext4 /dev/disk1 /srv/of/m && umount /srv/of/m");
    // In a mount namespace of its own it is there alone.
    script(&daemon, "c1", "busybox unshare -m sh -c 'mount -t ext4 /dev/disk1 /srv/m && [ -e /srv/m/file ]' && [ ! -e /srv/m/file ]");
    // Callers that are killed while they wait take nothing with them and leave nothing half.
    script(
        &daemon,
        "c1",
        "for i in $(seq 1 30); do mount -t ext4 /dev/disk1 /srv/m & kill -9 $!; done; wait; \
         while umount /srv/m 2>/dev/null; do :; done; mount -t ext4 /dev/disk1 /srv/m && [ -e /srv/m/file ] && umount /srv/m",
    );
    // And many at once, on each other.
    let many = "for i in $(seq 1 20); do mount -t ext4 /dev/disk1 /srv/m & done; wait; grep -c ' /srv/m ext4' /proc/mounts; \
                while umount /srv/m 2>/dev/null; do :; done; grep -c ' /srv/m ext4' /proc/mounts; true";
    assert_eq!(script(&daemon, "c1", many).split_whitespace().collect::<Vec<_>>(), ["20", "0"]);
}

#[test]
fn each_file_system_of_the_list_can_be_mounted() {
    let Some(daemon) = ready_daemon() else { return };
    let content = content(&daemon);
    daemon.create_instance("small", "c1");
    for (key, value) in [("", "true"), (".allowed", "ext4, xfs,squashfs,hugetlbfs"), (".shift", "true")] {
        set(&daemon, key, value);
    }
    let kinds = ["ext4", "xfs", "squashfs"];
    let disks: Vec<(&str, Disk)> =
        kinds.iter().filter_map(|kind| Some((*kind, Disk::new(kind, kind, &content, &daemon.scratch())?))).collect();
    disks.iter().for_each(|(kind, disk)| disk.give(&daemon, "c1", kind));
    daemon.change_state("c1", "start");
    let known = std::fs::read_to_string("/proc/filesystems").expect("the kernel's file systems");
    for (kind, _) in disks.iter().filter(|(kind, _)| known.lines().any(|line| line.trim() == *kind)) {
        let mounted = script(
            &daemon,
            "c1",
            &format!("mkdir /srv/{kind} && mount -t {kind} /dev/{kind} /srv/{kind} && grep ' /srv/{kind} ' /proc/mounts"),
        );
        holds(&mounted, &[&format!("/dev/{kind} /srv/{kind} {kind} r"), "nodev"]);
        if *kind != "xfs" {
            assert_eq!(script(&daemon, "c1", &format!("cat /srv/{kind}/file && stat -c ' %u' /srv/{kind}/file")).trim(), "from outside 0");
        }
    }
    if known.contains("hugetlbfs") {
        let huge = script(
            &daemon,
            "c1",
            "mkdir /srv/huge && mount -t hugetlbfs -o mode=0750,gid=7 none /srv/huge && stat -c '%u:%g %a' /srv/huge && grep huge /proc/mounts",
        );
        holds(&huge, &["0:7 750", "nosuid,nodev"]);
        holds(&refused(&daemon, "c1", "mount -t hugetlbfs -o min_size=2M none /srv/huge"), &["Invalid argument"]);
        holds(&refused(&daemon, "c1", "mount -t hugetlbfs -o uid=4000000 none /srv/huge"), &["Invalid argument"]);
    }
}

#[test]
fn programs_that_know_the_new_calls_take_the_old_one() {
    if images::debian(Release::Trixie).is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    let Some(disk) = Disk::new("disk1", "squashfs", &content(&daemon), &daemon.scratch()) else { return };
    daemon.import(&images::debian(Release::Trixie).expect("it was there").unified, "deb");
    daemon.coffer(["init", "deb", "c1"]).ok();
    for (key, value) in [("", "true"), (".allowed", "squashfs"), (".shift", "true")] {
        set(&daemon, key, value);
    }
    disk.give(&daemon, "c1", "disk1");
    daemon.change_state("c1", "start");
    // util-linux asks whether fsopen is there.
    assert_eq!(
        script(&daemon, "c1", "mount -t squashfs /dev/disk1 /mnt && cat /mnt/file && findmnt -n -o SOURCE /mnt").trim(),
        "from outside/dev/disk1"
    );
    script(&daemon, "c1", "mount -t tmpfs none /srv && umount /srv && umount /mnt");
}

#[test]
fn bad_lists_are_refused_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    for (list, told) in [("btrfs", "custom volume"), ("ext4,debugfs", "\"debugfs\""), ("nfs", "\"nfs\"")] {
        let key = "security.syscalls.intercept.mount.allowed";
        holds(&daemon.coffer(["config", "set", "c1", &format!("{key}={list}")]).fails(), &[key, told]);
    }
}
