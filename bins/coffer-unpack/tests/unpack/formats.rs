//! Every compression, every kind of header, every order of members that is in the wild.

use std::io::Write;

use coffer_image::Limits;
use tar::EntryType;

use crate::archives::{Archive, METADATA, Member, SAMPLE, sample};
use crate::world::Image;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lzma(bytes: &[u8]) -> Vec<u8> {
    let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
    let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: [(&str, Compress); 6] =
    [("none", <[u8]>::to_vec), ("gzip", gzip), ("bzip2", bzip2), ("xz", xz), ("lzma", lzma), ("zstd", zstd)];

#[test]
fn every_compression() {
    for (name, compress) in COMPRESSIONS {
        println!("{name}");
        Image::unified(compress(&sample().end())).gives(SAMPLE);
    }
}

#[test]
fn split_images_too() {
    for (name, compress) in COMPRESSIONS {
        println!("{name}");
        let rootfs = Archive::default().dir("./").file("./etc/hostname", "x").hard_link("./a", "./etc/hostname").end();
        Image::split(compress(&Archive::image().end()), compress(&rootfs)).gives(
            "d 755 0:0 rootfs
             f 644 0:0 rootfs/a \"x\"
             d 755 0:0 rootfs/etc
             f 644 0:0 rootfs/etc/hostname \"x\"",
        );
    }
}

#[test]
fn a_cut_file_is_always_noticed() {
    let whole = sample().end();
    let content = whole.len() - 1024;
    for (name, compress) in COMPRESSIONS {
        let file = compress(&whole);
        // Of an archive that is not compressed, the end may lack all but its first block of zeros.
        let end = if name == "none" { content + 511 } else { file.len() };
        let step = if name == "none" { 511 } else { file.len() / 12 + 1 };
        for length in (0..end).step_by(step).chain([end - 1]) {
            let image = Image::unified(file[..length].to_vec());
            for whole in [true, false] {
                let error = image.inspect(whole, Limits::default()).map(|_| ()).expect_err(&format!("{name} cut to {length} bytes"));
                assert!(error.contains("the metadata file is"), "{name} cut to {length} bytes: {error}");
            }
            assert!(image.unpack().is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn names_with_dots_and_slashes_late_and_missing_directories() {
    let late = Member { mode: 0o700, owner: (5, 6), ..Member::of("./rootfs/etc/", EntryType::Directory) };
    let archive = Archive::default().file("/rootfs/etc/inittab", "1").file("./rootfs//var/./log/x", "2").member(late);
    Image::unified(archive.file("./metadata.yaml", METADATA).end()).gives(
        "d 755 0:0 rootfs
         d 700 5:6 rootfs/etc
         f 644 0:0 rootfs/etc/inittab \"1\"
         d 755 0:0 rootfs/var
         d 755 0:0 rootfs/var/log
         f 644 0:0 rootfs/var/log/x \"2\"",
    );
}

#[test]
fn old_ustar_gnu_and_pax_headers() {
    let (long, deep) = ("n".repeat(200), "d/".repeat(60));
    for make in [tar::Header::new_old, tar::Header::new_ustar, tar::Header::new_gnu] {
        let mut dir = make();
        dir.set_path("rootfs/v7/").unwrap();
        dir.set_mode(0o750);
        dir.set_uid(1);
        dir.set_gid(2);
        dir.set_mtime(0);
        Image::unified(Archive::image().raw(dir, b"").end()).gives(
            "d 755 0:0 rootfs
             d 750 1:2 rootfs/v7",
        );
    }
    let name = format!("rootfs/{long}");
    let gnu = Archive::image().extended(b'L', format!("{name}\0").as_bytes()).file("cut", "gnu");
    let pax = gnu.pax(&[("path", format!("rootfs/{deep}f").as_bytes())], Member::of("cut", EntryType::Regular));
    let link = Member::of("rootfs/link", EntryType::Symlink);
    let image = pax.extended(b'K', format!("{long}\0").as_bytes()).member(link).extended(b'g', b"").end();
    let (dir, unpacked) = Image::unified(image).unpack().unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join(&name)).unwrap(), "gnu");
    assert!(dir.path().join(format!("rootfs/{deep}f")).exists());
    assert_eq!(dir.path().join("rootfs/link").read_link().unwrap().as_os_str().len(), 200);
    assert_eq!(unpacked.files, 63);
}

#[test]
fn pax_records_win_over_the_header() {
    let records: [(&str, &[u8]); 3] = [("uid", b"70000"), ("gid", b"65534"), ("mtime", b"1500000000.25")];
    let (dir, _) = Image::unified(Archive::image().pax(&records, Member::of("rootfs/x", EntryType::Regular)).end()).unpack().unwrap();
    let metadata = std::fs::metadata(dir.path().join("rootfs/x")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mtime(), metadata.mtime_nsec()), (70000, 65534, 1_500_000_000, 250_000_000));
}

#[test]
fn fields_that_hold_nothing_are_zero() {
    let mut header = tar::Header::new_ustar();
    header.set_path("rootfs/x").unwrap();
    header.set_mode(0o600);
    let old = header.as_old_mut();
    (old.uid, old.gid, old.mtime) = ([0; 8], [b' '; 8], [0; 12]);
    Image::unified(Archive::image().raw(header, b"").end()).gives(
        "d 755 0:0 rootfs
         f 600 0:0 rootfs/x \"\"",
    );
}

#[test]
fn later_members_replace_earlier_ones() {
    let archive = Archive::image().file("rootfs/a", "old").file("rootfs/a", "new").symlink("rootfs/b", "a").file("rootfs/b", "file");
    let archive = archive.dir("rootfs/c").file("rootfs/c", "was a directory").file("rootfs/d", "").dir("rootfs/d").file("rootfs/d/e", "in");
    Image::unified(archive.end()).gives(
        "d 755 0:0 rootfs
         f 644 0:0 rootfs/a \"new\"
         f 644 0:0 rootfs/b \"file\"
         f 644 0:0 rootfs/c \"was a directory\"
         d 755 0:0 rootfs/d
         f 644 0:0 rootfs/d/e \"in\"",
    );
}

#[test]
fn inspecting_says_what_it_is() {
    let image = Image::unified(sample().end());
    for whole in [false, true] {
        let metadata = image.inspect(whole, Limits::default()).unwrap();
        assert!(metadata.contains("X86_64") && metadata.contains("\"os\": \"Test\""), "{metadata}");
    }
}

#[test]
fn what_is_damaged_between_the_ends_shows_when_it_is_read_whole() {
    let mut seed = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(4 << 20)
    .collect();
    let member = Member { content: &noise, ..Member::of("rootfs/noise", EntryType::Regular) };
    let whole = Archive::image().dir("rootfs").member(member).end();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&whole).unwrap();
    for (name, mut file) in [("xz", xz(&whole)), ("zstd", encoder.finish().unwrap())] {
        let middle = file.len() / 2;
        file[middle..middle + 64].fill(0x55);
        let image = Image::unified(file);
        image.inspect(false, Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = image.inspect(true, Limits::default()).expect_err(name);
        assert!(error.contains("the metadata file is damaged"), "{name}: {error}");
        assert!(image.unpack().is_err(), "{name}");
    }
}

#[test]
fn virtual_machines_and_strangers_are_refused_by_name() {
    let disk = Archive::image().file("rootfs.img", "QFI").end();
    Image::unified(disk).refused("a virtual machine's image is not supported");
    Image::split(Archive::image().end(), b"QFI\xfb\0\0\0\x03".to_vec()).refused("a virtual machine's image is not supported");
    Image::unified(b"hsqs".to_vec()).refused("a unified image in squashfs is not supported");
    Image::unified(b"#!/bin/sh\n".to_vec()).refused("the metadata file is no tar archive");
    Image::split(Archive::image().end(), b"PK".to_vec()).refused("the rootfs file is no tar archive");
    Image::unified(Archive::image().end()).refused("the image has no rootfs directory");
    Image::unified(Archive::default().dir("rootfs").end()).refused("the image has no metadata.yaml");
}

#[test]
fn an_empty_root_file_system_is_none() {
    Image::split(Archive::image().end(), Archive::default().end()).fails("no tar archive");
    let ended = [Archive::default().extended(b'g', b"").unfinished(), vec![0; 1024]].concat();
    Image::split(Archive::image().end(), ended).fails("the image has no rootfs directory");
}

#[test]
fn metadata_is_judged() {
    let other = Archive::default().file("metadata.yaml", "architecture: vax\ncreation_date: 1\n").dir("rootfs");
    let error = Image::unified(other.end()).inspect(true, Limits::default()).unwrap_err();
    assert!(error.contains("unknown architecture \"vax\""), "{error}");
    let target = format!("{METADATA}templates:\n  ../../../../root/pwn:\n    template: x.tpl\n");
    let error = Image::unified(Archive::default().file("metadata.yaml", &target).dir("rootfs").end()).inspect(true, Limits::default());
    assert!(error.unwrap_err().contains("leaves the instance root"));
    let long = format!("{METADATA}long: \"{}\"\n", "ä".repeat(400_000));
    assert!(Image::unified(Archive::default().file("metadata.yaml", &long).dir("rootfs").end()).inspect(true, Limits::default()).is_ok());
}
