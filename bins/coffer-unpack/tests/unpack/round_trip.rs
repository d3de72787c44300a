//! What is packed is unpacked as it was: owners, modes, times, attributes, access lists, capabilities, links, holes, devices.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use coffer_base::Progress;
use coffer_base::run::Program;
use coffer_image::backup::{INDEX, INSTANCE};
use coffer_image::pack::{Algorithm, Compressor};
use coffer_image::{BackupRequest, BackupVolume, Form, Limits, Member, PackRequest, Packed};
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::archives::METADATA;
use crate::world::unpacker;

/// One thing to make in a tree.
#[derive(Debug, Clone)]
enum Thing {
    Directory,
    /// Pieces of content, each at a multiple of 64 KiB, and a tail without content.
    File(Vec<(u8, u16)>, u32),
    Symlink(String),
    /// Another name of the thing with this number.
    Hardlink(usize),
    Fifo,
    Socket,
    Device(u32, u32),
}

#[derive(Debug, Clone)]
struct Node {
    /// Below which earlier directory.
    parent: usize,
    name: String,
    thing: Thing,
    mode: u32,
    owner: (u32, u32),
    time: (i64, u32),
    xattrs: Vec<(String, Vec<u8>)>,
    capability: bool,
    access_list: bool,
}

/// `cap_net_raw+ep`.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `user::rwx,user:1000:r--,group::r-x,mask::r-x,other::---`.
const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255,
    32, 0, 0, 0, 255, 255, 255, 255,
];

