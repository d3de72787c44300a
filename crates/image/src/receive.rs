//! Taking in an image's bytes: into files without a name, hashed on the way, named only when all is well.
//!
//! A transfer that ends early, by error or by the death of the daemon, leaves nothing: the files have no name until
//! [`Arrived::keep`] and the kernel drops them with their last descriptor.

mod hasher;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use coffer_base::{Bytes, Progress, fault};
use coffer_model::Fingerprint;
use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, renameat, unlinkat};

use self::hasher::Hasher;
use crate::unpack::{InspectRequest, Inspected, Limits, UnpackError, Unpacker};

/// After so many bytes the kernel is asked to begin writing them to disk, so that little is left to wait for in the end.
const STRETCH: u64 = 4 << 20;

/// After so many bytes the thread that hashes is told of them.
const NEWS: u64 = 512 << 10;

/// The stage under which a transfer reports its progress.
const STAGE: &str = "download";

/// An image on its way in.
///
/// Feed it with [`Incoming::write`] (or as [`std::io::Write`]); for a split image call [`Incoming::begin_rootfs`] between the
/// metadata's bytes and the root file system's; end with [`Incoming::finish`]. Every call works on the calling thread and
/// waits for nothing but the disk.
pub struct Incoming {
    images: OwnedFd,
    metadata: OwnedFd,
    rootfs: Option<OwnedFd>,
    hasher: Hasher,
    received: u64,
    /// Bytes of the file that is being written, how many of them are on their way to disk, and how many the hasher knows of.
    written: u64,
    begun: u64,
    told: u64,
    limit: Option<Bytes>,
    total: Option<u64>,
    progress: Progress,
}

/// An image whose bytes are all here, still without a name.
#[derive(Debug)]
pub struct Arrived {
    images: OwnedFd,
    metadata: OwnedFd,
    rootfs: Option<OwnedFd>,
    fingerprint: Fingerprint,
    size: u64,
    /// Whether its bytes are on disk, once that was asked for: the kernel tells of a failure only once.
    synced: OnceLock<io::Result<()>>,
}

/// An image that stands in the images directory under its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its fingerprint, which is its files' name.
    pub fingerprint: Fingerprint,
    /// Bytes of its file or files.
    pub size: u64,
    /// Which files it has.
    pub parts: Parts,
}

/// Which files an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// One archive with metadata and root file system.
    Unified,
    /// An archive with the metadata, and the root file system beside it.
    Split,
}

