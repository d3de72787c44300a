//! Copying between descriptors inside the kernel, where one of them is a pipe: no byte comes into this process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// Bytes moved at a time.
const STEP: usize = 1 << 20;

/// Bytes copied at a time where the kernel can't move them.
const BUFFER: usize = 64 << 10;

/// One direction between two descriptors.
pub struct Line {
    from: OwnedFd,
    to: OwnedFd,
    /// Used once the kernel has refused to move bytes: to a file opened for appending, for one.
    buffer: Option<Vec<u8>>,
}

impl Line {
    /// Makes one; either descriptor must be a pipe for the kernel to do the work. Both are made to hold as much as one step
    /// moves, where they are pipes and the kernel allows it: a small one would have both its ends wait for each other all the time.
    pub fn new(from: OwnedFd, to: OwnedFd) -> Line {
        for end in [&from, &to] {
            if rustix::pipe::fcntl_getpipe_size(end).is_ok_and(|size| size < STEP) {
                let _ = rustix::pipe::fcntl_setpipe_size(end, STEP);
            }
        }
        Line { from, to, buffer: None }
    }

    /// Copies until the source ends.
    ///
    /// # Errors
    /// What reading or writing said; [`io::ErrorKind::BrokenPipe`] when nobody reads any more.
    pub fn run(mut self) -> io::Result<()> {
        while self.step()? > 0 {}
        Ok(())
    }

    /// Waits for bytes and passes them on; 0 is the end.
    fn step(&mut self) -> io::Result<usize> {
        if self.buffer.is_none() {
            match retry(|| splice(&self.from, None, &self.to, None, STEP, SpliceFlags::MOVE)) {
                Err(Errno::INVAL) => self.buffer = Some(vec![0; BUFFER]),
                moved => return Ok(moved?),
            }
        }
        let Some(buffer) = &mut self.buffer else { return Ok(0) };
        let count = retry(|| rustix::io::read(&self.from, &mut buffer[..]))?;
        let mut left = &buffer[..count];
        while !left.is_empty() {
            let written = retry(|| rustix::io::write(&self.to, left))?;
            left = &left[written..];
        }
        Ok(count)
    }
}

/// Copies several pipes until each has ended, or until `over` can be read and nothing is left in them: what was started by a
/// command in the background may hold its pipes open for ever.
///
/// A sink that does not take its bytes holds up the others, as a full pipe holds up the command that writes to it. Where
/// nobody reads a sink any more its pipe is closed, for the writer to be told the same.
///
/// # Errors
/// If one can't be read or written.
pub fn drain(mut lines: Vec<Line>, over: &impl AsFd) -> io::Result<()> {
    let mut is_over = false;
    while !lines.is_empty() {
        let ready = ready(&lines, over.as_fd(), &mut is_over)?;
        if ready.is_empty() && is_over {
            break;
        }
        for at in ready.into_iter().rev() {
            match lines[at].step() {
                Ok(0) => drop(lines.swap_remove(at)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => drop(lines.swap_remove(at)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Waits until something can be read, or the end is known, and says where, in ascending order.
fn ready(lines: &[Line], over: BorrowedFd<'_>, is_over: &mut bool) -> io::Result<Vec<usize>> {
    let mut fds: Vec<_> = lines.iter().map(|line| PollFd::new(&line.from, PollFlags::IN)).collect();
    if *is_over {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        retry(|| poll(&mut fds, Some(&at_once)))?;
    } else {
        fds.push(PollFd::from_borrowed_fd(over, PollFlags::IN));
        retry(|| poll(&mut fds, None))?;
        *is_over = fds.pop().is_some_and(|over| !over.revents().is_empty());
    }
    Ok((0..fds.len()).filter(|at| !fds[*at].revents().is_empty()).collect())
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (read, write) = io::pipe().unwrap();
        (read.into(), write.into())
    }

    #[track_caller]
    fn check_sink(sink: File, mut result: File) {
        let content: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
        let ((read, write), sent) = (pipe(), content.clone());
        let writing = std::thread::spawn(move || File::from(write).write_all(&sent).unwrap());
        Line::new(read, sink.into()).run().unwrap();
        writing.join().unwrap();
        let mut got = Vec::new();
        result.read_to_end(&mut got).unwrap();
        assert!(got == content, "{} bytes of {}", got.len(), content.len());
    }

    #[test]
    fn bytes_reach_files_of_both_kinds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sink");
        check_sink(File::create(&path).unwrap(), File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        // The kernel refuses to splice to these.
        check_sink(File::options().append(true).create(true).open(&path).unwrap(), File::open(&path).unwrap());
    }

    #[test]
    fn what_is_left_is_drained_when_the_command_is_over_and_no_more() {
        let ((read, write), (result, sink), (over, end)) = (pipe(), pipe(), pipe());
        let mut write = File::from(write);
        write.write_all(b"last words").unwrap();
        drop(end);
        // `write` is still open, as it is in what a command left in the background.
        drain(vec![Line::new(read, sink)], &over).unwrap();
        let mut got = String::new();
        File::from(result).read_to_string(&mut got).unwrap();
        assert_eq!(got, "last words");
    }

    #[test]
    fn a_sink_that_nobody_reads_closes_its_pipe_and_leaves_the_others() {
        let ((read, write), (result, sink), (over, end)) = (pipe(), pipe(), pipe());
        let ((second_read, second_write), (second_result, second_sink)) = (pipe(), pipe());
        drop(result);
        let draining = std::thread::spawn(move || drain(vec![Line::new(read, sink), Line::new(second_read, second_sink)], &over));
        let mut write = File::from(write);
        let broken = loop {
            if let Err(error) = write.write_all(b"x") {
                break error.kind();
            }
        };
        assert_eq!(broken, io::ErrorKind::BrokenPipe);
        File::from(second_write).write_all(b"still here").unwrap();
        let mut got = String::new();
        File::from(second_result).read_to_string(&mut got).unwrap();
        assert_eq!(got, "still here");
        draining.join().unwrap().unwrap();
        drop(end);
    }
}
