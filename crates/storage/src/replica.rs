//! Taking volumes over from another pool of the same driver as streams of its own: what the two pools have in common already
//! is not sent again, and what snapshots share stays shared.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use coffer_base::Progress;
use coffer_model::SnapshotName;

use crate::error::StorageError;
use crate::pool::{FillError, Pool, require_room};
use crate::volume::Volume;

/// The stage under which a copy reports its progress.
const STAGE: &str = "fs";

/// How much of a stream is passed on at once, in bytes.
const PIECE: usize = 256 << 10;

/// A state of a volume, by the number that it keeps wherever it is taken over to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub u64);

/// The power to send volumes to other pools of the same driver, and to receive them.
pub trait Replicas: Sync {
    /// The states that are in the pool, which what it receives may be based on.
    ///
    /// # Errors
    /// What the driver's programs said.
    fn states(&self) -> Result<BTreeSet<StateId>, StorageError>;

    /// Holds the present state of a volume to be sent to a pool that has some states already.
    ///
    /// # Errors
    /// [`StorageError::NoVolume`], what the driver's programs said.
    fn send<'p>(&'p self, volume: &Volume, known: &BTreeSet<StateId>) -> Result<Box<dyn Outgoing + 'p>, StorageError>;

    /// Makes a volume or snapshot out of a stream that another pool of this server sends. On failure there is none.
    ///
    /// # Errors
    /// [`StorageError::VolumeExists`], what the driver's programs said.
    fn receive(&self, volume: &Volume, base: Option<StateId>, stream: File) -> Result<(), StorageError>;
}

/// Makes of a volume from outside what a volume may be, given which of the streams it came from and its top.
pub type Settle<'a> = &'a mut dyn FnMut(usize, BorrowedFd<'_>) -> Result<(), FillError>;

/// The power to receive streams that somebody else wrote, which the kernel reads.
pub trait Foreign {
    /// Makes volumes and snapshots of streams, each of which may be a change of one before it and of nothing else. On failure there is
    /// none of them.
    ///
    /// # Errors
    /// [`StorageError::VolumeRefused`] for a stream of a kind that is not received; [`StorageError::VolumeExists`],
    /// [`StorageError::Fill`] with what `settle` said, what the driver's programs said.
    fn receive_foreign(&self, streams: Vec<(Volume, File)>, settle: Settle<'_>) -> Result<(), StorageError>;
}

/// The state of a volume that is being sent. It is kept as long as this lives.
pub trait Outgoing: Sync {
    /// The newest state before it that the other side has.
    fn base(&self) -> Option<StateId>;

    /// About how many bytes the stream will have.
    fn size(&self) -> u64;

    /// Writes the stream.
    ///
    /// # Errors
    /// What the driver's programs said.
    fn write(&self, into: File) -> Result<(), StorageError>;
}

/// Makes a volume with the content of one in another pool, and the named snapshots of that too. On failure there is none.
pub(crate) fn take_over(
    (source, sender): (&dyn Pool, &dyn Replicas),
    from: &Volume,
    (target, receiver): (&dyn Pool, &dyn Replicas),
    to: &Volume,
    snapshots: &[SnapshotName],
    progress: &Progress,
) -> Result<(), StorageError> {
    let copy = |from: &Volume, to: &Volume| {
        if target.exists(to)? {
            return Err(StorageError::VolumeExists { pool: target.name().clone(), volume: to.clone() });
        }
        let outgoing = sender.send(from, &receiver.states()?)?;
        require_room(target, to, outgoing.size())?;
        let failed = |cause| StorageError::Volume { pool: source.name().clone(), volume: from.clone(), doing: "sending", cause };
        pass_on(outgoing.as_ref(), receiver, to, progress, &failed)
    };
    let mut made: Vec<Volume> = Vec::new();
    let pairs = snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name))).chain([(from.clone(), to.clone())]);
    for (from, to) in pairs {
        let copied = copy(&from, &to);
        if !matches!(copied, Err(StorageError::VolumeExists { .. })) {
            made.push(to);
        }
        if let Err(error) = copied {
            for volume in made.iter().rev().filter(|volume| target.exists(volume).unwrap_or(false)) {
                // What cannot be taken back shows as a leftover.
                let _ = target.delete_volume(volume);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Lets one side write while the other one reads, and counts what goes through.
fn pass_on(
    outgoing: &dyn Outgoing,
    receiver: &dyn Replicas,
    to: &Volume,
    progress: &Progress,
    failed: &dyn Fn(io::Error) -> StorageError,
) -> Result<(), StorageError> {
    let (from_sender, sending) = pipe().map_err(failed)?;
    let (receiving, to_receiver) = pipe().map_err(failed)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || outgoing.write(sending));
        let taker = scope.spawn(move || receiver.receive(to, outgoing.base(), receiving));
        // Both ends are closed when it returns, so that whoever is left comes to an end too.
        let passed = pump(from_sender, to_receiver, outgoing.size(), progress);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let received = taker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Who was cancelled, or could not send, is the cause of what the receiver says of half a stream; a receiver that gave
        // up is the cause of what the sender says of a closed pipe.
        match (passed, received) {
            (Err(error), Err(cause)) if error.kind() == io::ErrorKind::BrokenPipe => Err(cause),
            (Err(error), _) => Err(failed(error)),
            (Ok(()), Err(cause)) => Err(sent.err().unwrap_or(cause)),
            (Ok(()), Ok(())) => sent,
        }
    })
}