/// Why an image was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The images directory takes no files without a name, or no files at all.
    #[error("making a file for the image in the images directory")]
    Create(#[source] io::Error),
    /// Writing the bytes failed.
    #[error("writing the image after {received} bytes")]
    Write {
        /// Bytes that were written before.
        received: u64,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The image is larger than it may be.
    #[error("the image is larger than the {limit} that are allowed here")]
    TooLarge {
        /// The limit.
        limit: Bytes,
    },
    /// Nothing was received for a part.
    #[error("the image's {part} part is empty")]
    Empty {
        /// `metadata` or `rootfs`.
        part: &'static str,
    },
    /// The root file system was begun twice.
    #[error("the image has more than one root file system")]
    SecondRootfs,
    /// Giving the file its name failed.
    #[error("naming the image file {name}")]
    Name {
        /// The name.
        name: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl Incoming {
    /// Begins to take in an image for the directory `images`; more than `limit` bytes are refused.
    ///
    /// # Errors
    /// [`ReceiveError::Create`] if the directory's file system has no `O_TMPFILE` or no room.
    pub fn begin(images: BorrowedFd<'_>, limit: Option<Bytes>, total: Option<u64>, progress: Progress) -> Result<Self, ReceiveError> {
        let images = images.try_clone_to_owned().map_err(ReceiveError::Create)?;
        let metadata = unnamed_file(images.as_fd())?;
        let hasher = Hasher::start(metadata.as_fd()).map_err(ReceiveError::Create)?;
        Ok(Self { images, metadata, rootfs: None, hasher, received: 0, written: 0, begun: 0, told: 0, limit, total, progress })
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// [`ReceiveError::TooLarge`] or [`ReceiveError::Write`], a full disk for one.
    pub fn write(&mut self, mut chunk: &[u8]) -> Result<(), ReceiveError> {
        let after = self.received.saturating_add(chunk.len() as u64);
        if let Some(limit) = self.limit.filter(|limit| after > limit.0) {
            return Err(ReceiveError::TooLarge { limit });
        }
        self.written += chunk.len() as u64;
        let file = self.rootfs.as_ref().unwrap_or(&self.metadata);
        while !chunk.is_empty() {
            match rustix::io::write(file, chunk) {
                Ok(written) => chunk = &chunk[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(ReceiveError::Write { received: self.received, cause: errno.into() }),
            }
        }
        self.received = after;
        if self.written - self.begun >= STRETCH {
            // A file system that does not do this does all in the end.
            let _ = coffer_sys::writeout::begin(file.as_fd(), self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        if self.written - self.told >= NEWS {
            self.tell();
        }
        self.progress.report(STAGE, self.received, self.total);
        Ok(())
    }

    /// Tells the hasher of all that is written.
    fn tell(&mut self) {
        self.hasher.written(self.written);
        self.told = self.written;
    }

    /// Says that the metadata's bytes are over and the root file system's follow.
    ///
    /// # Errors
    /// [`ReceiveError::Empty`], [`ReceiveError::SecondRootfs`] or [`ReceiveError::Create`].
    pub fn begin_rootfs(&mut self) -> Result<(), ReceiveError> {
        if self.rootfs.is_some() {
            return Err(ReceiveError::SecondRootfs);
        }
        if self.received == 0 {
            return Err(ReceiveError::Empty { part: "metadata" });
        }
        self.tell();
        let rootfs = unnamed_file(self.images.as_fd())?;
        self.hasher.next(rootfs.as_fd()).map_err(ReceiveError::Create)?;
        self.rootfs = Some(rootfs);
        (self.written, self.begun, self.told) = (0, 0, 0);
        Ok(())
    }

    /// Makes the root file system's bytes, which begin now, out of another image's root file system and a delta; there may be
    /// `limit` of them. If that fails, none are there, and they can still come another way.
    ///
    /// # Errors
    /// Those of [`Unpacker::patch`], and [`UnpackError::Talk`] where the file cannot be read back.
    pub fn patch_rootfs(
        &mut self,
        unpacker: &Unpacker,
        base: BorrowedFd<'_>,
        delta: BorrowedFd<'_>,
        limit: u64,
    ) -> Result<(), UnpackError> {
        let Some(rootfs) = &self.rootfs else { return Err(UnpackError::Talk(io::ErrorKind::InvalidInput.into())) };
        let patched = unpacker.patch(base, delta, rootfs.as_fd(), limit, &self.progress);
        match patched.and_then(|_| size_of(rootfs.as_fd()).map_err(UnpackError::Talk)) {
            Ok(bytes) => {
                self.received += bytes;
                self.written = bytes;
                self.tell();
                Ok(())
            }
            Err(error) => {
                rustix::fs::ftruncate(rootfs, 0).map_err(|errno| UnpackError::Talk(errno.into()))?;
                Err(error)
            }
        }
    }

    /// Bytes received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Ends the transfer. The bytes are on disk at the latest when [`Arrived::keep`] gives them their names, so that no power cut
    /// leaves half an image under one.
    ///
    /// # Errors
    /// [`ReceiveError::Empty`] or [`ReceiveError::Write`].
    pub fn finish(mut self) -> Result<Arrived, ReceiveError> {
        self.tell();
        let failed = |cause: io::Error| ReceiveError::Write { received: self.received, cause };
        if self.received == 0 {
            return Err(ReceiveError::Empty { part: "metadata" });
        }
        if let Some(rootfs) = &self.rootfs
            && size_of(rootfs.as_fd()).map_err(failed)? == 0
        {
            return Err(ReceiveError::Empty { part: "rootfs" });
        }
        fault::point("image.received").map_err(failed)?;
        let hex = self.hasher.finish().map_err(|cause| ReceiveError::Write { received: self.received, cause })?;
        let fingerprint = hex.parse().expect("64 lower-case hexadecimal digits are a fingerprint");
        Ok(Arrived {
            images: self.images,
            metadata: self.metadata,
            rootfs: self.rootfs,
            fingerprint,
            size: self.received,
            synced: OnceLock::new(),
        })
    }
}

impl Incoming {
    /// Ends the transfer of something that is used at once and gets no name: the file it was received in.
    ///
    /// # Errors
    /// [`ReceiveError::Empty`].
    pub fn into_file(self) -> Result<OwnedFd, ReceiveError> {
        if self.received == 0 { Err(ReceiveError::Empty { part: "only" }) } else { Ok(self.metadata) }
    }
}

impl io::Write for Incoming {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        match Self::write(self, chunk) {
            Ok(()) => Ok(chunk.len()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Arrived {
    /// SHA-256 of the bytes as they came.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Bytes of the file or files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Which files it will have.
    #[must_use]
    pub fn parts(&self) -> Parts {
        if self.rootfs.is_some() { Parts::Split } else { Parts::Unified }
    }

    /// Reads what the image says about itself, without writing anything, and that its files' ends are there. Unless `whole`,
    /// compressed archives are not read in between: what is wrong there is refused when the image is unpacked (decision 017).
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn inspect(&self, unpacker: &Unpacker, limits: Limits, whole: bool, progress: &Progress) -> Result<Inspected, UnpackError> {
        let rootfs = self.rootfs.as_ref().map(AsFd::as_fd);
        std::thread::scope(|scope| {
            // The disk works while the unpacker reads what is still in memory.
            scope.spawn(|| self.synced.get_or_init(|| self.sync()).is_ok());
            unpacker.inspect(&InspectRequest { metadata: self.metadata.as_fd(), rootfs, limits, whole }, progress)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.rootfs.iter().chain([&self.metadata]).try_for_each(|file| Ok(rustix::fs::fdatasync(file)?))
    }

    /// Gives the files their names in the images directory: the root file system's first, so that whoever sees the
    /// metadata's sees a whole image. Files of the same name are replaced; they have the same content.
    ///
    /// # Errors
    /// [`ReceiveError::Write`] if the bytes do not get to the disk; [`ReceiveError::Name`]. No name stays.
    pub fn keep(mut self) -> Result<Stored, ReceiveError> {
        let synced = self.synced.take().unwrap_or_else(|| self.sync());
        synced.map_err(|cause| ReceiveError::Write { received: self.size, cause })?;
        let (metadata, rootfs) = names(&self.fingerprint);
        if let Some(file) = &self.rootfs {
            name(self.images.as_fd(), file.as_fd(), &rootfs)?;
        }
        let named = name(self.images.as_fd(), self.metadata.as_fd(), &metadata).and_then(|()| {
            let synced = rustix::fs::fsync(&self.images).map_err(io::Error::from).and_then(|()| fault::point("image.stored"));
            synced.map_err(|cause| ReceiveError::Name { name: metadata.clone(), cause })
        });
        if let Err(error) = named {
            let _ = remove(self.images.as_fd(), &self.fingerprint);
            return Err(error);
        }
        Ok(Stored { parts: self.parts(), fingerprint: self.fingerprint, size: self.size })
    }
}

/// Removes an image's files from the images directory. Files that are not there are no error.
///
/// # Errors
/// What unlinking says.
pub fn remove(images: BorrowedFd<'_>, fingerprint: &Fingerprint) -> io::Result<()> {
    let (metadata, rootfs) = names(fingerprint);
    for name in [metadata, rootfs] {
        match unlinkat(images, &name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The names of an image's files: the unified archive or the metadata, and the root file system.
#[must_use]
pub fn names(fingerprint: &Fingerprint) -> (String, String) {
    (fingerprint.to_string(), format!("{fingerprint}.rootfs"))
}

fn unnamed_file(images: BorrowedFd<'_>) -> Result<OwnedFd, ReceiveError> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    openat(images, ".", flags, Mode::RUSR | Mode::WUSR).map_err(|errno| ReceiveError::Create(errno.into()))
}

fn name(images: BorrowedFd<'_>, file: BorrowedFd<'_>, name: &str) -> Result<(), ReceiveError> {
    let failed = |errno: rustix::io::Errno| ReceiveError::Name { name: name.to_owned(), cause: errno.into() };
    match linkat(file, "", images, name, AtFlags::EMPTY_PATH) {
        Err(rustix::io::Errno::EXIST) => {
            let beside = format!(".{name}.new");
            let _ = unlinkat(images, &beside, AtFlags::empty());
            linkat(file, "", images, &beside, AtFlags::EMPTY_PATH).map_err(failed)?;
            renameat(images, &beside, images, name).map_err(failed)
        }
        linked => linked.map_err(failed),
    }
}

pub(crate) fn size_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write as _;

    fn listing(dir: &std::path::Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn begin(dir: &std::path::Path, limit: Option<Bytes>) -> Incoming {
        let images = File::open(dir).unwrap();
        Incoming::begin(images.as_fd(), limit, None, Progress::default()).unwrap()
    }

    #[test]
    fn unified_is_named_by_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let mut incoming = begin(dir.path(), None);
        incoming.write_all(b"ab").unwrap();
        incoming.write_all(b"c").unwrap();
        let arrived = incoming.finish().unwrap();
        assert_eq!(listing(dir.path()), Vec::<String>::new());
        let stored = arrived.keep().unwrap();
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((stored.fingerprint.as_str(), stored.size, stored.parts), (hash, 3, Parts::Unified));
        assert_eq!(std::fs::read(dir.path().join(hash)).unwrap(), b"abc");
    }

    #[test]
    fn split_is_hashed_in_order_and_may_come_again() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut incoming = begin(dir.path(), None);
            Incoming::write(&mut incoming, b"a").unwrap();
            incoming.begin_rootfs().unwrap();
            Incoming::write(&mut incoming, b"bc").unwrap();
            let stored = incoming.finish().unwrap().keep().unwrap();
            assert_eq!(stored.parts, Parts::Split);
            let (metadata, rootfs) = names(&stored.fingerprint);
            assert_eq!(listing(dir.path()), [metadata.clone(), rootfs.clone()]);
            assert_eq!(std::fs::read(dir.path().join(rootfs)).unwrap(), b"bc");
        }
    }

    #[test]
    fn what_does_not_arrive_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut incoming = begin(dir.path(), Some(Bytes(4)));
        Incoming::write(&mut incoming, b"1234").unwrap();
        let error = Incoming::write(&mut incoming, b"5").unwrap_err();
        assert_eq!(error.to_string(), "the image is larger than the 4B that are allowed here");
        drop(incoming);
        assert_eq!(begin(dir.path(), None).finish().unwrap_err().to_string(), "the image's metadata part is empty");
        let mut split = begin(dir.path(), None);
        assert!(split.begin_rootfs().is_err());
        Incoming::write(&mut split, b"x").unwrap();
        split.begin_rootfs().unwrap();
        assert!(matches!(split.begin_rootfs(), Err(ReceiveError::SecondRootfs)));
        assert_eq!(split.finish().unwrap_err().to_string(), "the image's rootfs part is empty");
        assert_eq!(listing(dir.path()), Vec::<String>::new());
    }
}
