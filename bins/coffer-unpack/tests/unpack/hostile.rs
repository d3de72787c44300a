//! Images that were made to do harm.

use std::io::Write;
use std::time::{Duration, Instant};

use coffer_image::Limits;
use tar::{EntryType, Header};

use crate::archives::{Archive, METADATA, Member};
use crate::world::{Image, filesystem, listing};

#[test]
fn the_top_level_is_no_place_for_links() {
    for name in ["templates", "metadata.yaml", "rootfs", "backup.yaml", "exec-output", "anything"] {
        Image::unified(Archive::image().dir("rootfs").symlink(name, "/root").end()).refused(&format!("the archive's member {name}: "));
        Image::unified(Archive::default().symlink(name, "/root").end()).refused(&format!("the archive's member {name}: "));
    }
    Image::unified(Archive::image().dir("rootfs/").symlink("rootfs", "/").end()).refused("rootfs must be a directory");
    Image::unified(Archive::image().dir("rootfs/").file("rootfs", "x").end()).refused("rootfs must be a directory");
    Image::unified(Archive::image().file("metadata.yaml", METADATA).dir("rootfs").end()).refused("it is there twice");
    Image::unified(Archive::image().file("templates", "x").dir("rootfs").end()).refused("templates/ may hold only");
    Image::unified(Archive::image().symlink("templates/x.tpl", "/etc/shadow").end()).refused("templates/ may hold only");
    Image::unified(Archive::image().hard_link("templates/x.tpl", "metadata.yaml").end()).refused("templates/ may hold only");
    Image::unified(Archive::image().hard_link("rootfs/x", "metadata.yaml").end()).refused("outside rootfs/");
}

#[test]
fn strangers_beside_the_root_are_left_out() {
    let image = Archive::image().file("backup.yaml", "container: {}").dir("exec-output").file("exec-output/x", "y").dir("rootfs");
    let (dir, unpacked) = Image::unified(image.end()).unpack().unwrap();
    assert_eq!((listing(dir.path()).as_str(), unpacked.skipped_members), ("d 755 0:0 rootfs\n", 3));
}

#[test]
fn names_that_leave_are_refused() {
    for name in ["../x", "rootfs/../../x", "rootfs/a/../../../x", "a/..", "/../x"] {
        Image::unified(Archive::image().dir("rootfs").file(name, "x").end()).refused("leaves the archive by \"..\"");
    }
    Image::unified(Archive::image().hard_link("rootfs/shadow", "../../../etc/shadow").end()).refused("leaves the archive by \"..\"");
    Image::unified(Archive::image().hard_link("rootfs/shadow", "/etc/shadow").end()).refused("outside rootfs/");
    let zero: [(&str, &[u8]); 1] = [("path", b"rootfs/a\0b")];
    Image::unified(Archive::image().pax(&zero, Member::of("x", EntryType::Regular)).end()).refused("holds a zero byte");
}

#[test]
fn links_lead_no_further_than_the_root() {
    let archive = Archive::image().dir("rootfs").symlink("rootfs/abs", "/").symlink("rootfs/up", "../../../..").dir("rootfs/etc");
    let archive = archive.file("rootfs/abs/one", "1").file("rootfs/up/two", "2").file("rootfs/up/etc/three", "3");
    let archive = archive.symlink("rootfs/meta", "../metadata.yaml").file("rootfs/meta", "4").symlink("rootfs/etc/self", "/etc/self");
    Image::unified(archive.end()).gives(
        "d 755 0:0 rootfs
         l 777 0:0 rootfs/abs -> /
         d 755 0:0 rootfs/etc
         l 777 0:0 rootfs/etc/self -> /etc/self
         f 644 0:0 rootfs/etc/three \"3\"
         f 644 0:0 rootfs/meta \"4\"
         f 644 0:0 rootfs/one \"1\"
         f 644 0:0 rootfs/two \"2\"
         l 777 0:0 rootfs/up -> ../../../..",
    );
}

#[test]
fn links_to_nothing_and_loops_are_errors() {
    Image::unified(Archive::image().symlink("rootfs/a", "nowhere").file("rootfs/a/b", "x").end()).fails("no directory of the image");
    Image::unified(Archive::image().symlink("rootfs/a", "a").file("rootfs/a/b", "x").end()).fails("no directory of the image");
    Image::unified(Archive::image().file("rootfs/a", "").file("rootfs/a/b", "x").end()).fails("no directory of the image");
    Image::unified(Archive::image().hard_link("rootfs/a", "rootfs/none").end()).fails("which is not there");
    Image::unified(Archive::image().hard_link("rootfs/a", "rootfs").end()).fails("outside rootfs/");
    Image::unified(Archive::image().file("rootfs/a/b", "x").file("rootfs/a", "").end()).fails("a directory that is not empty");
}

