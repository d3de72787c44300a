//! What a connection has open.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use coffer_sftp::Status;

use super::connection::{Denied, Result};
use super::tree::Directory;

/// Most files and directories that one connection has open.
pub(super) const MOST_OPEN: usize = 256;

/// A file or directory that is open.
#[derive(Debug)]
pub(super) enum Open {
    File(File),
    Directory(Box<Directory>),
}

/// What a connection has open, by number.
#[derive(Debug, Default)]
pub(super) struct Handles(Vec<Option<Open>>);

impl Handles {
    /// Adds something; the answer is its handle.
    pub(super) fn add(&mut self, open: Open) -> Result<[u8; 4]> {
        let free = self.0.iter().position(Option::is_none);
        let index = free.unwrap_or(self.0.len());
        if index >= MOST_OPEN {
            return Err(Denied::new(Status::Failure, "too many files are open on this connection; close some"));
        }
        if free.is_none() {
            self.0.push(None);
        }
        self.0[index] = Some(open);
        Ok((index as u32).to_be_bytes())
    }

    pub(super) fn close(&mut self, handle: &[u8]) -> Result<()> {
        let closed = index(handle).and_then(|index| self.0.get_mut(index)).and_then(Option::take);
        closed.map(drop).ok_or_else(none)
    }

    pub(super) fn file(&self, handle: &[u8]) -> Result<&File> {
        match self.open(handle)? {
            Open::File(file) => Ok(file),
            Open::Directory(_) => Err(Denied::new(Status::IsADirectory, "it is a directory")),
        }
    }

    pub(super) fn directory(&mut self, handle: &[u8]) -> Result<&mut Directory> {
        match index(handle).and_then(|index| self.0.get_mut(index)).and_then(Option::as_mut) {
            Some(Open::Directory(directory)) => Ok(directory),
            Some(Open::File(_)) => Err(Denied::new(Status::NotADirectory, "it is no directory")),
            None => Err(none()),
        }
    }

    pub(super) fn any(&self, handle: &[u8]) -> Result<BorrowedFd<'_>> {
        Ok(match self.open(handle)? {
            Open::File(file) => file.as_fd(),
            Open::Directory(directory) => directory.as_fd(),
        })
    }

    fn open(&self, handle: &[u8]) -> Result<&Open> {
        index(handle).and_then(|index| self.0.get(index)).and_then(Option::as_ref).ok_or_else(none)
    }
}

fn index(handle: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(handle.try_into().ok()?) as usize)
}

fn none() -> Denied {
    Denied::new(Status::BadHandle, "nothing is open by that handle")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_limited() {
        let open = || Open::File(File::open("/dev/null").unwrap());
        let mut handles = Handles::default();
        let first = handles.add(open()).unwrap();
        let second = handles.add(open()).unwrap();
        handles.close(&first).unwrap();
        assert!(handles.close(&first).is_err() && handles.file(&first).is_err() && handles.file(&second).is_ok());
        assert_eq!(handles.add(open()).unwrap(), first);
        for _ in 2..MOST_OPEN {
            handles.add(open()).unwrap();
        }
        assert!(handles.add(open()).is_err());
        assert!(handles.file(b"abc").is_err() && handles.file(b"\xff\xff\xff\xff").is_err());
        assert_eq!(handles.directory(&second).unwrap_err().status, Status::NotADirectory);
    }
}
