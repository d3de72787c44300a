//! File trees that no person would think of: grown from a seed, the same for the same seed.
//!
//! All that an archive must carry is in them by chance: owners, modes, times, hard links, holes, pipes, the device nodes that
//! every instance has, attributes, access lists, capabilities, long and odd names, long links.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat};

/// Sizes about which archives make mistakes.
const SIZES: [u64; 9] = [0, 1, 511, 512, 513, 4095, 4096, 10_240, 70_000];

/// The device nodes that every instance has, and so keeps.
const DEVICES: [(u32, u32); 4] = [(1, 3), (1, 5), (1, 8), (5, 0)];

/// Names that need care: of one byte, with everything that some tool takes for a sign, and of every length that is special.
const ODD: [&str; 8] = ["-n", " ", "a\nb", "*?[x]", "back\\slash", "quo\"te'", "\u{e9}\u{4e2d}\u{1f5c4}", "%41$HOME;#"];

/// Numbers that follow from a seed. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("an index")]
    }

    fn chance(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.next() & 0xff).expect("a byte")).collect()
    }
}

/// Grows a tree in a new directory.
///
/// # Panics
/// The file system refuses.
#[track_caller]
pub fn grow(directory: &Path, seed: u64) {
    let mut tree = Tree { random: Random(seed), files: Vec::new(), left: 40 };
    fs::create_dir(directory).expect("a directory");
    tree.fill(directory, 0);
    tree.finish(directory);
}

struct Tree {
    random: Random,
    /// The regular files so far, for hard links.
    files: Vec<PathBuf>,
    /// How many more names there may be.
    left: u32,
}

impl Tree {
    fn fill(&mut self, directory: &Path, depth: u32) {
        for number in 0..1 + self.random.below(9) {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let path = directory.join(self.name(number));
            match self.random.below(20) {
                0..=4 if depth < 6 => {
                    fs::create_dir(&path).expect("a directory");
                    self.fill(&path, depth + 1);
                }
                5..=6 => self.link(&path),
                7 if !self.files.is_empty() => {
                    let first = self.files[usize::try_from(self.random.below(self.files.len() as u64)).expect("an index")].clone();
                    fs::hard_link(first, &path).expect("a hard link");
                    continue;
                }
                8 => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe"),
                9 => {
                    let (major, minor) = self.random.one_of(&DEVICES);
                    let device = rustix::fs::makedev(major, minor);
                    mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), device).expect("a device node");
                }
                10 => self.sparse(&path),
                _ => self.file(&path),
            }
            self.finish(&path);
        }
    }

    /// A name that nothing else in its directory has: it begins with its number.
    fn name(&mut self, number: u64) -> String {
        match self.random.below(12) {
            0..=2 => format!("{}{number}", self.random.one_of(&ODD)),
            3 => format!("{number}{}", "n".repeat(usize::try_from(90 + self.random.below(20)).expect("a length"))),
            4 => format!("{number}{}", "m".repeat(254)),
            _ => format!("f{number}"),
        }
    }

    fn link(&mut self, path: &Path) {
        let length = usize::try_from(1 + self.random.below(300)).expect("a length");
        let text = match self.random.below(5) {
            0 => "/etc/passwd".to_owned(),
            1 => "../".repeat(1 + length / 10),
            2 => format!("{}/x", "l".repeat(length)),
            3 => self.random.one_of(&ODD).to_owned(),
            _ => "f0".to_owned(),
        };
        symlink(text, path).expect("a symbolic link");
    }

    fn file(&mut self, path: &Path) {
        let size = self.random.one_of(&SIZES);
        fs::write(path, self.random.bytes(size)).expect("a file");
        self.files.push(path.to_owned());
    }

    /// A file with data at a few places, and holes between and perhaps around them.
    fn sparse(&mut self, path: &Path) {
        let file = fs::File::create(path).expect("a file");
        let size = 4096 * (1 + self.random.below(1000)) + self.random.below(4096);
        file.set_len(size).expect("a size");
        for _ in 0..self.random.below(5) {
            let (at, count) = (self.random.below(size), 1 + self.random.below(9000));
            let bytes = self.random.bytes(count.min(size - at));
            file.write_all_at(&bytes, at).expect("room");
        }
        self.files.push(path.to_owned());
    }

    /// Gives what was made an owner, a mode, attributes and a time. In this order: each takes something of the next away.
    fn finish(&mut self, path: &Path) {
        let kind = fs::symlink_metadata(path).expect("what was made").file_type();
        let (uid, gid) = (self.random.one_of(&[0, 0, 1, 33, 1000, 65534]), self.random.one_of(&[0, 0, 5, 100, 65534]));
        lchown(path, Some(uid), Some(gid)).expect("another owner");
        if !kind.is_symlink() {
            let mode = u32::try_from(self.random.below(0o10000)).expect("a mode");
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        if kind.is_file() || kind.is_dir() {
            self.attributes(path, kind.is_dir());
        }
        let seconds = i64::try_from(1 + self.random.below(2_000_000_000)).expect("a time");
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
    }

    fn attributes(&mut self, path: &Path, directory: bool) {
        for number in 0..self.random.below(3) {
            let count = self.random.one_of(&[0, 1, 30, 200]);
            let value = self.random.bytes(count);
            set(path, &format!("user.{number}"), &value);
        }
        if self.random.chance(5) {
            set(path, "system.posix_acl_access", &self.access_list());
        }
        if directory && self.random.chance(5) {
            set(path, "system.posix_acl_default", &self.access_list());
        }
        if !directory && self.random.chance(5) {
            // Revision 2, effective. Source: `struct vfs_cap_data` of `linux/capability.h`.
            let permitted = u32::try_from(self.random.below(1 << 20)).expect("capabilities").to_le_bytes();
            set(path, "security.capability", &[&[1, 0, 0, 2][..], &permitted, &[0; 12]].concat());
        }
    }

    /// A list of the owner, one more user, the group, the mask and the others. Source: acl(5), `linux/posix_acl_xattr.h`.
    fn access_list(&mut self) -> Vec<u8> {
        let user = self.random.one_of(&[1, 1000, 65534]);
        let mut list = vec![2, 0, 0, 0];
        for (tag, id) in [(1_u16, u32::MAX), (2, user), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)] {
            list.extend(tag.to_le_bytes());
            list.extend(u16::try_from(self.random.below(8)).expect("permissions").to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|errno| panic!("{} {name}: {errno}", path.display()));
}
