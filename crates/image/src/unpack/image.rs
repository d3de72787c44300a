//! The confined side of unpacking images and of looking at them.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};

use super::archive;
use super::confine::Sight;
use super::ending;
use super::entry::{Content, Entry};
use super::failure::Failure;
use super::layout::{Layout, Sink, virtual_machine};
use super::look::Look;
use super::order::{Confinement, Limits, Line, Unpacked};
use super::report::Reporter;
use super::squashfs;
use super::stream::Stream;
use super::volume::{Origin, Volume};
use super::worker::Job;
use crate::format::{Compression, Format, MAGIC_BYTES};
use crate::receive::size_of;

/// An image to unpack, or to look at.
pub(super) struct ImageJob {
    metadata: OwnedFd,
    rootfs: Option<OwnedFd>,
    task: ImageTask,
    limits: Limits,
}

/// What is done with an image.
enum ImageTask {
    /// Unpack it into this directory.
    Unpack(OwnedFd),
    /// Read it; to the last byte, or only its beginning and its end.
    Inspect { whole: bool },
}

impl ImageJob {
    /// Takes the image's files and the directory to fill.
    pub(super) fn unpack(split: bool, limits: Limits, mut files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        let metadata = files.next()?;
        let rootfs = if split { Some(files.next()?) } else { None };
        Some(Self { metadata, rootfs, task: ImageTask::Unpack(files.next()?), limits })
    }

    /// Takes the image's files.
    pub(super) fn inspect(split: bool, limits: Limits, whole: bool, mut files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        let metadata = files.next()?;
        let rootfs = if split { Some(files.next()?) } else { None };
        Some(Self { metadata, rootfs, task: ImageTask::Inspect { whole }, limits })
    }

    fn write(&self, reporter: &Reporter, confinement: Confinement) -> Result<Unpacked, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = openat(rustix::fs::CWD, "/", flags, Mode::empty()).map_err(|errno| Failure::write("opening", b"/", errno))?;
        let mut unpack = Volume::new(target, self.limits, Origin::Image);
        let mut layout = Layout::new(&mut unpack, self.rootfs.is_some());
        self.first(reporter, &mut |entry, content| layout.member(entry, content).map(|_| ControlFlow::Continue(())))?;
        let skipped_members = layout.finish()?;
        self.second(reporter, true, &mut |entry, content| unpack.rootfs(entry, content).map(ControlFlow::Continue))?;
        let mut unpacked = Unpacked { skipped_members, confinement, ..Unpacked::default() };
        for device in unpack.finish(&mut unpacked)? {
            reporter.device(device)?;
        }
        Ok(unpacked)
    }

    fn look(&self, reporter: &Reporter, whole: bool) -> Result<(), Failure> {
        let metadata = format_of("metadata", self.metadata.as_fd())?;
        let rootfs = self.rootfs.as_ref().map(|rootfs| Ok((rootfs, format_of("rootfs", rootfs.as_fd())?))).transpose()?;
        let mut look = Look::new(self.limits);
        let mut layout = Layout::new(&mut look, rootfs.is_some());
        // The metadata alone is small.
        let reads_on = whole || rootfs.is_some() || !ending::shows(metadata);
        self.first(reporter, &mut |entry, content| {
            let enough = layout.member(entry, content)?;
            Ok(if reads_on { ControlFlow::Continue(()) } else { enough })
        })?;
        layout.finish()?;
        ending::require("metadata", self.metadata.as_fd(), metadata)?;
        if let Some((file, format)) = rootfs {
            // The names of a squashfs are few bytes of it, and its files' content is not read.
            let reads_on = whole || format == Format::Squashfs || !ending::shows(format);
            self.second(reporter, false, &mut |entry, content| {
                look.rootfs(entry, content)?;
                Ok(if reads_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            ending::require("rootfs", file.as_fd(), format)?;
        }
        let text = String::from_utf8(look.text.unwrap_or_default());
        let text = text.map_err(|_| Failure::refused(b"metadata.yaml", "it is not UTF-8 text"))?;
        reporter.metadata(&text).map_err(|error| Failure::confine("sending the metadata", error))
    }

    /// Reads the unified archive or the metadata's.
    fn first(&self, reporter: &Reporter, visit: &mut Visitor<'_>) -> Result<(), Failure> {
        match format_of("metadata", self.metadata.as_fd())? {
            Format::Tar(compression) => archive_of("metadata", self.metadata.as_fd(), compression, self.limits, reporter, visit)?,
            Format::Squashfs => {
                let instead = "its metadata must be a tar archive; import a squashfs as the second file".to_owned();
                return Err(Failure::Unsupported { what: "a unified image in squashfs".into(), instead });
            }
            Format::Qcow2 => return Err(virtual_machine()),
        }
        reporter.file_done(size_of(self.metadata.as_fd()).unwrap_or(0));
        Ok(())
    }

    /// Reads the root file system's file, if there is one.
    fn second(&self, reporter: &Reporter, content: bool, visit: &mut Visitor<'_>) -> Result<(), Failure> {
        let Some(rootfs) = &self.rootfs else { return Ok(()) };
        match format_of("rootfs", rootfs.as_fd())? {
            Format::Tar(compression) => archive_of("rootfs", rootfs.as_fd(), compression, self.limits, reporter, visit),
            Format::Squashfs => squashfs::read(duplicate(rootfs.as_fd())?, self.limits, content, reporter, visit),
            Format::Qcow2 => Err(virtual_machine()),
        }
    }
}

impl Job for ImageJob {
    fn sight(&self) -> Sight<'_> {
        let root = match &self.task {
            ImageTask::Unpack(target) => Some(target.as_fd()),
            ImageTask::Inspect { .. } => None,
        };
        Sight { root, ..Sight::default() }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.rootfs.iter().chain([&self.metadata]).map(AsFd::as_fd).collect()
    }

    fn work(&self, reporter: &Reporter, confinement: Confinement, _: Vec<OwnedFd>) -> Result<Line, Failure> {
        match self.task {
            ImageTask::Unpack(_) => self.write(reporter, confinement).map(Line::Unpacked),
            ImageTask::Inspect { whole } => self.look(reporter, whole).map(|()| Line::Inspected),
        }
    }
}

/// Reads a tar archive.
pub(super) fn archive_of(
    part: &'static str,
    file: BorrowedFd<'_>,
    compression: Compression,
    limits: Limits,
    reporter: &Reporter,
    visit: &mut Visitor<'_>,
) -> Result<(), Failure> {
    archive::read(&mut Stream::open(part, duplicate(file)?, compression, limits.archive_bytes(), reporter)?, visit)
}

/// What is done with each member.
pub(super) type Visitor<'a> = dyn FnMut(Entry, &mut dyn Content) -> Result<ControlFlow<()>, Failure> + 'a;

fn duplicate(file: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    file.try_clone_to_owned().map_err(|error| Failure::confine("copying a descriptor", error))
}

/// What a file is, by its first bytes.
pub(super) fn format_of(part: &str, file: BorrowedFd<'_>) -> Result<Format, Failure> {
    let mut start = vec![0; MAGIC_BYTES];
    let count = rustix::io::pread(file, &mut start, 0);
    let count = count.map_err(|errno| Failure::Read { part: part.to_owned(), errno: errno.raw_os_error() })?;
    Format::of(&start[..count]).ok_or_else(|| Failure::Format { part: part.to_owned() })
}
