//! A tree with everything that a root file system can hold, and a description of trees to compare them by.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use coffer_storage::FillError;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

/// Fills a new volume as an image would.
pub fn fill(directory: BorrowedFd<'_>) -> Result<(), FillError> {
    write(&path_of(directory));
    Ok(())
}

/// The path of an open directory, for tests to use with the standard library.
pub fn path_of(directory: BorrowedFd<'_>) -> PathBuf {
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).unwrap()
}

fn write(top: &Path) {
    fs::write(top.join("metadata.yaml"), "architecture: x86_64\n").unwrap();
    let root = top.join("rootfs");
    fs::create_dir(&root).unwrap();
    for name in ["bin", "etc", "dev", "links", "var/lib/deep"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    files(&root);
    links(&root);
    devices(&root);
    odd_names(&root);
    attributes(&root);
    owners(&root);
    times(&root);
}

fn files(root: &Path) {
    fs::write(root.join("etc/hostname"), "sample\n").unwrap();
    fs::write(root.join("etc/empty"), "").unwrap();
    fs::write(root.join("bin/big"), vec![7; 3 << 20]).unwrap();
    fs::write(root.join("bin/su"), "setuid").unwrap();
    let mut sparse = File::create(root.join("var/sparse")).unwrap();
    sparse.seek(SeekFrom::Start(8 << 20)).unwrap();
    sparse.write_all(b"in the middle").unwrap();
    sparse.set_len(20 << 20).unwrap();
}

fn links(root: &Path) {
    fs::hard_link(root.join("etc/hostname"), root.join("links/hostname")).unwrap();
    fs::hard_link(root.join("etc/hostname"), root.join("var/lib/hostname")).unwrap();
    symlink("/etc/shadow", root.join("links/absolute")).unwrap();
    symlink("nowhere", root.join("links/0")).unwrap();
    for step in 1..60 {
        symlink(format!("{}", step - 1), root.join(format!("links/{step}"))).unwrap();
    }
    fs::hard_link(root.join("links/absolute"), root.join("links/absolute-too")).unwrap();
    symlink("/", root.join("links/root")).unwrap();
}

fn devices(root: &Path) {
    let make = |name: &str, kind, device| rustix::fs::mknodat(CWD, root.join(name), kind, Mode::RUSR | Mode::WGRP, device).unwrap();
    make("dev/null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    make("dev/loop", FileType::BlockDevice, rustix::fs::makedev(7, 999));
    make("dev/fifo", FileType::Fifo, 0);
    make("dev/socket", FileType::Socket, 0);
}

fn odd_names(root: &Path) {
    for name in [&b"new\nline"[..], b"-rf", b"\xff\xfe", b"a b\\c\"'$(id)", b"...", &[b'x'; 255]] {
        fs::write(root.join("etc").join(OsStr::from_bytes(name)), name).unwrap();
    }
}

fn attributes(root: &Path) {
    let set = |name: &str, key: &str, value: &[u8]| {
        match rustix::fs::lsetxattr(root.join(name), key, value, XattrFlags::empty()) {
            // Not every file system has all of them.
            Err(rustix::io::Errno::OPNOTSUPP) | Ok(()) => {}
            Err(errno) => panic!("{name} {key}: {errno}"),
        }
    };
    set("etc/empty", "user.note", b"some \0 bytes");
    set("etc/empty", "user.long", &[3; 1500]);
    set("etc/empty", "trusted.secret", b"1");
    set("links/root", "trusted.on-a-link", b"1");
    set("dev/fifo", "trusted.on-a-fifo", b"1");
    set("etc", "user.on-a-directory", b"1");
    // cap_net_raw+ep in revision 2.
    set("bin/big", "security.capability", &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // user::rw-, user:1005:rwx, group::r--, mask::rwx, other::r--
    let entry = |tag: u16, permissions: u16, id: u32| [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries = [entry(1, 6, none), entry(2, 7, 1005), entry(4, 4, none), entry(16, 7, none), entry(32, 4, none)].concat();
    let acl = [&2u32.to_le_bytes()[..], &entries].concat();
    set("etc/hostname", "system.posix_acl_access", &acl);
    set("var/lib", "system.posix_acl_default", &acl);
}

fn owners(root: &Path) {
    let own = |name: &str, uid, gid| {
        rustix::fs::chownat(CWD, root.join(name), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    own("etc/empty", 1000, 1001);
    own("links/0", 33, 33);
    own("dev/socket", 5, 6);
    own("var/lib/deep", 65534, 65534);
    let mode = |name: &str, mode| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("bin/su", 0o4755);
    mode("var/lib/deep", 0o1777);
    mode("etc/empty", 0o000);
}

/// Gives each file a time of its own. On cephfs those that nothing was written to have the client's now and the server's in a snapshot.
fn times(top: &Path) {
    fn set(path: &Path, seconds: &mut i64) {
        *seconds += 1;
        let past = Timespec { tv_sec: 1_000_000_000 + *seconds, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: past, last_modification: past };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        if fs::symlink_metadata(path).unwrap().is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                set(&entry.unwrap().path(), seconds);
            }
        }
    }
    set(top, &mut 0);
}

/// Everything about every file of a tree, by path. Made with the standard library, not with what is tested.
pub fn describe(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    describe_into(top, Path::new(""), &mut found, &mut Some(HashMap::new()));
    found
}

/// The same without which names are of one file: where some of these are gone, not every driver can tell.
pub fn describe_names_alone(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    describe_into(top, Path::new(""), &mut found, &mut None);
    found
}

/// The first name of each file that has several, if it is looked for.
type Names = Option<HashMap<(u64, u64), PathBuf>>;

fn describe_into(top: &Path, path: &Path, found: &mut BTreeMap<PathBuf, String>, names: &mut Names) {
    let full = top.join(path);
    let stat = fs::symlink_metadata(&full).unwrap();
    let kind = stat.file_type();
    let mut text = format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid());
    // The top's own time is nobody's business: some file systems change it when it is renamed.
    if path != Path::new("") {
        text += &format!(" {}.{}", stat.mtime(), stat.mtime_nsec());
    }
    if kind.is_file() {
        text += &format!(" {} bytes {:x}", stat.size(), content(&full));
        // How a hole is rounded differs, but 17 MiB of holes must not become data.
        let sparse = stat.size() < 8 << 20 || stat.blocks() * 512 < 1 << 20 || counts_no_blocks(&full);
        assert!(sparse, "{} is not sparse any more", full.display());
    } else if kind.is_symlink() {
        text += &format!(" -> {:?}", fs::read_link(&full).unwrap());
    } else if !kind.is_dir() {
        text += &format!(" device {}", stat.rdev());
    }
    if let Some(names) = names
        && !kind.is_dir()
        && stat.nlink() > 1
    {
        let first = names.entry((stat.dev(), stat.ino())).or_insert_with(|| path.to_owned());
        text += &format!(" {} names, first {}", stat.nlink(), first.display());
    }
    for (key, value) in xattrs(&full) {
        text += &format!(" {key:?}={value:?}");
    }
    found.insert(path.to_owned(), text);
    if kind.is_dir() {
        let mut children: Vec<OsString> = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        children.sort();
        for name in children {
            describe_into(top, &path.join(name), found, names);
        }
    }
}

/// Ceph's own file system makes up the blocks of a file from its size.
fn counts_no_blocks(path: &Path) -> bool {
    const CEPH: i64 = 0x00c3_6400;
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == CEPH)
}

fn content(path: &Path) -> u64 {
    // FNV-1a, eight bytes a step.
    let word = |bytes: &[u8]| bytes.try_into().map_or(bytes.len() as u64, u64::from_le_bytes);
    let mut bytes = fs::read(path).unwrap();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, bytes| (hash ^ word(bytes)).wrapping_mul(0x0100_0000_01b3))
}

fn xattrs(path: &Path) -> Vec<(CString, Vec<u8>)> {
    let mut list = vec![0; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut list[..]) else { return Vec::new() };
    let mut all: Vec<_> =
        list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(|name| CString::new(name).unwrap()).collect();
    all.sort();
    let value = |name: CString| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name.as_c_str(), &mut value[..]).unwrap();
        value.truncate(length);
        (name, value)
    };
    all.into_iter().map(value).collect()
}

#[track_caller]
pub fn check_same(expect: &BTreeMap<PathBuf, String>, got: &BTreeMap<PathBuf, String>) {
    for (path, text) in expect {
        let shown = PathBuf::from(OsString::from_vec(path.as_os_str().as_bytes().to_vec()));
        assert_eq!(got.get(path), Some(text), "{}", shown.display());
    }
    assert_eq!(expect.len(), got.len());
}