#[test]
fn a_link_put_in_a_directorys_place_gets_nothing_of_its() {
    // The directory's mode and time wait until the end; by then it is a link to another.
    let archive = Archive::image().dir("rootfs/private").member(Member { mode: 0o4777, ..Member::of("rootfs/a", EntryType::Directory) });
    let archive = archive.symlink("rootfs/a", "private");
    Image::unified(archive.end()).gives(
        "d 755 0:0 rootfs
         l 777 0:0 rootfs/a -> private
         d 755 0:0 rootfs/private",
    );
}

#[test]
fn devices_are_left_out() {
    let mut disk = Header::new_gnu();
    disk.set_path("rootfs/dev/sda").unwrap();
    disk.set_entry_type(EntryType::Block);
    disk.set_mode(0o666);
    disk.set_uid(0);
    disk.set_gid(0);
    disk.set_mtime(0);
    disk.set_device_major(8).unwrap();
    disk.set_device_minor(0).unwrap();
    let image = Archive::image().dir("rootfs").raw(disk, b"").member(Member::of("rootfs/mem", EntryType::Char));
    let (dir, unpacked) = Image::unified(image.end()).unpack().unwrap();
    assert_eq!((listing(dir.path()).as_str(), unpacked.skipped_devices), ("d 755 0:0 rootfs\n", 2));
}

