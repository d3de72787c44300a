//! Unpacking in a directory of the test's own, and saying what is there as text.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coffer_base::Progress;
use coffer_image::unpack::InspectRequest;
use coffer_image::{Limits, UnpackRequest, Unpacked, Unpacker};

/// The program under test.
pub fn unpacker() -> Unpacker {
    Unpacker::at(env!("CARGO_BIN_EXE_coffer-unpack"))
}

/// An image's bytes: the unified archive or the metadata's, and the root file system of a split one.
#[derive(Clone, Default)]
pub struct Image {
    pub metadata: Vec<u8>,
    pub rootfs: Option<Vec<u8>>,
}

impl Image {
    pub fn unified(metadata: Vec<u8>) -> Self {
        Self { metadata, rootfs: None }
    }

    pub fn split(metadata: Vec<u8>, rootfs: Vec<u8>) -> Self {
        Self { metadata, rootfs: Some(rootfs) }
    }

    /// Unpacks into `target`.
    pub fn unpack_into(&self, target: &Path, limits: Limits) -> Result<Unpacked, String> {
        let (metadata, rootfs) = (file(&self.metadata), self.rootfs.as_ref().map(|bytes| file(bytes)));
        let target = File::open(target).unwrap();
        let rootfs = rootfs.as_ref().map(AsFd::as_fd);
        let request = UnpackRequest { metadata: metadata.as_fd(), rootfs, target: target.as_fd(), limits };
        unpacker().unpack(&request, &Progress::default()).map_err(|error| coffer_base::chain(&error))
    }

    /// Unpacks into a new directory.
    pub fn unpack(&self) -> Result<(tempfile::TempDir, Unpacked), String> {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = self.unpack_into(dir.path(), Limits::default())?;
        Ok((dir, unpacked))
    }

    /// Reads without writing.
    pub fn inspect(&self, whole: bool, limits: Limits) -> Result<String, String> {
        let (metadata, rootfs) = (file(&self.metadata), self.rootfs.as_ref().map(|bytes| file(bytes)));
        let rootfs = rootfs.as_ref().map(AsFd::as_fd);
        let request = InspectRequest { metadata: metadata.as_fd(), rootfs, limits, whole };
        let inspected = unpacker().inspect(&request, &Progress::default()).map_err(|error| coffer_base::chain(&error))?;
        Ok(format!("{:?}", inspected.metadata))
    }

    /// Checks that unpacking is refused, with these words in the reason, and that looking at it refuses it likewise.
    #[track_caller]
    pub fn refused(&self, expect: &str) {
        let unpacked = self.unpack().map(|(dir, _)| listing(dir.path())).expect_err("this image must be refused");
        assert!(unpacked.contains(expect), "{unpacked}");
        let inspected = self.inspect(true, Limits::default()).expect_err("looking at this image must refuse it");
        assert!(inspected.contains(expect), "{inspected}");
    }

    /// Checks that unpacking fails, whether or not looking does.
    #[track_caller]
    pub fn fails(&self, expect: &str) {
        let unpacked = self.unpack().map(|(dir, _)| listing(dir.path())).expect_err("this image must be refused");
        assert!(unpacked.contains(expect), "{unpacked}");
    }

    /// Checks what is there after unpacking; the first expected line may be left out if it is `metadata.yaml`'s.
    #[track_caller]
    pub fn gives(&self, expect: &str) {
        let (dir, _) = self.unpack().unwrap();
        let got = listing(dir.path());
        let expect: String = expect.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
        assert_eq!(got, expect, "\n{got}");
    }
}

/// A file in memory's stead, with its offset not at the start: nobody may rely on it.
pub fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(std::io::SeekFrom::Start(3)).unwrap();
    file
}

/// Everything beneath a directory but `metadata.yaml`, one line each: kind, mode, owner, name, content or link.
pub fn listing(dir: &Path) -> String {
    let mut text = String::new();
    list(dir, dir, &mut text);
    text
}

fn list(top: &Path, dir: &Path, text: &mut String) {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(top).unwrap();
        if name == Path::new("metadata.yaml") {
            continue;
        }
        let metadata = path.symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let (letter, content) = if kind.is_dir() {
            ('d', String::new())
        } else if kind.is_symlink() {
            ('l', format!(" -> {}", path.read_link().unwrap().display()))
        } else if kind.is_file() && metadata.len() < 100 {
            ('f', format!(" {:?}", String::from_utf8_lossy(&std::fs::read(&path).unwrap())))
        } else if kind.is_file() {
            ('f', format!(" {} bytes", metadata.len()))
        } else {
            ('?', String::new())
        };
        let mode = metadata.mode() & 0o7777;
        writeln!(text, "{letter} {mode:o} {}:{} {}{content}", metadata.uid(), metadata.gid(), name.display()).unwrap();
        if kind.is_dir() {
            list(top, &path, text);
        }
    }
}

/// A new file system of the kernel, mounted nowhere: it is reached through its descriptor.
pub fn filesystem(kind: &str, options: &[(&str, &str)]) -> std::os::fd::OwnedFd {
    let context = rustix::mount::fsopen(kind, rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&context, *key, *value).unwrap();
    }
    rustix::mount::fsconfig_create(&context).unwrap();
    let attributes = rustix::mount::MountAttrFlags::empty();
    rustix::mount::fsmount(&context, rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap()
}
