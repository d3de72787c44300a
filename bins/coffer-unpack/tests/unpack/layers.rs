//! Layers of OCI images, laid over each other.

use std::fs::File;
use std::os::fd::AsFd;

use coffer_base::Progress;
use coffer_image::Limits;
use tar::EntryType;

use crate::archives::{Archive, Member};
use crate::world::{file, listing, unpacker};

/// Unpacks layers, the lowest first.
fn unpack(layers: &[Archive]) -> Result<tempfile::TempDir, String> {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("volume");
    std::fs::create_dir(&inner).unwrap();
    let files: Vec<File> = layers.iter().map(|layer| file(&layer.clone().end())).collect();
    let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let target = File::open(&inner).unwrap();
    let done = unpacker().unpack_layers(&borrowed, target.as_fd(), Limits::default(), &Progress::default());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something beside the target was written");
    done.map(|_| dir).map_err(|error| coffer_base::chain(&error))
}

fn inspect(layers: &[Archive]) -> Result<(String, String), String> {
    let files: Vec<File> = layers.iter().map(|layer| file(&layer.clone().end())).collect();
    let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let accounts = unpacker().inspect_layers(&borrowed, Limits::default(), &Progress::default());
    accounts.map(|accounts| (accounts.passwd, accounts.group)).map_err(|error| coffer_base::chain(&error))
}

#[track_caller]
fn gives(layers: &[Archive], expect: &str) {
    let dir = unpack(layers).unwrap();
    let got = listing(&dir.path().join("volume"));
    let expect: String = expect.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    assert_eq!(got, expect, "\n{got}");
    inspect(layers).unwrap();
}

fn layer() -> Archive {
    Archive::default()
}

#[test]
fn later_layers_lie_over_earlier_ones() {
    let lowest = layer()
        .dir("etc/")
        .file("etc/hosts", "old")
        .file("etc/kept", "kept")
        .symlink("link", "etc")
        .dir("tree/deep")
        .file("tree/deep/x", "y");
    let upper = layer().file("etc/hosts", "new").dir("link").file("link/own", "1").file("tree", "a file now");
    gives(
        &[lowest, upper],
        "d 755 0:0 rootfs
         d 755 0:0 rootfs/etc
         f 644 0:0 rootfs/etc/hosts \"new\"
         f 644 0:0 rootfs/etc/kept \"kept\"
         d 755 0:0 rootfs/link
         f 644 0:0 rootfs/link/own \"1\"
         f 644 0:0 rootfs/tree \"a file now\"",
    );
}

#[test]
fn whiteouts_take_away_what_lies_below_and_nothing_of_their_own_layer() {
    let lowest =
        layer().dir("a").file("a/one", "1").file("a/two", "2").dir("b/c").file("b/c/three", "3").file("d", "4").dir("e").file("e/old", "5");
    // Wherever they stand in the archive.
    let upper = layer()
        .file("a/one", "new")
        .file("a/.wh.one", "")
        .file("e/new", "6")
        .file("e/.wh..wh..opq", "")
        .file(".wh.b", "")
        .file(".wh.none", "");
    let upper = upper.file("a/.wh..wh.plnk", "").file("nowhere/.wh.x", "");
    gives(
        &[lowest, upper],
        "d 755 0:0 rootfs
         d 755 0:0 rootfs/a
         f 644 0:0 rootfs/a/one \"new\"
         f 644 0:0 rootfs/a/two \"2\"
         f 644 0:0 rootfs/d \"4\"
         d 755 0:0 rootfs/e
         f 644 0:0 rootfs/e/new \"6\"",
    );
    // In the lowest layer there is nothing to take away.
    gives(&[layer().file("x", "1").file(".wh.x", "")], "d 755 0:0 rootfs\nf 644 0:0 rootfs/x \"1\"");
}

#[test]
fn links_are_taken_away_and_never_followed() {
    let lowest = layer().dir("etc").file("etc/passwd", "p").symlink("out", "/").symlink("dir", "etc");
    // The link itself goes; and a path through a link stays in the root.
    gives(
        &[lowest.clone(), layer().file(".wh.dir", "").file("out/etc/.wh.passwd", "")],
        "d 755 0:0 rootfs
         d 755 0:0 rootfs/etc
         l 777 0:0 rootfs/out -> /",
    );
    // A hard link to a file below, which is then replaced: the other name keeps its content.
    gives(
        &[lowest, layer().hard_link("copy", "etc/passwd").file("etc/passwd", "new").file(".wh.out", "").file(".wh.dir", "")],
        "d 755 0:0 rootfs
         f 644 0:0 rootfs/copy \"p\"
         d 755 0:0 rootfs/etc
         f 644 0:0 rootfs/etc/passwd \"new\"",
    );
}

#[test]
fn hostile_layers_are_refused_and_write_nothing_outside() {
    let lowest = layer().dir("a").file("a/x", "1").symlink("up", "../../../..");
    let refused = |upper: Archive, expect: &str| {
        let layers = [lowest.clone(), upper];
        let error = unpack(&layers).map(drop).expect_err("this layer must be refused");
        assert!(error.contains(expect), "{error}");
    };
    for name in ["a/.wh.", "a/.wh..", "a/.wh...", ".wh..."] {
        refused(layer().file(name, ""), "takes away something that has no name of its own");
        assert!(inspect(&[layer().file(name, "")]).is_err(), "{name}");
    }
    refused(layer().file("../x", ""), "leaves the archive by \"..\"");
    refused(layer().file("a/../../.wh.x", ""), "leaves the archive by \"..\"");
    refused(layer().hard_link("h", "/../../etc/shadow"), "leaves the archive by \"..\"");
    refused(layer().hard_link("h", "etc/shadow"), "which is not there");
    refused(layer().file("a/x/y", ""), "no directory of the image");
    // Through a link upwards it is still the root.
    let dir = unpack(&[lowest.clone(), layer().file("up/canary", "1").file("up/.wh.a", "")]).unwrap();
    let volume = dir.path().join("volume/rootfs");
    assert!(volume.join("canary").exists() && !volume.join("a").exists());
}

#[test]
fn devices_are_left_out_and_accounts_are_told() {
    let lowest = layer().file("etc/passwd", "root:x:0:0::/root:/bin/sh\n").file("etc/group", "root:x:0:\n");
    let lowest = lowest.member(Member::of("dev/null", EntryType::Char));
    assert_eq!(inspect(std::slice::from_ref(&lowest)).unwrap(), ("root:x:0:0::/root:/bin/sh\n".into(), "root:x:0:\n".into()));
    let upper = layer().file("etc/passwd", "web:x:7:8::/srv:/bin/sh\n").file("etc/.wh.group", "");
    assert_eq!(inspect(&[lowest.clone(), upper]).unwrap(), ("web:x:7:8::/srv:/bin/sh\n".into(), String::new()));
    assert_eq!(inspect(&[lowest.clone(), layer().file(".wh.etc", "")]).unwrap(), (String::new(), String::new()));
    assert_eq!(inspect(&[lowest.clone(), layer().file("etc/.wh..wh..opq", "")]).unwrap(), (String::new(), String::new()));
    assert_eq!(inspect(&[lowest, layer().symlink("etc/passwd", "/etc/shadow")]).unwrap().0, "root:x:0:0::/root:/bin/sh\n");
}
