//! Where a member of an image's first archive belongs, and which members are refused.
//!
//! An image may name `metadata.yaml`, `templates/` and `rootfs/`. Nothing else ever reaches the instance's directory, so that no
//! image can plant a `backup.yaml`, an `exec-output` or whatever a later release keeps there.

use std::ops::ControlFlow;

use super::entry::{Content, Entry, Kind, Piece};
use super::failure::Failure;
use crate::metadata::MAX_SIZE;

/// What takes the members.
pub(super) trait Sink {
    /// Takes the text of `metadata.yaml`.
    fn metadata(&mut self, text: Vec<u8>) -> Result<(), Failure>;
    /// Takes a file or directory beneath `templates/`; the directory itself has an empty path.
    fn template(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure>;
    /// Takes a member of the root file system; its directory itself has an empty path.
    fn rootfs(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure>;
}

impl<S: Sink> Sink for &mut S {
    fn metadata(&mut self, text: Vec<u8>) -> Result<(), Failure> {
        (**self).metadata(text)
    }

    fn template(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        (**self).template(entry, content)
    }

    fn rootfs(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        (**self).rootfs(entry, content)
    }
}

/// Sorts the members of an image's first archive.
pub(super) struct Layout<S> {
    sink: S,
    /// The root file system comes in a file of its own.
    split: bool,
    metadata: bool,
    rootfs: bool,
    skipped: u64,
}

impl<S: Sink> Layout<S> {
    pub(super) fn new(sink: S, split: bool) -> Self {
        Self { sink, split, metadata: false, rootfs: false, skipped: 0 }
    }

    /// Takes one member; breaks once everything that tells what the image is has been seen.
    pub(super) fn member(&mut self, mut entry: Entry, content: &mut dyn Content) -> Result<ControlFlow<()>, Failure> {
        let name = std::mem::take(&mut entry.path);
        let (top, rest) = match name.iter().position(|&byte| byte == b'/') {
            Some(at) => (&name[..at], &name[at + 1..]),
            None => (name.as_slice(), b"".as_slice()),
        };
        entry.path = rest.to_vec();
        match top {
            b"" => {}
            b"metadata.yaml" => self.metadata(&name, &entry, content)?,
            b"templates" => self.template(&name, entry, content)?,
            b"rootfs" => self.rootfs(&name, entry, content)?,
            b"rootfs.img" => return Err(virtual_machine()),
            _ => self.other(&name, &entry)?,
        }
        let enough = self.metadata && (self.split || self.rootfs);
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Ends the archive; says how many members were left out.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        match (self.metadata, self.rootfs || self.split) {
            (false, _) => Err(Failure::NoMetadata),
            (true, false) => Err(Failure::NoRootfs),
            (true, true) => Ok(self.skipped),
        }
    }

    /// Ends the archive of a backup, in which the metadata may be missing; gives back what took the members, and says how many
    /// were left out.
    pub(super) fn finish_volume(self, name: &str) -> Result<(S, u64), Failure> {
        if self.rootfs { Ok((self.sink, self.skipped)) } else { Err(Failure::Incomplete { what: format!("{name}/rootfs") }) }
    }

    fn metadata(&mut self, name: &[u8], entry: &Entry, content: &mut dyn Content) -> Result<(), Failure> {
        let Kind::File(size) = entry.kind else { return Err(Failure::refused(name, "it must be a regular file")) };
        if !entry.path.is_empty() {
            return Err(Failure::refused(name, "metadata.yaml must be a regular file"));
        }
        if std::mem::replace(&mut self.metadata, true) {
            return Err(Failure::refused(name, "it is there twice"));
        }
        if size > MAX_SIZE as u64 {
            return Err(Failure::refused(name, format!("it has {size} bytes; at most {MAX_SIZE} are read")));
        }
        let mut text = Vec::new();
        while let Some(piece) = content.piece()? {
            match piece {
                Piece::Bytes(bytes) => text.extend_from_slice(bytes),
                Piece::Hole(length) => text.resize(text.len() + usize::try_from(length).expect("bounded by the size above"), 0),
            }
        }
        self.sink.metadata(text)
    }

    fn template(&mut self, name: &[u8], entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        let allowed = match &entry.kind {
            Kind::Directory => true,
            Kind::File(_) => !entry.path.is_empty(),
            Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Fifo | Kind::Device(_) | Kind::Socket => false,
        };
        if !allowed {
            return Err(Failure::refused(name, "templates/ may hold only regular files and directories, and must be a directory itself"));
        }
        self.sink.template(entry, content)
    }

    fn rootfs(&mut self, name: &[u8], mut entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        if self.split {
            return Err(Failure::refused(
                name,
                "the image has its root file system in a file of its own, and a second one beside its metadata",
            ));
        }
        if entry.path.is_empty() && entry.kind != Kind::Directory {
            return Err(Failure::refused(name, "rootfs must be a directory"));
        }
        if let Kind::Hardlink(target) = &mut entry.kind {
            let inside = target.strip_prefix(b"rootfs/".as_slice()).map(<[u8]>::to_vec);
            *target = inside.ok_or_else(|| Failure::refused(name, "it is a hard link to something outside rootfs/"))?;
        }
        self.rootfs = true;
        self.sink.rootfs(entry, content)
    }

    /// Leaves harmless strangers out, and refuses links and the like: nobody puts those beside a root file system in good faith.
    fn other(&mut self, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        match entry.kind {
            Kind::Directory | Kind::File(_) => {
                self.skipped += 1;
                Ok(())
            }
            Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Fifo | Kind::Device(_) | Kind::Socket => {
                Err(Failure::refused(name, "beside rootfs/ only metadata.yaml, templates/, regular files and directories are allowed"))
            }
        }
    }
}

/// The failure for an image that holds a disk.
pub(super) fn virtual_machine() -> Failure {
    Failure::Unsupported { what: "a virtual machine's image".into(), instead: "use an image with a rootfs directory".into() }
}
