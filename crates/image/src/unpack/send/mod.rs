//! Streams of `btrfs send`, as archives of other servers' btrfs pools hold them, unpacked like any other archive.
//!
//! Nothing of btrfs receives them: this reads the commands and does, locked in, what each says, in plain directories of whatever
//! file system. So a stream can neither name subvolumes of the host as what it is based on, nor copy from them, nor lead out of its
//! directory by a link. What a command may not do in an archive it may not do here: device nodes are left to the daemon, attributes
//! of the host are left out.
//!
//! A stream that is based on the one before it is done in every directory that comes after that, each of which began as empty as
//! the first and has seen the same commands: no directory is ever copied.
//!
//! Source: fs/btrfs/send.h and send.c; the format's version 1.

mod apply;
mod command;
mod sweep;

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use super::backup::of_backup;
use super::budget::Budget;
use super::entry::{Content, Kind};
use super::failure::Failure;
use super::order::{Confinement, Limits, Line, Unpacked};
use super::report::Reporter;
use crate::backup::{Form, Planned, STREAM_SUFFIX};
pub(super) use apply::{Target, failed};
use command::{Command, Reader, SubvolumeId};
pub(super) use sweep::{DEEPEST, directory, entry, names, unlink_keeping_times};

/// A stream that is expected, and the directory that it fills.
struct Part {
    name: String,
    form: Form,
    target: Target,
    /// What the stream said it is, once it was read.
    id: Option<SubvolumeId>,
}

/// Unpacks a backup whose volumes are streams, in the order of the plan.
pub(super) fn work(
    archive: &OwnedFd,
    plan: Vec<Planned>,
    directories: Vec<OwnedFd>,
    limits: Limits,
    reporter: &Reporter,
    confinement: Confinement,
) -> Result<Line, Failure> {
    let part = |(planned, directory): (Planned, OwnedFd)| {
        Ok(Part { name: planned.name, form: planned.form, target: Target::new(&directory)?, id: None })
    };
    let mut parts: Vec<Part> = plan.into_iter().zip(directories).map(part).collect::<Result<_, Failure>>()?;
    let mut budget = Budget::new(limits);
    of_backup(archive, limits, reporter, &mut |entry, content| {
        let Some(number) = parts.iter().position(|part| part.name.as_bytes() == entry.path) else {
            if entry.path.ends_with(STREAM_SUFFIX.as_bytes()) {
                let why = "it is a subvolume nested in another one; export it without --optimized-storage";
                return Err(Failure::refused(&entry.path, why));
            }
            return Ok(ControlFlow::Continue(()));
        };
        if !matches!(entry.kind, Kind::File(_)) {
            return Err(Failure::refused(&entry.path, "it must be a regular file"));
        }
        receive(&mut parts, number, content, &mut budget)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let (files, bytes) = budget.counted();
    let mut unpacked = Unpacked { confinement, files, bytes, ..Unpacked::default() };
    for (number, part) in parts.into_iter().enumerate() {
        if part.id.is_none() {
            return Err(Failure::Incomplete { what: part.name });
        }
        for mut device in part.target.finish(part.form, &mut unpacked)? {
            device.volume = number;
            reporter.device(device)?;
        }
    }
    Ok(Line::Unpacked(unpacked))
}

/// Does what one stream says, in its own directory and in those that come after it.
fn receive(parts: &mut [Part], number: usize, content: &mut dyn Content, budget: &mut Budget) -> Result<(), Failure> {
    let name = parts[number].name.clone().into_bytes();
    let (done, rest) = parts.split_at_mut(number);
    let previous = done.last();
    if rest[0].id.is_some() || previous.is_some_and(|previous| previous.id.is_none()) {
        return Err(Failure::refused(&name, "it is there twice, or before what it is based on"));
    }
    let mut reader = Reader::begin(content, &name)?;
    let own = match reader.next()? {
        Command::Subvolume { id } => {
            for part in rest.iter_mut().filter(|_| number > 0) {
                part.target.empty()?;
            }
            id
        }
        Command::Snapshot { id, base } if previous.and_then(|previous| previous.id) == Some(base) => id,
        Command::Snapshot { .. } => return Err(Failure::refused(&name, "what it is based on is not in the archive before it")),
        _ => return Err(Failure::refused(&name, "it does not begin with a subvolume")),
    };
    loop {
        let command = reader.next()?;
        match &command {
            Command::End => break,
            Command::Clone { source, length, .. } => {
                let from = if *source == own { None } else { previous.filter(|previous| previous.id == Some(*source)) };
                if from.is_none() && *source != own {
                    return Err(Failure::refused(&name, "it copies from something that is not in the archive before it"));
                }
                for part in rest.iter_mut() {
                    budget.bytes(*length)?;
                    part.target.copy(&command, from.map(|from| from.target.top()))?;
                }
            }
            _ => {
                for part in rest.iter_mut() {
                    part.target.apply(&command, budget)?;
                }
            }
        }
    }
    reader.end()?;
    rest[0].id = Some(own);
    Ok(())
}

#[cfg(test)]
mod tests;
