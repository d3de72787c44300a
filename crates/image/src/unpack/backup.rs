//! The confined side of reading backups: `backup/index.yaml`, and a volume for what was backed up and for each snapshot of it.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::confine::Sight;
use super::custom::CustomVolume;
use super::devices::Device;
use super::entry::{Content, Entry, Kind, Piece, Visit};
use super::failure::Failure;
use super::image::{archive_of, format_of};
use super::layout::Layout;
use super::order::{Confinement, Limits, Line, Unpacked};
use super::report::Reporter;
use super::volume::{Origin, Volume};
use super::worker::Job;
use crate::backup::{Form, INDEX, INDEX_LIMIT, INSTANCE, Planned};
use crate::format::Format;
use crate::metadata::Metadata;
use crate::pack::read_plan;

/// A backup whose index is wanted.
pub(super) struct BackupIndexJob {
    file: OwnedFd,
    limits: Limits,
}

impl BackupIndexJob {
    /// Takes the archive.
    pub(super) fn new(limits: Limits, mut files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        Some(Self { file: files.next()?, limits })
    }
}

impl Job for BackupIndexJob {
    fn sight(&self) -> Sight<'_> {
        Sight::default()
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.file.as_fd()]
    }

    /// The index says all; one of the oldest kind leaves the configuration to the instance's own `backup.yaml`.
    fn work(&self, reporter: &Reporter, _: Confinement, _: Vec<OwnedFd>) -> Result<Line, Failure> {
        let own = format!("{INSTANCE}/backup.yaml");
        let (mut index, mut config) = (None, None);
        of_backup(&self.file, self.limits, reporter, &mut |entry, content| {
            let place = match entry.path.as_slice() {
                path if path == INDEX.as_bytes() => &mut index,
                path if path == own.as_bytes() => &mut config,
                _ => return Ok(ControlFlow::Continue(())),
            };
            if place.is_some() {
                return Err(Failure::refused(&entry.path, "it is there twice"));
            }
            *place = Some(text(&entry, content)?);
            let whole = index.as_ref().is_some_and(|text| config.is_some() || has_config(text));
            Ok(if whole { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let Some(index) = index else { return Err(Failure::Incomplete { what: INDEX.into() }) };
        let failed = |error| Failure::confine("sending the index", error);
        reporter.metadata(&index).map_err(failed)?;
        if let Some(config) = config.filter(|_| !has_config(&index)) {
            reporter.send(&Line::Configuration).map_err(failed)?;
            reporter.metadata(&config).map_err(failed)?;
        }
        Ok(Line::Inspected)
    }
}

/// Whether an index holds the instance's configuration.
fn has_config(index: &str) -> bool {
    index.lines().any(|line| line.starts_with("config:"))
}

/// A backup to unpack.
pub(super) struct BackupJob {
    file: OwnedFd,
    plan: OwnedFd,
    directories: Vec<OwnedFd>,
    limits: Limits,
}

impl BackupJob {
    /// Takes the archive, the plan (the names of the volumes in it) and the directories to fill.
    pub(super) fn new(limits: Limits, mut files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        Some(Self { file: files.next()?, plan: files.next()?, directories: files.collect(), limits })
    }
}

impl Job for BackupJob {
    fn sight(&self) -> Sight<'_> {
        Sight { directories: &self.directories, ..Sight::default() }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.file.as_fd(), self.plan.as_fd()]
    }

    fn work(&self, reporter: &Reporter, confinement: Confinement, directories: Vec<OwnedFd>) -> Result<Line, Failure> {
        let plan: Vec<Planned> = read_plan(self.plan.as_fd()).map_err(|error| Failure::confine("reading the plan", error))?;
        if plan.iter().any(|planned| planned.stream) {
            return super::send::work(&self.file, plan, directories, self.limits, reporter, confinement);
        }
        let parts = plan.into_iter().zip(directories).map(|(planned, directory)| Part::new(planned, directory, self.limits));
        let mut parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
        let mut elsewhere = 0;
        of_backup(&self.file, self.limits, reporter, &mut |mut entry, content| {
            let found = parts.iter_mut().find_map(|part| below(&entry.path, &part.name).map(|rest| (rest.to_vec(), part)));
            let Some((rest, part)) = found else {
                elsewhere += u64::from(entry.path != INDEX.as_bytes() && entry.kind != Kind::Directory);
                return Ok(ControlFlow::Continue(()));
            };
            if let Kind::Hardlink(target) = &mut entry.kind {
                let inside = below(target, &part.name).map(<[u8]>::to_vec);
                let why = || format!("it is a hard link to something outside {}/", part.name);
                *target = inside.ok_or_else(|| Failure::refused(&entry.path, why()))?;
            }
            entry.path = rest;
            part.member(entry, content).map(ControlFlow::Continue)
        })?;
        let mut unpacked = Unpacked { confinement, skipped_members: elsewhere, ..Unpacked::default() };
        for (number, part) in parts.into_iter().enumerate() {
            for mut device in part.finish(&mut unpacked)? {
                device.volume = number;
                reporter.device(device)?;
            }
        }
        Ok(Line::Unpacked(unpacked))
    }
}

/// A volume in the archive, with what its members are put into.
struct Part {
    name: String,
    filled: Filled,
}

/// What a volume in the archive becomes.
enum Filled {
    Instance(Layout<Volume>),
    Custom(CustomVolume),
}

impl Part {
    fn new(planned: Planned, directory: OwnedFd, limits: Limits) -> Result<Self, Failure> {
        let filled = match planned.form {
            Form::Instance => Filled::Instance(Layout::new(Volume::new(directory, limits, Origin::Backup), false)),
            Form::Files => Filled::Custom(CustomVolume::of_files(directory, limits)?),
            Form::Disk => Filled::Custom(CustomVolume::of_disk(directory, limits)?),
        };
        Ok(Self { name: planned.name, filled })
    }

    fn member(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        match &mut self.filled {
            Filled::Instance(layout) => layout.member(entry, content).map(drop),
            Filled::Custom(volume) => volume.member(entry, content),
        }
    }

    /// Ends the volume; answers the device nodes that are still to be made.
    fn finish(self, unpacked: &mut Unpacked) -> Result<Vec<Device>, Failure> {
        match self.filled {
            Filled::Instance(layout) => {
                let (volume, skipped) = layout.finish_volume(&self.name)?;
                unpacked.skipped_members += skipped;
                volume.finish(unpacked)
            }
            Filled::Custom(volume) => volume.finish(&self.name, unpacked),
        }
    }
}

/// A member's path below a volume's name; none if it is not below it.
fn below<'p>(path: &'p [u8], name: &str) -> Option<&'p [u8]> {
    match path.strip_prefix(name.as_bytes())? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Visits the members of a backup.
