//! Streams as the kernel writes them, and as it never would.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::command::checksum;
use super::*;
use crate::unpack::entry::Piece;

/// A stream that is put together.
struct Stream(Vec<u8>);

/// An attribute: its number and value.
type Attribute = (u16, Vec<u8>);

const ONE: [u8; 16] = [1; 16];
const TWO: [u8; 16] = [2; 16];

impl Stream {
    fn new() -> Self {
        Self([b"btrfs-stream\0".as_slice(), &1_u32.to_le_bytes()].concat())
    }

    fn full(id: [u8; 16]) -> Self {
        Self::new().and(1, &[(15, b"name".to_vec()), (1, id.to_vec()), (2, vec![0; 8])])
    }

    fn based(id: [u8; 16], base: [u8; 16]) -> Self {
        Self::new().and(2, &[(15, b"name".to_vec()), (1, id.to_vec()), (20, base.to_vec())])
    }

    fn and(mut self, command: u16, attributes: &[Attribute]) -> Self {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend([kind.to_le_bytes(), u16::try_from(value.len()).unwrap().to_le_bytes()].concat());
            body.extend(value);
        }
        let mut whole = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        whole.extend(command.to_le_bytes());
        whole.extend([0; 4]);
        let at = whole.len() - 4;
        whole.extend(body);
        let sum = checksum(0, &whole);
        whole[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        self.0.extend(whole);
        self
    }

    fn directory(self, path: &str) -> Self {
        self.and(4, &[(15, path.into()), (3, vec![0; 8])])
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.and(3, &[(15, path.into()), (3, vec![0; 8])]).write(path, text)
    }

    fn write(self, path: &str, text: &str) -> Self {
        self.and(15, &[(15, path.into()), (18, vec![0; 8]), (19, text.into())])
    }

    fn node(self, path: &str, mode: u64, device: u64) -> Self {
        self.and(5, &[(15, path.into()), (5, mode.to_le_bytes().into()), (8, device.to_le_bytes().into())])
    }

    fn clone_from(self, path: &str, from: &str, id: [u8; 16], length: u64) -> Self {
        let number = |number: u64| number.to_le_bytes().to_vec();
        let attributes = [(15, path.into()), (18, number(0)), (24, number(length)), (20, id.to_vec()), (22, from.into()), (23, number(0))];
        self.and(16, &attributes)
    }

    fn end(self) -> Self {
        self.and(21, &[])
    }

    /// A root with a file, as every instance's stream has.
    fn root(id: [u8; 16]) -> Self {
        Self::full(id).directory("o257-7-0").and(9, &[(15, b"o257-7-0".to_vec()), (16, b"rootfs".to_vec())]).file("rootfs/etc", "etc")
    }
}

struct Bytes(Option<Vec<u8>>, Vec<u8>);

impl Content for Bytes {
    fn piece(&mut self) -> Result<Option<Piece<'_>>, Failure> {
        self.1 = match self.0.take() {
            Some(bytes) => bytes,
            None => return Ok(None),
        };
        Ok(Some(Piece::Bytes(&self.1)))
    }
}

