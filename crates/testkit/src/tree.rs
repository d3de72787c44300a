//! File trees with everything that a file can be: planted, and described so that two can be compared.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use sha2::{Digest, Sha256};

/// A capability (`cap_net_raw+ep`) as the kernel keeps it. Source: `struct vfs_cap_data` of `linux/capability.h`.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The access list `u::rw-,u:1000:r--,g::r--,m::r--,o::---` as the kernel keeps it. Source: acl(5), `linux/posix_acl_xattr.h`.
const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255,
    32, 0, 0, 0, 255, 255, 255, 255,
];

/// Makes one of each kind of file in a directory: owners, modes, links, a hole, a device, attributes, an access list, a capability.
///
/// # Panics
/// The file system refuses.
#[track_caller]
pub fn plant(directory: &Path) {
    let at = |name: &str| directory.join(name);
    fs::create_dir_all(at("deep/deeper")).expect("directories");
    fs::write(at("file"), "text\n").expect("a file");
    fs::write(at("odd name \\ é\n"), "odd").expect("a file with an odd name");
    fs::hard_link(at("file"), at("deep/again")).expect("a hard link");
    symlink("../file", at("deep/link")).expect("a symbolic link");
    symlink("/etc/passwd", at("absolute")).expect("an absolute link");
    let sparse = fs::File::create(at("sparse")).expect("a file with a hole");
    sparse.set_len(5_000_000).expect("a hole");
    fs::write(at("empty"), "").expect("an empty file");
    mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o640), rustix::fs::makedev(1, 3)).expect("a device node");
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    for (name, uid, gid) in [("file", 1000, 50), ("deep/link", 1000, 1000), ("null", 0, 6), ("deep/deeper", 65534, 65534)] {
        lchown(at(name), Some(uid), Some(gid)).expect("another owner");
    }
    for (name, mode) in [("file", 0o4750), ("deep", 0o1777), ("deep/deeper", 0o2700), ("empty", 0)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let attributes: [(&str, &str, &[u8]); 4] = [
        ("sparse", "user.note", b"a\nb\0c"),
        ("sparse", "security.capability", &CAPABILITY),
        ("odd name \\ é\n", "system.posix_acl_access", &ACCESS_LIST),
        ("deep", "user.empty", b""),
    ];
    for (name, attribute, value) in attributes {
        rustix::fs::setxattr(at(name), attribute, value, XattrFlags::empty()).unwrap_or_else(|errno| panic!("{attribute}: {errno}"));
    }
    let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(981_173_106);
    for name in ["file", "sparse", "deep/deeper"] {
        fs::File::open(at(name)).and_then(|file| file.set_modified(then)).expect("a time");
    }
}

/// Gives every file in a directory a time of whole seconds: not every archive keeps more.
///
/// # Panics
/// The file system refuses.
#[track_caller]
pub fn settle_times(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            settle_times(&path);
        } else if kind.is_file() {
            let file = fs::File::open(&path).expect("a file");
            let whole = file.metadata().and_then(|about| about.modified()).expect("a time");
            let seconds = whole.duration_since(std::time::SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs();
            let whole = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(whole).expect("another time");
        }
    }
}

/// Describes all that is in a directory, a line each: path, kind, mode, owner, size, links, device, content, attributes. Times in
/// seconds, of files only: those of directories change with what is made in them.
///
/// # Panics
/// Something cannot be read.
#[must_use]
#[track_caller]
pub fn describe(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(directory, Path::new(""), &mut lines);
    lines
}

fn walk(top: &Path, below: &Path, lines: &mut Vec<String>) {
    let path = top.join(below);
    let about = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = about.file_type();
    let mut line = format!("{below:?} {:o} {}:{}", about.mode(), about.uid(), about.gid());
    if kind.is_file() {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let hole = about.len() > 1 << 20 && about.blocks() * 512 < about.len() / 2;
        line += &format!(" {} bytes {} links {} {:02x?}", about.len(), about.nlink(), about.mtime(), &Sha256::digest(&bytes)[..4]);
        line += if hole { " with a hole" } else { "" };
    }
    if kind.is_symlink() {
        line += &format!(" to {:?}", fs::read_link(&path).unwrap_or_default());
    }
    if kind.is_char_device() || kind.is_block_device() {
        line += &format!(" device {:x}", about.rdev());
    }
    line += &attributes(&path);
    lines.push(line);
    if kind.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            walk(top, &below.join(name), lines);
        }
    }
}

fn attributes(path: &Path) -> String {
    let mut names = vec![0u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut names: Vec<&[u8]> = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let value = |name: &[u8]| {
        let mut value = vec![0u8; 65536];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap_or(0);
        format!(" {}={:02x?}", String::from_utf8_lossy(name), &value[..length])
    };
    names.into_iter().map(value).collect()
}
