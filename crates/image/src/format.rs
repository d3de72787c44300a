//! What a file is, by its first bytes.

/// How many of a file's first bytes [`Format::of`] wants to see.
pub const MAGIC_BYTES: usize = 512;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// The older format of the same family, without a checksum.
    Lzma,
    /// Zstandard.
    Zstd,
}

/// What a file of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A tar archive; for a compressed file this is an assumption that only reading it proves.
    Tar(Compression),
    /// A squashfs file system.
    Squashfs,
    /// A virtual machine's disk in the qcow2 format.
    Qcow2,
}

/// The first bytes that give a format away, with where they stand.
const MAGIC: &[(usize, &[u8], Format)] = &[
    (0, b"\x1f\x8b", Format::Tar(Compression::Gzip)),
    (0, b"BZh", Format::Tar(Compression::Bzip2)),
    (0, b"\xfd7zXZ\0", Format::Tar(Compression::Xz)),
    (0, b"\x5d\0\0", Format::Tar(Compression::Lzma)),
    (0, b"\x28\xb5\x2f\xfd", Format::Tar(Compression::Zstd)),
    (0, b"hsqs", Format::Squashfs),
    (0, b"QFI\xfb", Format::Qcow2),
    (257, b"ustar", Format::Tar(Compression::None)),
];

impl Format {
    /// Tells the format from a file's first bytes, of which [`MAGIC_BYTES`] are enough.
    ///
    /// An archive of the oldest tar kind has no magic; it is known by the checksum of its first header.
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        let by_magic = MAGIC.iter().find(|(at, magic, _)| start.get(*at..at + magic.len()) == Some(magic));
        match by_magic {
            Some((_, _, format)) => Some(*format),
            None => is_old_tar(start).then_some(Self::Tar(Compression::None)),
        }
    }

    /// The file name's ending that LXD uses for this format, with its dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Tar(Compression::None) => ".tar",
            Self::Tar(Compression::Gzip) => ".tar.gz",
            Self::Tar(Compression::Bzip2) => ".tar.bz2",
            Self::Tar(Compression::Xz) => ".tar.xz",
            Self::Tar(Compression::Lzma) => ".tar.lzma",
            Self::Tar(Compression::Zstd) => ".tar.zst",
            Self::Squashfs => ".squashfs",
            Self::Qcow2 => ".qcow2",
        }
    }
}

fn is_old_tar(start: &[u8]) -> bool {
    let Some(block) = start.get(..512) else { return false };
    let field = &block[148..156];
    let digits: String = field.iter().map(|&byte| char::from(byte)).take_while(|c| *c != '\0').collect();
    let Ok(claimed) = u32::from_str_radix(digits.trim(), 8) else { return false };
    let rest: u32 = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum();
    block[0] != 0 && claimed == rest + 8 * u32::from(b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(start: &[u8], expect: Option<&str>) {
        assert_eq!(Format::of(start).map(Format::extension), expect);
    }

    #[test]
    fn by_first_bytes() {
        check(b"\x1f\x8b\x08rest", Some(".tar.gz"));
        check(b"BZh91AY", Some(".tar.bz2"));
        check(b"\xfd7zXZ\0\0\x04", Some(".tar.xz"));
        check(b"\x5d\0\0\x80\0", Some(".tar.lzma"));
        check(b"\x28\xb5\x2f\xfd", Some(".tar.zst"));
        check(b"hsqs\0\0", Some(".squashfs"));
        check(b"QFI\xfb\0\0\0\x03", Some(".qcow2"));
        check(b"", None);
        check(b"#!/bin/sh", None);
        check(&[0; 512], None);
    }

    #[test]
    fn tar_old_and_new() {
        for mut header in [tar::Header::new_old(), tar::Header::new_ustar(), tar::Header::new_gnu()] {
            header.set_path("metadata.yaml").unwrap();
            header.set_size(0);
            header.set_cksum();
            check(header.as_bytes(), Some(".tar"));
        }
    }
}