/// Receives streams one after the other into directories of their own; answers the report, or why it was refused.
fn receive_all(top: &Path, form: Form, streams: Vec<Stream>) -> Result<(Unpacked, usize), Failure> {
    let open = |number: usize| -> OwnedFd {
        let path = top.join(number.to_string());
        std::fs::create_dir(&path).unwrap();
        std::fs::File::open(path).unwrap().into()
    };
    let part = |number: usize| Part { name: format!("{number}.bin"), form, target: Target::new(&open(number)).unwrap(), id: None };
    let mut parts: Vec<Part> = (0..streams.len()).map(part).collect();
    let mut budget = Budget::new(Limits { bytes: 1 << 20, files: 100 });
    for (number, stream) in streams.into_iter().enumerate() {
        receive(&mut parts, number, &mut Bytes(Some(stream.0), Vec::new()), &mut budget)?;
    }
    let (mut unpacked, mut devices) = (Unpacked::default(), 0);
    for part in parts {
        devices += part.target.finish(part.form, &mut unpacked)?.len();
    }
    Ok((unpacked, devices))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[track_caller]
fn refused(streams: Vec<Stream>, why: &str) {
    if !is_root() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    std::fs::write(top.path().join("outside"), "untouched").unwrap();
    let failure = receive_all(top.path(), Form::Instance, streams).unwrap_err();
    assert!(failure.to_string().contains(why), "{failure}");
    assert_eq!(std::fs::read_to_string(top.path().join("outside")).unwrap(), "untouched");
}

#[test]
fn a_stream_based_on_another_changes_what_that_made() {
    if !is_root() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let number = |number: u64| number.to_le_bytes().to_vec();
    let first = Stream::root(ONE)
        .file("backup.yaml", "of the old server")
        .file("metadata.yaml", "architecture: x86_64\ncreation_date: 1\n")
        .and(19, &[(15, b"rootfs/etc".to_vec()), (6, number(7)), (7, number(8))])
        .and(18, &[(15, b"rootfs/etc".to_vec()), (5, number(0o4750))])
        .node("rootfs/null", 0o20_666, 0x103)
        .node("rootfs/disk", 0o60_666, 0x800)
        .and(6, &[(15, b"rootfs/pipe".to_vec())])
        .and(7, &[(15, b"rootfs/socket".to_vec())])
        .and(13, &[(15, b"rootfs/etc".to_vec()), (13, b"trusted.x".to_vec()), (14, b"y".to_vec())])
        .end();
    let second = Stream::based(TWO, ONE)
        .file("rootfs/new", "")
        .clone_from("rootfs/new", "rootfs/etc", ONE, 3)
        .write("rootfs/etc", "ETC")
        .file("rootfs/own", "")
        .clone_from("rootfs/own", "rootfs/etc", TWO, 2)
        .and(10, &[(15, b"rootfs/again".to_vec()), (17, b"rootfs/new".to_vec())])
        .end();
    let (unpacked, devices) = receive_all(top.path(), Form::Instance, vec![first, second]).unwrap();
    let text = |path: &str| std::fs::read_to_string(top.path().join(path)).unwrap_or_else(|error| error.kind().to_string());
    let texts = ["0/rootfs/etc", "0/rootfs/new", "1/rootfs/etc", "1/rootfs/again", "1/rootfs/own", "0/backup.yaml"].map(text);
    assert_eq!(texts, ["etc", "entity not found", "ETC", "etc", "ET", "entity not found"]);
    let stat = std::fs::symlink_metadata(top.path().join("0/rootfs/etc")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o4750, 7, 8));
    assert!(std::fs::metadata(top.path().join("1/rootfs/pipe")).unwrap().file_type().is_fifo());
    assert!(!top.path().join("0/rootfs/null").exists() && !top.path().join("0/rootfs/socket").exists());
    assert_eq!((devices, unpacked.skipped_devices, unpacked.skipped_xattrs), (4, 2, 2));
    assert_eq!(std::fs::metadata(top.path().join("0")).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn nothing_leads_out_of_the_directory() {
    let link = |path: &str, text: &str| Stream::root(ONE).and(8, &[(15, path.into()), (17, text.into())]);
    refused(vec![link("rootfs/out", "../..").file("rootfs/out/outside", "x").end()], "not possible");
    refused(vec![link("rootfs/out", "../../outside").write("rootfs/out", "x").end()], "not possible");
    refused(vec![Stream::root(ONE).file("../outside", "x").end()], "leaves the archive");
    refused(vec![Stream::root(ONE).and(9, &[(15, b"rootfs/etc".to_vec()), (16, b"../outside".to_vec())]).end()], "leaves the archive");
    refused(
        vec![link("rootfs/out", "../..").and(10, &[(15, b"rootfs/new".to_vec()), (17, b"rootfs/out/outside".to_vec())]).end()],
        "not possible",
    );
    refused(
        vec![link("rootfs/out", "../../outside").file("rootfs/new", "").clone_from("rootfs/new", "rootfs/out", ONE, 1).end()],
        "not possible",
    );
}

#[test]
fn what_is_not_in_the_archive_is_no_base_and_no_source() {
    refused(vec![Stream::based(TWO, ONE).end()], "what it is based on is not in the archive");
    refused(vec![Stream::root(ONE).end(), Stream::based(TWO, [9; 16]).end()], "what it is based on is not in the archive");
    refused(vec![Stream::root(ONE).clone_from("rootfs/etc", "rootfs/etc", [9; 16], 1).end()], "copies from something");
    refused(vec![Stream::root(ONE).clone_from("rootfs/etc", "rootfs/etc", ONE, u64::MAX).end()], "more than");
}

#[test]
fn what_is_damaged_or_unknown_is_refused() {
    refused(vec![Stream(b"zfs or whatever that is".to_vec())], "export it without --optimized-storage");
    refused(vec![Stream::root(ONE)], "ends too early");
    refused(vec![Stream::full(ONE).end().directory("rootfs")], "something comes after");
    refused(vec![Stream::root(ONE).and(22, &[]).end()], "does not know");
    refused(vec![Stream::new().directory("rootfs").end()], "does not begin with a subvolume");
    let mut changed = Stream::root(ONE).end();
    *changed.0.iter_mut().rev().nth(12).unwrap() ^= 1;
    refused(vec![changed], "checksum");
    let mut long = Stream::full(ONE);
    long.0.extend([0xff; 10]);
    refused(vec![long], "longer than possible");
    refused(vec![Stream::full(ONE).end()], "no rootfs");
    refused(vec![Stream::root(ONE).file("metadata.yaml", "- no\n").end()], "metadata.yaml");
    let linked = Stream::root(ONE).and(10, &[(15, b"metadata.yaml".to_vec()), (17, b"rootfs/etc".to_vec())]).end();
    refused(vec![linked], "one name");
    let full = (0..200).fold(Stream::root(ONE), |stream, number| stream.directory(&format!("rootfs/{number}")));
    refused(vec![full.end()], "more than 100 files");
}

#[test]
fn checksums_are_those_of_the_kernel() {
    // The check value of CRC-32C, which is inverted at both ends.
    assert_eq!(!checksum(!0, b"123456789"), 0xe306_9283);
}
