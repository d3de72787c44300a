//! The confined side of reading the layers of an OCI image: tar archives, each laid over those before it.
//!
//! A member `.wh.NAME` says that NAME of the layers below is gone; `.wh..wh..opq` that all of its directory is. They speak of the
//! layers below only, wherever they stand in their archive: so each layer but the lowest is read twice, first for them.
//!
//! Source: the OCI image specification, "Image Layer Filesystem Changeset".

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};

use super::budget::Budget;
use super::confine::Sight;
use super::entry::{Content, Entry, Kind, Piece, split};
use super::failure::Failure;
use super::image::{Visitor, archive_of, format_of};
use super::order::{Confinement, Limits, Line, Unpacked};
use super::report::Reporter;
use super::volume::{Origin, Volume};
use super::worker::Job;
use crate::format::Format;
use crate::receive::size_of;

/// What begins the name of a member that takes something away.
const WHITEOUT: &[u8] = b".wh.";

/// The member that takes away everything in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Members that an older way of layering keeps for itself.
const INTERNAL: &[u8] = b".wh..wh.";

/// The largest list of accounts that is read, in bytes.
const MAX_ACCOUNTS: u64 = 256 << 10;

/// Layers to unpack, or to look at.
pub(super) struct LayersJob {
    layers: Vec<OwnedFd>,
    /// The directory to fill; none only looks.
    target: Option<OwnedFd>,
    limits: Limits,
}

/// What a member says about the layers below.
enum Whiteout<'e> {
    /// Nothing: it is a member like any other.
    None,
    /// This name in this directory is gone.
    Gone { above: &'e [u8], name: &'e [u8] },
    /// Everything in this directory is gone.
    Opaque(&'e [u8]),
    /// Nothing that concerns us.
    Internal,
}

impl LayersJob {
    /// Takes the layers, the lowest first, and the directory to fill.
    pub(super) fn unpack(limits: Limits, files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        let mut layers: Vec<OwnedFd> = files.collect();
        let target = layers.pop()?;
        Some(Self { layers, target: Some(target), limits })
    }

    /// Takes the layers, the lowest first.
    pub(super) fn inspect(limits: Limits, files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        Some(Self { layers: files.collect(), target: None, limits })
    }

