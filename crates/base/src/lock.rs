//! Locks on files that end with the process that holds them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Takes the lock on a file, which ends when the file is closed; `None` if somebody else still has it after `patience`.
///
/// A process that is killed while it starts another leaves its lock to that one until it runs its own program: for so long
/// the lock of nobody must be waited for.
///
/// # Errors
/// `ENOLCK`; that no thread can be started.
///
/// Source: flock(2), "NOTES"; execve(2).
pub fn exclusive(file: File, patience: Duration) -> io::Result<Option<File>> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => {}
        Err(errno) => return Err(errno.into()),
    }
    let waiting = file.as_fd().try_clone_to_owned()?;
    let (sender, taken) = mpsc::channel();
    std::thread::Builder::new().name("lock".into()).spawn(move || {
        let _ = sender.send(rustix::io::retry_on_intr(|| flock(&waiting, FlockOperation::LockExclusive)));
    })?;
    match taken.recv_timeout(patience) {
        Ok(Ok(())) => Ok(Some(file)),
        Ok(Err(errno)) => Err(errno.into()),
        // The thread waits on, and lets go of what it may yet get.
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_waited_for_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let open = || File::create(directory.path().join("lock")).unwrap();
        let first = exclusive(open(), Duration::ZERO).unwrap().unwrap();
        assert!(exclusive(open(), Duration::from_millis(1)).unwrap().is_none());
        // What a process that is started inherits is the same lock.
        let inherited = first.try_clone().unwrap();
        drop(first);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| exclusive(open(), Duration::from_secs(20)).unwrap().is_some());
            drop(inherited);
            assert!(second.join().unwrap());
        });
    }
}
