//! Directories that the kernel filled from outside.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use coffer_image::{BackupVolume, Form, Unpacked};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::archives::METADATA;
use crate::world::{listing, unpacker};

fn settle(form: Form, top: &Path) -> Result<Unpacked, String> {
    let directory = File::open(top).unwrap();
    let volume = BackupVolume { name: "backup/container", form, directory: directory.as_fd() };
    unpacker().settle(&[volume]).map_err(|error| coffer_base::chain(&error))
}

/// An instance's directory, and what somebody put into it.
fn instance(add: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metadata.yaml"), METADATA).unwrap();
    fs::create_dir(dir.path().join("rootfs")).unwrap();
    add(dir.path());
    dir
}

fn node(path: &Path, kind: FileType, major: u32, minor: u32) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), makedev(major, minor)).unwrap();
}

#[test]
fn only_what_an_archive_could_hold_stays() {
    let dir = instance(|top| {
        fs::create_dir_all(top.join("rootfs/dev/disks")).unwrap();
        node(&top.join("rootfs/dev/disks/sda"), FileType::BlockDevice, 8, 0);
        node(&top.join("rootfs/dev/null"), FileType::CharacterDevice, 1, 3);
        node(&top.join("rootfs/dev/mem"), FileType::CharacterDevice, 1, 1);
        drop(UnixListener::bind(top.join("rootfs/socket")).unwrap());
        fs::write(top.join("rootfs/kept"), "kept").unwrap();
        fs::write(top.join("backup.yaml"), "container: {}").unwrap();
        fs::create_dir(top.join("state")).unwrap();
        node(&top.join("state/sdb"), FileType::BlockDevice, 8, 16);
        fs::create_dir(top.join("templates")).unwrap();
        fs::write(top.join("templates/hosts.tpl"), "x").unwrap();
        std::os::unix::fs::chown(top.join("templates/hosts.tpl"), Some(1000), Some(1000)).unwrap();
        fs::set_permissions(top, fs::Permissions::from_mode(0o777)).unwrap();
    });
    let unpacked = settle(Form::Instance, dir.path()).unwrap();
    let expect = "d 755 0:0 rootfs\nd 755 0:0 rootfs/dev\nd 755 0:0 rootfs/dev/disks\n? 644 0:0 rootfs/dev/null\n\
                  f 644 0:0 rootfs/kept \"kept\"\nd 755 0:0 templates\nf 644 0:0 templates/hosts.tpl \"x\"\n";
    assert_eq!(listing(dir.path()), expect);
    assert_eq!(fs::metadata(dir.path().join("rootfs/dev/null")).unwrap().rdev(), makedev(1, 3));
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o700);
    // The disks, the memory, the socket; the directory that an archive does not have.
    assert_eq!((unpacked.skipped_devices, unpacked.skipped_members), (4, 1));
}

#[test]
fn what_no_instance_is_is_refused() {
    let refused = |add: fn(&Path), expect: &str| {
        let said = settle(Form::Instance, instance(add).path()).expect_err("it must be refused");
        assert!(said.contains(expect), "{said}");
    };
    let without_root = |top: &Path| fs::remove_dir(top.join("rootfs")).unwrap();
    refused(without_root, "rootfs");
    refused(
        |top| {
            fs::remove_dir(top.join("rootfs")).unwrap();
            symlink("/", top.join("rootfs")).unwrap();
        },
        "rootfs",
    );
    refused(
        |top| {
            fs::remove_file(top.join("metadata.yaml")).unwrap();
            symlink("/etc/shadow", top.join("metadata.yaml")).unwrap();
        },
        "metadata.yaml",
    );
    refused(|top| symlink("/root", top.join("templates")).unwrap(), "templates");
}

#[test]
fn a_users_volume_and_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    node(&dir.path().join("sda"), FileType::BlockDevice, 8, 0);
    node(&dir.path().join("zero"), FileType::CharacterDevice, 1, 5);
    fs::write(dir.path().join("file"), "x").unwrap();
    assert_eq!(settle(Form::Files, dir.path()).unwrap().skipped_devices, 1);
    assert_eq!(listing(dir.path()), "f 644 0:0 file \"x\"\n? 644 0:0 zero\n");

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("root.img"), "disk").unwrap();
    fs::write(dir.path().join("other"), "x").unwrap();
    settle(Form::Disk, dir.path()).unwrap();
    assert_eq!(listing(dir.path()), "f 600 0:0 root.img \"disk\"\n");
    symlink("/dev/sda", dir.path().join("other")).unwrap();
    fs::remove_file(dir.path().join("root.img")).unwrap();
    symlink("/dev/sda", dir.path().join("root.img")).unwrap();
    assert!(settle(Form::Disk, dir.path()).unwrap_err().contains("root.img"));
}
