//! Archives that are cut anywhere, or grow beyond all bounds: refused in bounded time and memory.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use coffer_base::run::{Program, installed};
use coffer_image::Limits;
use tar::EntryType;

use crate::archives::{Archive, METADATA, Member, pax_records};
use crate::world::{Image, listing};

/// What reading may take, whatever is read: the decompressors' own bound and some room.
const MEMORY: u64 = 700 << 20;

/// Small enough that a test of it is quick.
const SMALL: Limits = Limits { bytes: 16 << 20, files: 10_000 };

/// Checks that unpacking and inspecting are refused with these words, soon, by a process that stays small.
#[track_caller]
fn bounded(image: &Image, limits: Limits, expect: &str) {
    let began = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let unpacked = image.unpack_into(&make(dir.path(), "inner"), limits).unwrap_err();
    assert!(unpacked.contains(expect), "{unpacked}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something beside the target was written");
    let inspected = image.inspect(true, limits).unwrap_err();
    assert!(inspected.contains(expect), "{inspected}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(peak() < MEMORY, "{} MiB", peak() >> 20);
}

fn make(dir: &Path, name: &str) -> std::path::PathBuf {
    std::fs::create_dir(dir.join(name)).unwrap();
    dir.join(name)
}

/// The most memory that any process had which this one has waited for, in bytes.
fn peak() -> u64 {
    coffer_sys::process::peak_memory_of_children().unwrap()
}

#[test]
fn every_prefix_of_an_archive_is_refused() {
    // Content that does not compress, so that the compressed archives have many prefixes too.
    let noise: Vec<u8> = (0..6_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let member = Member { content: &noise, ..Member::of("rootfs/noise", EntryType::Regular) };
    let plain = crate::archives::sample().member(member).end();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    // Of the plain archive's end one block of zeros is enough.
    let whole = plain.len() - 512;
    for (archive, whole) in [(&plain, whole), (&gzip, gzip.len()), (&xz, xz.len()), (&zstd, zstd.len())] {
        assert!(Image::unified(archive.clone()).unpack().is_ok());
        for length in (0..whole).step_by(511) {
            let image = Image::unified(archive[..length].to_vec());
            let dir = tempfile::tempdir().unwrap();
            let error = image.unpack_into(&make(dir.path(), "inner"), Limits::default()).expect_err("half an archive");
            assert!(!error.contains("the unpacker ended"), "{length}: {error}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{length}: something beside the target was written");
            for whole in [true, false] {
                let error = image.inspect(whole, Limits::default()).expect_err("half an archive");
                assert!(!error.contains("the unpacker ended"), "{length}: {error}");
            }
        }
    }
}

#[test]
fn bombs_of_every_compression_end_at_the_limit() {
    let start = Archive::image().dir("rootfs").end();
    let zeros = vec![0; 8 << 20];
    // One stream of 8 MiB of zeros, two hundred times in a row: 1.6 GiB in a few MiB, and no time to make.
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let bzip2 = |bytes: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let xz = |bytes: &[u8]| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let bombs = [
        [gzip(&start), gzip(&zeros).repeat(200)],
        [bzip2(&start), bzip2(&zeros).repeat(200)],
        [xz(&start), xz(&zeros).repeat(200)],
        [zstd(&start), zstd(&zeros).repeat(200)],
    ];
    for bomb in bombs {
        let bomb = bomb.concat();
        assert!(bomb.len() < 32 << 20, "{}", bomb.len());
        bounded(&Image::unified(bomb), SMALL, "which is the limit here");
    }
}

#[test]
fn a_million_files_end_at_the_limit() {
    let block = Archive::default().file("rootfs/x", "").unfinished();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&Archive::image().unfinished()).unwrap();
    let thousand = block.repeat(1000);
    (0..1000).for_each(|_| encoder.write_all(&thousand).unwrap());
    encoder.write_all(&[0; 1024]).unwrap();
    let limits = Limits { bytes: 1 << 30, ..SMALL };
    bounded(&Image::unified(encoder.finish().unwrap()), limits, "more than 10000 files");
}

#[test]
fn names_and_attributes_do_not_fill_memory() {
    // Directories get their attributes at the end: until then these are remembered.
    let value = vec![b'v'; 60 << 10];
    let mut records = pax_records(&[("SCHILY.xattr.user.a", value.as_slice())]);
    records.extend_from_slice(&pax_records(&[("SCHILY.xattr.user.b", value.as_slice())]));
    let directory = Archive::default().extended(b'x', &records).dir("rootfs/d").unfinished();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&Archive::image().unfinished()).unwrap();
    (0..3000).for_each(|_| encoder.write_all(&directory).unwrap());
    encoder.write_all(&[0; 1024]).unwrap();
    let image = Image::unified(encoder.finish().unwrap());
    let error = image.unpack_into(tempfile::tempdir().unwrap().path(), Limits::default()).unwrap_err();
    assert!(error.contains("bytes of names and attributes, which is the limit here"), "{error}");
    assert!(peak() < MEMORY, "{} MiB", peak() >> 20);
}

