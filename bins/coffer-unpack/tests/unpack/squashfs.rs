//! Squashfs images made by `mksquashfs`.

use std::path::Path;

use coffer_base::run::{Program, installed};
use coffer_image::Limits;

use crate::archives::{Archive, SAMPLE, sample};
use crate::world::{Image, listing};

/// Packs a directory, or says why it cannot.
fn squash(dir: &Path, options: &[&str]) -> Option<Vec<u8>> {
    if !installed("mksquashfs") {
        println!("skipped: mksquashfs (package squashfs-tools) is not installed");
        return None;
    }
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("image.squashfs");
    let made = Program::new("mksquashfs").arg(dir).arg(&file).args(["-noappend", "-no-progress", "-quiet"]).args(options).run();
    if let Err(error) = made {
        println!("skipped: {error}");
        return None;
    }
    Some(std::fs::read(file).unwrap())
}

fn image(rootfs: Vec<u8>) -> Image {
    Image::split(Archive::image().end(), rootfs)
}

/// Files of all sizes: none, ends in fragments, whole blocks, several blocks, holes.
fn sizes(dir: &Path) {
    for size in [0, 1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 1_000_000] {
        let content: Vec<u8> = (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(dir.join(format!("size-{size}")), content).unwrap();
    }
    let sparse = std::fs::File::create(dir.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 50 << 20).unwrap();
    std::fs::create_dir(dir.join("many")).unwrap();
    for number in 0..700 {
        std::fs::write(dir.join(format!("many/{number}")), number.to_string()).unwrap();
    }
}

#[test]
fn every_compression_gives_what_was_packed() {
    let (packed, _) = Image::unified(sample().end()).unpack().unwrap();
    let rootfs = packed.path().join("rootfs");
    sizes(&rootfs);
    rustix::fs::setxattr(rootfs.join("bin/su"), "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(rootfs.join("mail"), "user.big", &[7; 3000], rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(rootfs.join("size-0"), "user.big", &[7; 3000], rustix::fs::XattrFlags::empty()).unwrap();
    let expect: String =
        listing(packed.path()).lines().filter(|line| !line.contains("templates")).map(|line| format!("{line}\n")).collect();
    assert!(expect.starts_with("d 755 0:0 rootfs\nd 755 0:0 rootfs/bin\nf 4755 0:8 rootfs/bin/su"), "{expect}");
    let variants: [&[&str]; 8] = [
        &["-comp", "gzip"],
        &["-comp", "xz"],
        &["-comp", "xz", "-Xbcj", "x86"],
        &["-comp", "zstd"],
        &["-comp", "zstd", "-b", "4096"],
        &["-comp", "zstd", "-b", "1M"],
        &["-comp", "gzip", "-noI", "-noD", "-noF", "-noX"],
        &["-comp", "gzip", "-no-fragments"],
    ];
    for options in variants {
        let Some(bytes) = squash(&rootfs, options) else { continue };
        let (dir, unpacked) = image(bytes).unpack().unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!(listing(dir.path()), expect, "{options:?}");
        let root = dir.path().join("rootfs");
        for entry in std::fs::read_dir(&rootfs).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
            let name = entry.file_name();
            assert!(std::fs::read(root.join(&name)).unwrap() == std::fs::read(rootfs.join(&name)).unwrap(), "{options:?} {name:?}");
        }
        use std::os::unix::fs::MetadataExt;
        let metadata = |name: &str| std::fs::metadata(root.join(name)).unwrap();
        assert_eq!(metadata("bin/su").ino(), metadata("bin/sudo").ino(), "hard links");
        assert_eq!(metadata("mail").mtime(), std::fs::metadata(rootfs.join("mail")).unwrap().mtime());
        assert!(metadata("sparse").blocks() < 100, "holes");
        let mut value = [0; 4000];
        assert_eq!(rustix::fs::getxattr(root.join("bin/su"), "user.note", &mut value).unwrap(), 4);
        assert_eq!(rustix::fs::getxattr(root.join("size-0"), "user.big", &mut value).unwrap(), 3000);
        assert_eq!(rustix::fs::getxattr(root.join("mail"), "user.big", &mut value).unwrap(), 3000);
        assert_eq!(unpacked.skipped_devices, 0);
    }
    assert!(SAMPLE.contains("rootfs"));
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "y").unwrap();
    for name in ["lz4", "lzo"] {
        let Some(bytes) = squash(dir.path(), &["-comp", name]) else { continue };
        image(bytes).refused(&format!("squashfs compressed by {name} is not supported"));
    }
}

#[test]
fn limits_hold_here_too() {
    let dir = tempfile::tempdir().unwrap();
    sizes(dir.path());
    let Some(bytes) = squash(dir.path(), &["-comp", "gzip"]) else { return };
    let image = image(bytes);
    let unpack = |limits| image.unpack_into(tempfile::tempdir().unwrap().path(), limits).unwrap_err();
    assert!(unpack(Limits { bytes: 1 << 20, files: 10_000 }).contains("more than 1048576 bytes"));
    assert!(unpack(Limits { bytes: 1 << 30, files: 100 }).contains("more than 100 files"));
    assert!(image.inspect(true, Limits { bytes: 1 << 30, files: 100 }).unwrap_err().contains("more than 100 files"));
}

#[test]
fn damage_is_an_answer_never_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    sizes(dir.path());
    std::os::unix::fs::symlink("many/1", dir.path().join("link")).unwrap();
    let Some(bytes) = squash(dir.path(), &["-comp", "gzip"]) else { return };
    let used = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    for length in (0..used).step_by(used / 20 + 1) {
        assert!(image(bytes[..length].to_vec()).unpack().is_err(), "cut to {length} bytes");
        assert!(image(bytes[..length].to_vec()).inspect(true, Limits::default()).is_err(), "cut to {length} bytes");
    }
    // The superblock and the tables at the end are where a change does most.
    let mut seed = 1_u64;
    let limits = Limits { bytes: 64 << 20, files: 5000 };
    for round in 0..60 {
        let mut damaged = bytes.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize;
            let at = if round % 2 == 0 { at % 96 } else { used - 1 - at % 4000 };
            damaged[at] ^= (seed >> 20) as u8 | 1;
        }
        let target = tempfile::tempdir().unwrap();
        if let Err(error) = image(damaged).unpack_into(target.path(), limits) {
            assert!(!error.contains("the unpacker ended"), "round {round}: {error}");
        }
    }
}