/// Makes the nodes below `rootfs`.
fn plant(top: &Path, nodes: &[Node]) {
    let mut made: Vec<(PathBuf, &Node)> = Vec::new();
    let mut directories = vec![top.join("rootfs")];
    std::fs::create_dir(&directories[0]).unwrap();
    for node in nodes {
        let path = directories[node.parent % directories.len()].join(&node.name);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match &node.thing {
            Thing::Directory => std::fs::create_dir(&path).unwrap(),
            Thing::File(pieces, tail) => {
                let file = File::create(&path).unwrap();
                for (at, length) in pieces {
                    file.write_all_at(&vec![*at | 1; usize::from(*length)], u64::from(*at) << 16).unwrap();
                }
                let end = file.metadata().unwrap().len();
                file.set_len(end + u64::from(*tail)).unwrap();
            }
            Thing::Symlink(text) => std::os::unix::fs::symlink(text, &path).unwrap(),
            Thing::Hardlink(of) => {
                let of = made.get(of % made.len().max(1)).map(|(path, _)| path);
                if let Some(of) = of.filter(|of| of.symlink_metadata().is_ok_and(|of| of.is_file() || of.is_symlink())) {
                    std::fs::hard_link(of, &path).unwrap();
                }
                continue;
            }
            Thing::Fifo => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
            Thing::Socket => rustix::fs::mknodat(CWD, &path, FileType::Socket, Mode::RUSR, 0).unwrap(),
            Thing::Device(major, minor) => {
                rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(*major, *minor)).unwrap();
            }
        }
        std::os::unix::fs::lchown(&path, Some(node.owner.0), Some(node.owner.1)).unwrap();
        let link = matches!(node.thing, Thing::Symlink(_));
        if !link {
            rustix::fs::chmod(&path, Mode::from_raw_mode(node.mode)).unwrap();
        }
        let plain = matches!(node.thing, Thing::File(..));
        let set = |name: &str, value: &[u8]| rustix::fs::lsetxattr(&path, name, value, XattrFlags::empty()).unwrap();
        if plain || matches!(node.thing, Thing::Directory) {
            node.xattrs.iter().for_each(|(name, value)| set(&format!("user.{name}"), value));
            if node.access_list {
                set("system.posix_acl_access", &ACCESS_LIST);
            }
            if node.access_list && !plain {
                set("system.posix_acl_default", &ACCESS_LIST);
            }
        }
        if matches!(node.thing, Thing::Fifo | Thing::Device(..)) {
            // It inherits a list from its directory; archives hold those of files and directories only.
            let _ = rustix::fs::lremovexattr(&path, "system.posix_acl_access");
            rustix::fs::chmod(&path, Mode::from_raw_mode(node.mode)).unwrap();
        }
        if plain && node.capability {
            set("security.capability", &CAPABILITY);
        }
        made.push((path.clone(), node));
        if matches!(node.thing, Thing::Directory) {
            directories.push(path);
        }
    }
    // Times last, the inner ones first.
    for (path, node) in made.iter().rev() {
        let time = Timespec { tv_sec: node.time.0, tv_nsec: node.time.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// Everything in a tree, one line each; sockets are left out, as archives have none.
fn describe(top: &Path) -> String {
    let mut text = String::new();
    let mut seen = BTreeMap::new();
    let mut pending = vec![top.join("rootfs")];
    while let Some(path) = pending.pop() {
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let stat = path.symlink_metadata().unwrap();
        let kind = FileType::from_raw_mode(stat.mode());
        if kind == FileType::Socket {
            continue;
        }
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        write!(text, "{name} {:o} {}:{} {}.{:09}", stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.mtime_nsec()).unwrap();
        if stat.nlink() > 1 && kind != FileType::Directory && !device {
            let first = seen.entry((stat.dev(), stat.ino())).or_insert_with(|| name.clone());
            write!(text, " is {first}").unwrap();
        }
        match kind {
            FileType::Directory => {
                let mut below: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
                below.sort();
                pending.extend(below.into_iter().rev());
            }
            FileType::RegularFile => {
                let content = std::fs::read(&path).unwrap();
                let (sum, holes) =
                    (content.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte)), stat.blocks() * 512 < stat.len());
                write!(text, " {} bytes {sum:x}{}", content.len(), if holes { " sparse" } else { "" }).unwrap();
            }
            FileType::Symlink => write!(text, " -> {}", path.read_link().unwrap().display()).unwrap(),
            _ if device => write!(text, " device {:x}", stat.rdev()).unwrap(),
            _ => {}
        }
        for (name, value) in xattrs(&path) {
            write!(text, " {name}={value:x?}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    let read = |name: &str| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        (name.to_owned(), value[..length].to_vec())
    };
    names.split_terminator('\0').filter(|name| !name.starts_with("security.selinux")).map(read).collect()
}

/// Packs an instance's directory as a backup.
fn pack(directory: &Path, compressor: Compressor) -> (File, Packed) {
    let output = tempfile::tempfile().unwrap();
    let source = File::open(directory).unwrap();
    let tree = |entry: &str, optional| Member::Tree {
        name: format!("{INSTANCE}/{entry}"),
        directory: 0,
        entry: entry.into(),
        ids: None,
        optional,
    };
    let members = [
        Member::Text { name: INDEX.into(), text: "name: c1\nconfig: {}\n".into() },
        Member::Directory { name: INSTANCE.into() },
        tree("metadata.yaml", true),
        tree("templates", true),
        tree("rootfs", false),
    ];
    let request = PackRequest {
        members: &members,
        directories: &[source.as_fd()],
        files: &[],
        compressor,
        reproducible: None,
        output: output.as_fd(),
        stage: "create_backup",
    };
    let packed = unpacker().pack(&request, &Progress::default()).map_err(|error| coffer_base::chain(&error)).unwrap();
    assert_eq!(output.metadata().unwrap().len(), packed.size);
    (output, packed)
}

fn unpack(archive: &File, target: &Path) -> coffer_image::Unpacked {
    let target = File::open(target).unwrap();
    let volumes = [BackupVolume { name: INSTANCE, form: Form::Instance, directory: target.as_fd() }];
    let request = BackupRequest { archive: archive.as_fd(), volumes: &volumes, streams: false, limits: Limits::default(), stage: "unpack" };
    unpacker().unpack_backup(&request, &Progress::default()).map_err(|error| coffer_base::chain(&error)).unwrap()
}

fn compressor(text: &str) -> Compressor {
    text.parse().unwrap()
}

/// A tree with one of each.
fn sample() -> Vec<Node> {
    let node = |parent, name: &str, thing| Node {
        parent,
        name: name.into(),
        thing,
        mode: 0o644,
        owner: (1000, 50),
        time: (1_600_000_000, 123_456_789),
        xattrs: Vec::new(),
        capability: false,
        access_list: false,
    };
    let deep = "d".repeat(200);
    vec![
        Node { mode: 0o2775, access_list: true, ..node(0, "shared", Thing::Directory) },
        Node { mode: 0o4755, capability: true, ..node(0, "ping", Thing::File(vec![(0, 5000)], 0)) },
        Node { xattrs: vec![("a=b%".into(), b"x\ny\0".to_vec())], access_list: true, ..node(1, "file", Thing::File(vec![(0, 10)], 0)) },
        node(1, &deep, Thing::Directory),
        node(2, &deep, Thing::File(vec![(3, 100), (9, 60000)], 3 << 20)),
        node(0, "hole", Thing::File(Vec::new(), 1 << 20)),
        node(0, "empty", Thing::File(Vec::new(), 0)),
        node(1, "again", Thing::Hardlink(2)),
        node(0, "link", Thing::Symlink(format!("../{deep}/x"))),
        node(1, "link-again", Thing::Hardlink(9)),
        node(0, "pipe", Thing::Fifo),
        node(0, "socket", Thing::Socket),
        node(0, "null", Thing::Device(1, 3)),
        node(0, "whiteout", Thing::Device(0, 0)),
        Node { owner: (3_000_000, 4_000_000), time: (-5, 1), ..node(0, "old", Thing::File(Vec::new(), 0)) },
    ]
}

#[test]
fn one_of_each_with_every_compressor() {
    let source = tempfile::tempdir().unwrap();
    plant(source.path(), &sample());
    std::fs::write(source.path().join("metadata.yaml"), METADATA).unwrap();
    for word in ["none", "gzip", "gzip -1", "bzip2", "xz -1", "lzma -1", "zstd", "zstd -19"] {
        let (archive, packed) = pack(source.path(), compressor(word));
        assert_eq!(packed.skipped_sockets, 1);
        let target = tempfile::tempdir().unwrap();
        let unpacked = unpack(&archive, target.path());
        assert_eq!(describe(target.path()), describe(source.path()), "{word}");
        assert_eq!((unpacked.skipped_devices, unpacked.skipped_xattrs), (0, 0), "{word}");
        assert_eq!(std::fs::read_to_string(target.path().join("metadata.yaml")).unwrap(), METADATA);
    }
}

#[test]
fn the_same_tree_gives_the_same_archive() {
    let source = tempfile::tempdir().unwrap();
    plant(source.path(), &sample());
    let bytes = |(file, packed): (File, Packed)| {
        let mut bytes = vec![0; usize::try_from(packed.size).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    for word in ["none", "gzip", "zstd"] {
        let first = bytes(pack(source.path(), compressor(word)));
        assert!(first == bytes(pack(source.path(), compressor(word))), "{word}");
    }
}

#[test]
fn large_files_pass_through_many_chunks() {
    let source = tempfile::tempdir().unwrap();
    let pieces = (0..100).map(|piece| (piece, 60000)).collect();
    plant(source.path(), &[Node { thing: Thing::File(pieces, 0), ..sample()[1].clone() }]);
    // Bytes that do not compress, so that buffers are filled to their ends.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..5 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    std::fs::write(source.path().join("rootfs/noise"), noise).unwrap();
    for word in ["none", "gzip", "bzip2", "xz -0", "zstd -1"] {
        let (archive, _) = pack(source.path(), compressor(word));
        let target = tempfile::tempdir().unwrap();
        unpack(&archive, target.path());
        assert_eq!(describe(target.path()), describe(source.path()), "{word}");
    }
}

#[test]
fn gnu_tar_reads_it_too() {
    let source = tempfile::tempdir().unwrap();
    plant(source.path(), &sample());
    for word in ["gzip", "bzip2", "zstd", "xz -1", "none"] {
        let (archive, _) = pack(source.path(), compressor(word));
        let target = tempfile::tempdir().unwrap();
        let mut copy = File::create(target.path().join("archive")).unwrap();
        use std::io::{Seek, SeekFrom};
        (&archive).seek(SeekFrom::Start(0)).unwrap();
        std::io::copy(&mut &archive, &mut copy).unwrap();
        // As LXD calls it.
        let words = ["--numeric-owner", "--xattrs-include=*", "--strip-components=2", "-p", "-C"];
        let at = target.path().display().to_string();
        let program = Program::new("tar").args(words).arg(&at).arg("-xf").arg(target.path().join("archive")).arg(INSTANCE);
        program.run().map_err(|error| coffer_base::chain(&error)).unwrap();
        // It has no whiteouts' and devices' times wrong, but sets a link's time only in newer versions; all else is the same.
        assert_eq!(describe(target.path()), describe(source.path()), "{word}");
    }
}

#[test]
fn what_changes_meanwhile_is_cut_or_filled_up_and_links_lead_nowhere() {
    let source = tempfile::tempdir().unwrap();
    plant(source.path(), &sample());
    std::os::unix::fs::symlink("/root", source.path().join("templates")).unwrap();
    let directory = File::open(source.path()).unwrap();
    let tree = Member::Tree { name: "templates".into(), directory: 0, entry: "templates".into(), ids: None, optional: true };
    let output = tempfile::tempfile().unwrap();
    let compressor = Compressor { algorithm: Algorithm::None, level: 0 };
    let request = PackRequest {
        members: &[tree],
        directories: &[directory.as_fd()],
        files: &[],
        compressor,
        reproducible: None,
        output: output.as_fd(),
        stage: "create_backup",
    };
    let error = unpacker().pack(&request, &Progress::default()).unwrap_err();
    assert_eq!(coffer_base::chain(&error), "the archive's member templates: it is a symbolic link");
}

/// Packs the `rootfs` of a directory so that nothing but its files counts.
fn pack_reproducibly(directory: &Path, epoch: i64) -> Vec<u8> {
    let mut output = tempfile::tempfile().unwrap();
    let source = File::open(directory).unwrap();
    let tree = Member::Tree { name: "rootfs".into(), directory: 0, entry: "rootfs".into(), ids: None, optional: false };
    let request = PackRequest {
        members: &[tree],
        directories: &[source.as_fd()],
        files: &[],
        compressor: compressor("zstd"),
        reproducible: Some(epoch),
        output: output.as_fd(),
        stage: "create_image",
    };
    unpacker().pack(&request, &Progress::default()).map_err(|error| coffer_base::chain(&error)).unwrap();
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut output).unwrap();
    std::io::Read::read_to_end(&mut output, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_same_files_make_the_same_archive_whenever_and_however_they_were_written() {
    let made = |holes: bool, names: [&str; 3]| {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        std::fs::create_dir(&root).unwrap();
        for name in names {
            std::fs::write(root.join(name), name).unwrap();
        }
        let file = File::create(root.join("image")).unwrap();
        if holes {
            file.set_len(1 << 20).unwrap();
        } else {
            std::fs::write(root.join("image"), vec![0; 1 << 20]).unwrap();
        }
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_000_500);
        File::open(root.join("a")).unwrap().set_times(std::fs::FileTimes::new().set_modified(old)).unwrap();
        dir
    };
    let (one, other) = (made(true, ["a", "b", "c"]), made(false, ["c", "a", "b"]));
    let archive = pack_reproducibly(one.path(), 1_600_000_000);
    assert!(archive == pack_reproducibly(other.path(), 1_600_000_000), "the archives differ");
    assert!(archive != pack_reproducibly(one.path(), 1_600_000_001), "the epoch stands in the archive");
    let plain = zstd_decoded(&archive);
    let mut times: Vec<(String, u64)> = Vec::new();
    for entry in tar::Archive::new(plain.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        times.push((entry.path().unwrap().display().to_string(), entry.header().mtime().unwrap()));
    }
    let expect = [("rootfs/", 1_600_000_000), ("rootfs/a", 1_000_000_000), ("rootfs/b", 1_600_000_000)];
    assert_eq!(times[..3], expect.map(|(name, time)| (name.to_owned(), time)), "only what is later than the epoch gets it");
}

fn zstd_decoded(archive: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(archive).unwrap()
}

fn thing() -> impl Strategy<Value = Thing> {
    let piece = (any::<u8>(), 1..u16::MAX);
    prop_oneof![
        3 => Just(Thing::Directory),
        5 => (prop::collection::vec(piece, 0..3), prop_oneof![Just(0), 0..500_000_u32]).prop_map(|(pieces, tail)| Thing::File(pieces, tail)),
        2 => "[a-z./]{1,150}".prop_map(Thing::Symlink),
        2 => any::<usize>().prop_map(Thing::Hardlink),
        1 => Just(Thing::Fifo),
        1 => prop_oneof![Just((1, 3)), Just((1, 5)), Just((5, 2)), Just((0, 0))].prop_map(|(major, minor)| Thing::Device(major, minor)),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let attributes = prop::collection::vec(("[a-z=%]{1,30}", prop::collection::vec(any::<u8>(), 0..200)), 0..3);
    let owner = (prop_oneof![0..70_000_u32, 0..0x3fff_ffff_u32], 0..70_000_u32);
    let time = (-10_000_000_000..10_000_000_000_i64, 0..1_000_000_000_u32);
    let rest = (0..0o10000_u32, owner, time, attributes, any::<bool>(), any::<bool>());
    (any::<usize>(), "[a-zA-Z0-9 ._-]{1,120}|\\PC{1,20}", thing(), rest).prop_filter_map("a name", |(parent, name, thing, rest)| {
        let (mode, owner, time, xattrs, capability, access_list) = rest;
        let usable = name != "." && name != ".." && !name.contains(['/', '\0']) && name.len() < 250;
        usable.then_some(Node { parent, name, thing, mode, owner, time, xattrs, capability, access_list })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever an instance made in its root file system, a backup brings it back.
    #[test]
    fn any_tree_survives(nodes in prop::collection::vec(node(), 0..40)) {
        let source = tempfile::tempdir().unwrap();
        plant(source.path(), &nodes);
        let (archive, _) = pack(source.path(), compressor("zstd -1"));
        let target = tempfile::tempdir().unwrap();
        unpack(&archive, target.path());
        let (got, expect) = (describe(target.path()), describe(source.path()));
        let differing = got.lines().zip(expect.lines()).find(|(got, expect)| got != expect);
        prop_assert!(got == expect, "{differing:#?}");
    }
}