#[test]
fn claims_of_length_are_not_believed() {
    let long = vec![b'a'; 1 << 20];
    Image::unified(Archive::image().extended(b'L', &long).file("x", "").end()).refused("an extended header claims 1048576 bytes");
    let huge = vec![b'a'; (1 << 20) + 512];
    Image::unified(Archive::image().extended(b'x', &huge).file("x", "").end()).refused("an extended header claims");
    let name = "d/".repeat(2100);
    let deep: [(&str, &[u8]); 1] = [("path", name.as_bytes())];
    Image::unified(Archive::image().pax(&deep, Member::of("x", EntryType::Directory)).end()).refused("at most 4095 are possible");
    for size in [u64::MAX, 1 << 62, 1 << 40] {
        let text = size.to_string();
        let lying: [(&str, &[u8]); 1] = [("size", text.as_bytes())];
        let archive = Archive::image().pax(&lying, Member::of("rootfs/x", EntryType::Regular)).end();
        Image::unified(archive).refused("the metadata file is damaged");
    }
    Image::unified((0..100).fold(Archive::image(), |archive, _| archive.extended(b'x', b"")).end()).refused("too many headers");
    let text = "x".repeat(2 << 20);
    Image::unified(Archive::default().file("metadata.yaml", &text).dir("rootfs").end()).refused("at most 1048576 are read");
    let owner: [(&str, &[u8]); 1] = [("uid", b"4294967296")];
    Image::unified(Archive::image().pax(&owner, Member::of("rootfs/x", EntryType::Regular)).end()).refused("is no user id");
    let owner: [(&str, &[u8]); 1] = [("uid", b"4294967294")];
    Image::unified(Archive::image().pax(&owner, Member::of("rootfs/x", EntryType::Regular)).end()).fails("beyond the ids");
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let check = |map: &str, size: &str| {
        let records: [(&str, &[u8]); 3] =
            [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.name", b"rootfs/s")];
        let member = Member { content: &[b'x'; 512], ..Member::of("x", EntryType::Regular) };
        Image::unified(Archive::image().pax(&records, member).end()).refused("the metadata file is damaged");
    };
    check("0,1024", "1024");
    check("0,256,128,256", "1024");
    check("1000,512", "1024");
    check("18446744073709551615,512", "18446744073709551615");
    check("0,512,5", "1024");
    check("0,512", "9223372036854775807");
    check("", "10");
}

#[test]
fn limits_end_bombs() {
    let limits = Limits { bytes: 1 << 20, files: 100 };
    let content = "x".repeat(600 << 10);
    let two = Image::unified(Archive::image().file("rootfs/a", &content).file("rootfs/b", &content).end());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(two.unpack_into(dir.path(), limits).unwrap_err(), "the archive has more than 1048576 bytes, which is the limit here");
    let many = (0..200).fold(Archive::image(), |archive, number| archive.file(&format!("rootfs/{number}"), ""));
    let many = Image::unified(many.end());
    let expect = "the archive has more than 100 files, which is the limit here";
    assert_eq!(many.unpack_into(tempfile::tempdir().unwrap().path(), limits).unwrap_err(), expect);
    assert_eq!(many.inspect(true, limits).unwrap_err(), expect);
    let deep = Image::unified(
        Archive::image().pax(&[("path", &[b"rootfs/", "d/".repeat(150).as_bytes()].concat())], Member::of("x", EntryType::Directory)).end(),
    );
    assert_eq!(deep.unpack_into(tempfile::tempdir().unwrap().path(), limits).unwrap_err(), expect);
}

#[test]
fn compressed_bombs_end_at_the_limit() {
    // 4 GiB of zeros after the archive's own end, and as a member's content, in a few hundred KiB.
    let limits = Limits { bytes: 16 << 20, files: 100 };
    let mut header = Header::new_gnu();
    header.set_path("rootfs/zeros").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(4 << 30);
    header.set_cksum();
    let inside = [Archive::image().unfinished(), header.as_bytes().to_vec()].concat();
    for start in [inside, Archive::image().dir("rootfs").end()] {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(&start).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..4096).for_each(|_| encoder.write_all(&zeros).unwrap());
        let image = Image::unified(encoder.finish().unwrap());
        assert!(image.metadata.len() < 1 << 20);
        let began = Instant::now();
        let error = image.unpack_into(tempfile::tempdir().unwrap().path(), limits).unwrap_err();
        assert!(error.contains("which is the limit here"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn dictionaries_larger_than_memory_are_refused() {
    let mut lzma = vec![0x5d];
    lzma.extend_from_slice(&0x8000_0000_u32.to_le_bytes());
    lzma.extend_from_slice(&[0xff; 8]);
    lzma.extend_from_slice(&[0; 1000]);
    Image::unified(lzma).refused("the metadata file is damaged");
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(31).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(&Archive::image().dir("rootfs").end()).unwrap();
    Image::unified(encoder.finish().unwrap()).refused("the metadata file is damaged");
}

#[test]
fn damaged_headers_are_refused() {
    let mut image = Archive::image().dir("rootfs").end();
    image[1024 + 5] ^= 1;
    Image::unified(image).refused("there is no tar header at byte 1024");
    Image::unified(Archive::image().member(Member::of("rootfs/x", EntryType::new(b'Z'))).end()).refused("unknown kind 'Z'");
    Image::unified(Archive::image().extended(b'x', b"garbage").file("x", "").end()).refused("an extended header is malformed");
}

#[test]
fn names_are_shown_without_their_control_characters() {
    let error = Image::unified(Archive::image().file("rootfs/\u{1b}]0;pwn\u{7}/../x", "").end()).unpack().map(|_| ()).unwrap_err();
    assert!(error.contains("\\u{1b}]0;pwn\\u{7}"), "{error}");
}

#[test]
fn a_full_disk_is_said() {
    let small = filesystem("tmpfs", &[("size", "64k")]);
    let image = Image::unified(Archive::image().file("rootfs/big", &"x".repeat(1 << 20)).end());
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&small));
    let error = image.unpack_into(std::path::Path::new(&path), Limits::default()).unwrap_err();
    assert!(error.contains("writing rootfs/big: No space left on device") || error.contains("writing big: No space left"), "{error}");
}

#[test]
fn any_damage_is_an_answer_never_a_crash() {
    let acl: [(&str, &[u8]); 4] = [
        ("SCHILY.acl.access", b"user::rw-,group::r--,other::r--"),
        ("GNU.sparse.map", b"0,5"),
        ("GNU.sparse.size", b"9"),
        ("mtime", b"1.5"),
    ];
    let sparse = Member { content: b"holes", ..Member::of("rootfs/sparse", EntryType::Regular) };
    let image = crate::archives::sample().pax(&acl, sparse).extended(b'L', b"rootfs/long\0").file("x", "y").end();
    let mut seed = 7_u64;
    let limits = Limits { bytes: 1 << 20, files: 1000 };
    for round in 0..150 {
        let mut damaged = image.clone();
        for _ in 0..=round % 4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % damaged.len();
            damaged[at] = (seed >> 20) as u8;
        }
        // Most damage shows in a header's checksum; an attacker would have set it right.
        for block in damaged.as_chunks_mut::<512>().0 {
            let header = Header::from_byte_slice(block).clone();
            if header.as_bytes()[148..156].iter().any(u8::is_ascii_digit) {
                let mut right = header;
                right.set_cksum();
                *block = *right.as_bytes();
            }
        }
        if let Err(error) = Image::unified(damaged).unpack_into(tempfile::tempdir().unwrap().path(), limits) {
            assert!(!error.contains("the unpacker ended"), "round {round}: {error}");
        }
    }
}
