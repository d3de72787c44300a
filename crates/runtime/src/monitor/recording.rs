//! What a command writes, kept in files by the monitor itself, so that it does not matter whether its caller lives.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use coffer_base::Bytes;

/// One stream's file, and how much of the stream is kept still.
#[derive(Debug)]
pub(super) struct Recording {
    file: Option<File>,
    most: u64,
    room: u64,
}

impl Recording {
    /// Keeps at most `most` bytes in `file`; without a file none.
    pub(super) fn new(file: Option<OwnedFd>, most: u64) -> Self {
        Self { file: file.map(File::from), most, room: most }
    }

    /// Takes note of a piece. What does not fit is dropped, and said to be: the command is not held up by it.
    ///
    /// # Errors
    /// If the file cannot be written; it is written no more then.
    pub(super) fn write(&mut self, piece: &[u8]) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let kept = piece.len().min(usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room -= kept as u64;
        let mut written = file.write_all(&piece[..kept]);
        if kept < piece.len() {
            written = written.and_then(|()| writeln!(file, "\n[more than {}: the rest was not recorded]", Bytes(self.most)));
        }
        if written.is_err() || kept < piece.len() {
            self.file = None;
        }
        written
    }
}

/// Reads a piece of a stream, however often a signal comes in between.
pub(super) fn read(stream: impl AsFd, buffer: &mut [u8]) -> Result<usize, rustix::io::Errno> {
    loop {
        match rustix::io::read(stream.as_fd(), &mut *buffer) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[track_caller]
    fn check(most: u64, pieces: &[&str], expect: &str) {
        let mut file = File::from(coffer_sys::process::memory_file("test").unwrap());
        let mut recording = Recording::new(Some(file.try_clone().unwrap().into()), most);
        for piece in pieces {
            recording.write(piece.as_bytes()).unwrap();
        }
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, expect);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_said_to_be() {
        check(100, &["one ", "two"], "one two");
        check(5, &["12345"], "12345");
        check(5, &["123", "456", "789"], "12345\n[more than 5B: the rest was not recorded]\n");
    }
}
