//! Handing an image's files out, under the names that LXD gives them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use coffer_model::Fingerprint;
use rustix::fs::{Mode, OFlags, openat};

use crate::format::{Format, MAGIC_BYTES};
use crate::receive::{names, size_of};

/// The files to hand out: one for a unified image, two for a split one.
#[derive(Debug)]
pub struct Export {
    /// The files, in the order in which the fingerprint hashes them.
    pub parts: Vec<Part>,
}

/// One file to hand out.
#[derive(Debug)]
pub struct Part {
    /// Its field's name in a multipart answer: `metadata` or `rootfs`.
    pub field: &'static str,
    /// The file name the client is told: `FINGERPRINT.tar.xz`; `meta-FINGERPRINT.tar.xz` and `FINGERPRINT.squashfs`.
    pub filename: String,
    /// Its content.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

/// Why an image cannot be handed out.
#[derive(Debug, thiserror::Error)]
#[error("opening the image file {name}")]
pub struct ExportError {
    /// The file's name in the images directory.
    pub name: String,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

/// Opens an image's files in the images directory.
///
/// # Errors
/// [`ExportError`] if the image's first file is not there or cannot be read.
pub fn export(images: BorrowedFd<'_>, fingerprint: &Fingerprint) -> Result<Export, ExportError> {
    let (metadata, rootfs) = names(fingerprint);
    let rootfs = match open(images, &rootfs) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened?),
    };
    let (file, size, ending) = open(images, &metadata)?;
    let prefix = if rootfs.is_some() { "meta-" } else { "" };
    let mut parts = vec![Part { field: "metadata", filename: format!("{prefix}{fingerprint}{ending}"), file, size }];
    parts.extend(rootfs.map(|(file, size, ending)| Part { field: "rootfs", filename: format!("{fingerprint}{ending}"), file, size }));
    Ok(Export { parts })
}

fn open(images: BorrowedFd<'_>, name: &str) -> Result<(File, u64, &'static str), ExportError> {
    let failed = |cause: io::Error| ExportError { name: name.to_owned(), cause };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(images, name, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?);
    let size = size_of(file.as_fd()).map_err(failed)?;
    let mut start = vec![0; MAGIC_BYTES];
    let count = file.read_at(&mut start, 0).map_err(failed)?;
    Ok((file, size, Format::of(&start[..count]).map_or("", Format::extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[track_caller]
    fn check(files: &[(&str, &[u8])], expect: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for (suffix, content) in files {
            std::fs::write(dir.path().join(format!("{FINGERPRINT}{suffix}")), content).unwrap();
        }
        let images = File::open(dir.path()).unwrap();
        let got = match export(images.as_fd(), &FINGERPRINT.parse().unwrap()) {
            Ok(export) => export.parts.iter().map(|part| format!("{} {} {}", part.field, part.filename, part.size)).collect(),
            Err(error) => vec![coffer_base::chain(&error)],
        };
        let expect: Vec<String> = expect.iter().map(|line| line.replace("FP", FINGERPRINT)).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn names_as_lxd_gives_them() {
        check(&[("", b"\xfd7zXZ\0")], &["metadata FP.tar.xz 6"]);
        check(&[("", b"\x1f\x8b"), (".rootfs", b"hsqs1")], &["metadata meta-FP.tar.gz 2", "rootfs FP.squashfs 5"]);
        check(&[], &["opening the image file FP: No such file or directory (os error 2)"]);
    }
}
