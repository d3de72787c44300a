//! The confined side of packing.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Packed;
use super::compressor::Compressor;
use super::plan::{self, Member};
use super::sink::Sink;
use super::tree::Trees;
use crate::unpack::confine::Sight;
use crate::unpack::failure::Failure;
use crate::unpack::order::{Confinement, Line};
use crate::unpack::report::Reporter;
use crate::unpack::worker::Job;

/// An archive to write.
pub(crate) struct PackJob {
    plan: OwnedFd,
    output: OwnedFd,
    open: Vec<OwnedFd>,
    directories: Vec<OwnedFd>,
    compressor: Compressor,
    reproducible: Option<i64>,
}

impl PackJob {
    /// Takes the plan, the file to write, so many files and the directories to read.
    pub(crate) fn new(
        compressor: Compressor,
        reproducible: Option<i64>,
        open: usize,
        mut files: std::vec::IntoIter<OwnedFd>,
    ) -> Option<Self> {
        let (plan, output) = (files.next()?, files.next()?);
        let open = files.by_ref().take(open).collect();
        Some(Self { plan, output, open, directories: files.collect(), compressor, reproducible })
    }
}

impl Job for PackJob {
    fn sight(&self) -> Sight<'_> {
        Sight { directories: &self.directories, reads: true, ..Sight::default() }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        [&self.plan, &self.output].into_iter().chain(&self.open).map(AsFd::as_fd).collect()
    }

    fn work(&self, reporter: &Reporter, confinement: Confinement, directories: Vec<OwnedFd>) -> Result<Line, Failure> {
        let members: Vec<Member> = plan::read(self.plan.as_fd()).map_err(|error| Failure::confine("reading the plan", error))?;
        let output = self.output.try_clone().map_err(|error| Failure::confine("copying a descriptor", error))?;
        let sink = Sink::new(output, self.compressor, reporter);
        let mut sink = sink.map_err(|error| Failure::confine("starting the compressor", error))?;
        let mut trees = Trees::new(&mut sink, self.reproducible);
        for member in &members {
            put(&mut trees, member, &directories, &self.open)?;
        }
        let (files, skipped_sockets) = (trees.files, trees.skipped_sockets);
        let (bytes, size) = sink.finish()?;
        Ok(Line::Packed(Packed { files, bytes, size, skipped_sockets, confinement }))
    }
}

fn put(trees: &mut Trees<'_, '_>, member: &Member, directories: &[OwnedFd], open: &[OwnedFd]) -> Result<(), Failure> {
    match member {
        Member::Text { name, text } => trees.text(name, text.as_bytes()),
        Member::Directory { name } => trees.directory(name),
        Member::Open { name, file } => match open.get(*file) {
            Some(file) => trees.open(name, file.as_fd()),
            None => Err(Failure::refused(name.as_bytes(), "it is not there")),
        },
        Member::Tree { name, directory, entry, ids, optional } => {
            let missing = || Failure::refused(name.as_bytes(), "it is not there");
            let directory = directories.get(*directory).ok_or_else(missing)?;
            let entry = CString::new(entry.as_str()).map_err(|_| missing())?;
            let found = trees.tree(directory.as_fd(), &entry, name, *ids)?;
            if found || *optional { Ok(()) } else { Err(missing()) }
        }
    }
}