pub(super) fn of_backup(file: &OwnedFd, limits: Limits, reporter: &Reporter, visit: Visit<'_>) -> Result<(), Failure> {
    match format_of("backup", file.as_fd())? {
        Format::Tar(compression) => archive_of("backup", file.as_fd(), compression, limits, reporter, visit),
        Format::Squashfs | Format::Qcow2 => Err(Failure::Format { part: "backup".into() }),
    }
}

/// Reads a small text.
fn text(entry: &Entry, content: &mut dyn Content) -> Result<String, Failure> {
    let Kind::File(size) = entry.kind else { return Err(Failure::refused(&entry.path, "it must be a regular file")) };
    if size > INDEX_LIMIT as u64 {
        return Err(Failure::refused(&entry.path, format!("it has {size} bytes; at most {INDEX_LIMIT} are read")));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = content.piece()? {
        match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(more),
            Piece::Hole(_) => return Err(Failure::refused(&entry.path, "it has holes")),
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::refused(&entry.path, "it is not UTF-8 text"))
}

/// Refuses a `metadata.yaml` that the instance could not use.
pub(super) fn check_metadata(text: &[u8]) -> Result<(), Failure> {
    Metadata::parse(text).map(drop).map_err(|error| Failure::refused(b"metadata.yaml", coffer_base::chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_told_by_whole_names() {
        assert_eq!(below(b"backup/container/rootfs/a", "backup/container"), Some(&b"rootfs/a"[..]));
        assert_eq!(below(b"backup/container", "backup/container"), Some(&b""[..]));
        assert_eq!(below(b"backup/container.bin", "backup/container"), None);
        assert_eq!(below(b"backup/snapshots/a", "backup/container"), None);
    }
}