/// Packs a directory with its tables uncompressed, so that a test can lie in them.
fn squash(dir: &Path) -> Option<Vec<u8>> {
    if !installed("mksquashfs") {
        println!("skipped: mksquashfs (package squashfs-tools) is not installed");
        return None;
    }
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("image.squashfs");
    Program::new("mksquashfs").arg(dir).arg(&file).args(["-noappend", "-no-progress", "-quiet", "-noI", "-comp", "gzip"]).run().unwrap();
    Some(std::fs::read(file).unwrap())
}

fn image(rootfs: Vec<u8>) -> Image {
    Image::split(Archive::image().end(), rootfs)
}

#[test]
fn every_prefix_of_a_squashfs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let noise: Vec<u8> = (0..20_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    std::fs::write(dir.path().join("a/b/noise"), noise).unwrap();
    let Some(bytes) = squash(dir.path()) else { return };
    let used = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    for length in (0..used).step_by(511) {
        let cut = image(bytes[..length].to_vec());
        for error in [cut.unpack().map(drop).unwrap_err(), cut.inspect(true, Limits::default()).map(drop).unwrap_err()] {
            assert!(!error.contains("the unpacker ended"), "{length}: {error}");
        }
    }
}

#[test]
fn one_block_in_many_files_of_a_squashfs_counts_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    for number in 0..40 {
        std::fs::write(dir.path().join(number.to_string()), &content).unwrap();
    }
    let Some(bytes) = squash(dir.path()) else { return };
    assert!(bytes.len() < 4 << 20, "mksquashfs stores the same content once");
    let error = image(bytes).unpack_into(tempfile::tempdir().unwrap().path(), SMALL).unwrap_err();
    assert!(error.contains("more than 16777216 bytes"), "{error}");
}

/// Makes each of the named directories in the root be the root itself.
fn make_circular(bytes: &mut [u8], names: &[&str]) {
    let root = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let offset = u16::try_from(root & 0xffff).unwrap().to_le_bytes();
    for name in names {
        let at = bytes.windows(name.len()).rposition(|window| window == name.as_bytes()).expect("an uncompressed directory");
        bytes[at - 8..at - 6].copy_from_slice(&offset);
    }
}

#[test]
fn a_squashfs_that_contains_itself_ends() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["first-circle", "second-circle"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let Some(bytes) = squash(dir.path()) else { return };
    // Down one way without end: the longest name ends it.
    let mut deep = bytes.clone();
    make_circular(&mut deep, &["first-circle"]);
    bounded(&image(deep), SMALL, "its name is too long");
    // Twice as many with each step down: the names are counted.
    let mut wide = bytes;
    make_circular(&mut wide, &["first-circle", "second-circle"]);
    bounded(&image(wide), Limits { files: 600, ..SMALL }, "more than 600 files");
}

#[test]
fn a_squashfs_that_claims_more_inodes_than_can_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "y").unwrap();
    let Some(mut bytes) = squash(dir.path()) else { return };
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    bounded(&image(bytes), Limits::default(), "files, which is the limit here");
}

#[test]
fn a_member_that_comes_twice_replaces_and_stays_inside() {
    let archive = Archive::default().file("metadata.yaml", METADATA).dir("rootfs/").dir("rootfs/etc");
    let archive = archive.symlink("rootfs/etc/shadow", "/etc/shadow").file("rootfs/etc/shadow", "own").symlink("rootfs/etc/link", "shadow");
    let archive = archive.file("rootfs/etc/link", "no link").hard_link("rootfs/etc/again", "rootfs/etc/link").file("rootfs/etc/again", "3");
    let (dir, _) = Image::unified(archive.end()).unpack().unwrap();
    let expect = "d 755 0:0 rootfs\nd 755 0:0 rootfs/etc\nf 644 0:0 rootfs/etc/again \"3\"\nf 644 0:0 rootfs/etc/link \"no link\"\n\
        f 644 0:0 rootfs/etc/shadow \"own\"\n";
    assert_eq!(listing(dir.path()), expect);
}