fn pump(mut from: File, mut to: File, total: u64, progress: &Progress) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    loop {
        progress.check()?;
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..count])?;
        done += count as u64;
        progress.report(STAGE, done, Some(total.max(done)));
    }
}

fn pipe() -> io::Result<(File, File)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((reader.into(), writer.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What is sent, and whether that ends well.
    struct Words(&'static [u8], Result<(), &'static str>);

    /// What was received, or how many bytes of it are read before giving up.
    #[derive(Default)]
    struct Ear {
        heard: Mutex<Vec<u8>>,
        most: Option<u64>,
    }

    fn volume() -> Volume {
        Volume::custom(&coffer_model::ProjectName::default_project(), &"v".parse().unwrap())
    }

    fn error(text: &str) -> StorageError {
        let cause = io::Error::other(text.to_owned());
        StorageError::Volume { pool: "p".parse().unwrap(), volume: volume(), doing: "sending", cause }
    }

    impl Outgoing for Words {
        fn base(&self) -> Option<StateId> {
            None
        }

        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn write(&self, mut into: File) -> Result<(), StorageError> {
            into.write_all(self.0).map_err(|cause| error(&cause.to_string()))?;
            self.1.map_err(error)
        }
    }

    impl Replicas for Ear {
        fn states(&self) -> Result<BTreeSet<StateId>, StorageError> {
            Ok(BTreeSet::new())
        }

        fn send<'p>(&'p self, _: &Volume, _: &BTreeSet<StateId>) -> Result<Box<dyn Outgoing + 'p>, StorageError> {
            Err(error("it only listens"))
        }

        fn receive(&self, _: &Volume, _: Option<StateId>, stream: File) -> Result<(), StorageError> {
            let mut heard = self.heard.lock().unwrap();
            stream.take(self.most.unwrap_or(u64::MAX)).read_to_end(&mut heard).map_err(|cause| error(&cause.to_string()))?;
            if self.most.is_some() { Err(error("enough")) } else { Ok(()) }
        }
    }

    #[track_caller]
    fn check(words: &Words, ear: &Ear, progress: &Progress, expect: Result<(), &str>) {
        let failed = |cause: io::Error| error(&cause.to_string());
        let passed = pass_on(words, ear, &volume(), progress, &failed).map_err(|error| coffer_base::chain(&error));
        match expect {
            Ok(()) => assert_eq!((passed, ear.heard.lock().unwrap().as_slice()), (Ok(()), words.0)),
            Err(text) => assert!(passed.as_ref().is_err_and(|said| said.contains(text)), "{passed:?}"),
        }
    }

    /// More than the pipes hold.
    static LONG: [u8; 4 << 20] = [7; 4 << 20];

    #[test]
    fn what_is_sent_is_received() {
        check(&Words(&LONG, Ok(())), &Ear::default(), &Progress::default(), Ok(()));
        check(&Words(&[], Ok(())), &Ear::default(), &Progress::default(), Ok(()));
    }

    #[test]
    fn whoever_fails_first_is_the_cause() {
        check(&Words(b"half", Err("torn")), &Ear::default(), &Progress::default(), Err("torn"));
        check(&Words(&LONG, Ok(())), &Ear { most: Some(9), ..Ear::default() }, &Progress::default(), Err("enough"));
    }

    #[test]
    fn what_is_cancelled_ends() {
        struct Never;
        impl coffer_base::progress::Listener for Never {
            fn hear(&self, _: coffer_base::progress::Step) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        check(&Words(&LONG, Ok(())), &Ear::default(), &Progress::told_to(Never), Err("it was cancelled"));
    }
}