    fn write(&self, reporter: &Reporter, confinement: Confinement) -> Result<Unpacked, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = openat(rustix::fs::CWD, "/", flags, Mode::empty()).map_err(|errno| Failure::write("opening", b"/", errno))?;
        let mut volume = Volume::new(target, self.limits, Origin::Layers);
        volume.root()?.replace_directories();
        for (number, layer) in self.layers.iter().enumerate() {
            if number > 0 {
                self.read(layer, reporter, &mut |entry, _| {
                    match whiteout(&entry.path)? {
                        Whiteout::Gone { above, name } => volume.root()?.white_out(above, name)?,
                        Whiteout::Opaque(directory) => volume.root()?.empty(directory)?,
                        Whiteout::None | Whiteout::Internal => {}
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            self.read(layer, reporter, &mut |entry, content| {
                if matches!(whiteout(&entry.path)?, Whiteout::None) {
                    volume.put(entry, content)?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            reporter.file_done(size_of(layer.as_fd()).unwrap_or(0));
        }
        let mut unpacked = Unpacked { confinement, ..Unpacked::default() };
        volume.finish(&mut unpacked).map(|_| unpacked)
    }

    /// Reads everything and answers the lists of accounts, by which users are known by name.
    fn look(&self, reporter: &Reporter) -> Result<(), Failure> {
        let mut budget = Budget::new(self.limits);
        let (mut passwd, mut group) = (Account::of(b"etc/passwd"), Account::of(b"etc/group"));
        for layer in &self.layers {
            self.read(layer, reporter, &mut |entry, content| {
                budget.file()?;
                let meaning = whiteout(&entry.path)?;
                for account in [&mut passwd, &mut group] {
                    account.member(&entry, &meaning, content)?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            passwd.end_of_layer();
            group.end_of_layer();
            reporter.file_done(size_of(layer.as_fd()).unwrap_or(0));
        }
        let failed = |error| Failure::confine("sending the accounts", error);
        reporter.metadata(&passwd.text()).map_err(failed)?;
        reporter.send(&Line::Configuration).map_err(failed)?;
        reporter.metadata(&group.text()).map_err(failed)
    }

    fn read(&self, layer: &OwnedFd, reporter: &Reporter, visit: &mut Visitor<'_>) -> Result<(), Failure> {
        match format_of("layer", layer.as_fd())? {
            Format::Tar(compression) => archive_of("layer", layer.as_fd(), compression, self.limits, reporter, visit),
            Format::Squashfs | Format::Qcow2 => Err(Failure::Format { part: "layer".into() }),
        }
    }
}

impl Job for LayersJob {
    fn sight(&self) -> Sight<'_> {
        Sight { root: self.target.as_ref().map(AsFd::as_fd), ..Sight::default() }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.layers.iter().map(AsFd::as_fd).collect()
    }

    fn work(&self, reporter: &Reporter, confinement: Confinement, _: Vec<OwnedFd>) -> Result<Line, Failure> {
        match self.target {
            Some(_) => self.write(reporter, confinement).map(Line::Unpacked),
            None => self.look(reporter).map(|()| Line::Inspected),
        }
    }
}

/// What a member's name says about the layers below.
fn whiteout(path: &[u8]) -> Result<Whiteout<'_>, Failure> {
    let (above, name) = split(path);
    if name == OPAQUE {
        return Ok(Whiteout::Opaque(above));
    }
    if name.starts_with(INTERNAL) {
        return Ok(Whiteout::Internal);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Whiteout::None),
        // They would take away the directory itself, or the one above it.
        Some(b"" | b"." | b"..") => Err(Failure::refused(path, "it takes away something that has no name of its own")),
        Some(name) => Ok(Whiteout::Gone { above, name }),
    }
}

/// A list of accounts on its way through the layers.
struct Account {
    path: &'static [u8],
    /// What the layers below have.
    lower: Option<String>,
    /// What this layer has.
    own: Option<String>,
}

impl Account {
    fn of(path: &'static [u8]) -> Self {
        Self { path, lower: None, own: None }
    }

    fn member(&mut self, entry: &Entry, meaning: &Whiteout<'_>, content: &mut dyn Content) -> Result<(), Failure> {
        let below = |directory: &[u8]| directory.is_empty() || self.path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
        match meaning {
            Whiteout::Opaque(directory) if below(directory) => self.lower = None,
            Whiteout::Gone { above, name } => {
                let whole = if above.is_empty() { name.to_vec() } else { [*above, *name].join(&b'/') };
                if whole == self.path || below(&whole) {
                    self.lower = None;
                }
            }
            Whiteout::None if entry.path == self.path => self.own = text(entry, content)?,
            Whiteout::None | Whiteout::Opaque(_) | Whiteout::Internal => {}
        }
        Ok(())
    }

    fn end_of_layer(&mut self) {
        self.lower = self.own.take().or_else(|| self.lower.take());
    }

    fn text(self) -> String {
        self.lower.unwrap_or_default()
    }
}

/// Reads a list of accounts; what is none, a link for one, is as good as none.
fn text(entry: &Entry, content: &mut dyn Content) -> Result<Option<String>, Failure> {
    match entry.kind {
        Kind::File(size) if size <= MAX_ACCOUNTS => {}
        _ => return Ok(None),
    }
    let mut bytes = Vec::new();
    while let Some(piece) = content.piece()? {
        match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(more),
            Piece::Hole(_) => return Ok(None),
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expect: &str) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let got = match whiteout(path.as_bytes()) {
            Ok(Whiteout::None) => "member".to_owned(),
            Ok(Whiteout::Gone { above, name }) => format!("{} in {}", text(name), text(above)),
            Ok(Whiteout::Opaque(directory)) => format!("all in {}", text(directory)),
            Ok(Whiteout::Internal) => "internal".to_owned(),
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(got, expect, "{path}");
    }

    #[test]
    fn names_that_take_away() {
        check("etc/passwd", "member");
        check("etc/.wh.passwd", "passwd in etc");
        check(".wh.etc", "etc in ");
        check("a/.wh..wh..opq", "all in a");
        check(".wh..wh..opq", "all in ");
        check("a/.wh..wh.plnk", "internal");
        check("a/.wh.", "refused");
        check("a/.wh..", "refused");
        check("a/.wh...", "refused");
        check("a/.wh..b", ".b in a");
        check("a/.what", "member");
    }
}
