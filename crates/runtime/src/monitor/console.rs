//! The console: its last output is kept, any number of viewers look at it and type into it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use coffer_runtime_spec::{Answer, Refusal, RefusalKind, WindowSize};
use coffer_sys::{process, pty};
use rustix::io::Errno;

use super::poll::{Interest, Poll, Token};
use super::{Monitor, failed, refusal};
use crate::terminal::Ring;

/// The console of an instance.
#[derive(Debug, Default)]
pub(super) struct Console {
    master: Option<OwnedFd>,
    /// The other side, held open: without it the master would say "hung up" whenever init has it closed.
    _terminal: Option<OwnedFd>,
    ring: Option<Ring>,
    log: Option<File>,
    viewers: BTreeMap<u64, Viewer>,
}

/// Somebody who looks at the console.
#[derive(Debug)]
struct Viewer {
    stream: OwnedFd,
    /// Output that did not fit.
    waiting: VecDeque<u8>,
}

/// What a slow viewer may leave waiting, in bytes; what is more it does not see.
const MOST_WAITING: usize = 256 << 10;

impl Console {
    pub(super) fn configure(&mut self, ring_size: u32, log: Option<File>) {
        self.ring = Some(Ring::new(ring_size as usize));
        self.log = log;
    }

    pub(super) fn open(&mut self, poll: &Poll, master: OwnedFd, terminal: Option<OwnedFd>) {
        // Without it the loop would wait with us for a read that has nothing.
        let _ = rustix::io::ioctl_fionbio(&master, true);
        let _ = poll.add(&master, Token::Console, Interest::Read);
        self.master = Some(master);
        self._terminal = terminal;
    }

    /// Reads what there is; false if there is nothing more now.
    fn read(&mut self) -> bool {
        let Some(master) = &self.master else { return false };
        let mut buffer = [0; 16 << 10];
        let length = match rustix::io::read(master, &mut buffer) {
            Ok(length) if length > 0 => length,
            Err(Errno::INTR) => return true,
            Ok(_) | Err(_) => return false,
        };
        if let Some(ring) = &mut self.ring {
            ring.write(&buffer[..length]);
        }
        for viewer in self.viewers.values_mut() {
            let room = MOST_WAITING.saturating_sub(viewer.waiting.len());
            viewer.waiting.extend(&buffer[..length.min(room)]);
        }
        true
    }

    /// Reads the last output and writes what is kept to the log.
    pub(super) fn close(&mut self) -> std::io::Result<()> {
        while self.read() {}
        for viewer in self.viewers.values_mut() {
            let _ = viewer.flush();
        }
        self.viewers.clear();
        self.master = None;
        self._terminal = None;
        let (Some(log), Some(ring)) = (&mut self.log, &self.ring) else { return Ok(()) };
        ring.parts().into_iter().try_for_each(|part| log.write_all(part))
    }
}

impl Viewer {
    /// Writes what waits, as far as there is room.
    fn flush(&mut self) -> Result<(), Errno> {
        while !self.waiting.is_empty() {
            match rustix::io::write(&self.stream, self.waiting.as_slices().0) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Monitor {
    /// The instance has written to its console.
    pub(super) fn console_ready(&mut self) {
        if !self.console.read() {
            return;
        }
        let ids: Vec<u64> = self.console.viewers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.serve_viewer(id));
    }

    /// A viewer has typed, is gone, or can take more.
    pub(super) fn viewer_ready(&mut self, id: u64) {
        let (Some(viewer), Some(master)) = (self.console.viewers.get(&id), &self.console.master) else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(&viewer.stream, &mut buffer) {
            Ok(length) if length > 0 => {
                // A terminal whose input is full drops what is typed, here as on any other.
                let _ = rustix::io::write(master, &buffer[..length]);
                self.serve_viewer(id);
            }
            Err(Errno::AGAIN | Errno::INTR) => self.serve_viewer(id),
            Ok(_) | Err(_) => self.drop_viewer(id),
        }
    }

    fn serve_viewer(&mut self, id: u64) {
        let Some(viewer) = self.console.viewers.get_mut(&id) else { return };
        if viewer.flush().is_err() {
            return self.drop_viewer(id);
        }
        let interest = if viewer.waiting.is_empty() { Interest::Read } else { Interest::ReadWrite };
        let _ = self.poll.change(&viewer.stream, Token::Viewer(id), interest);
    }

    fn drop_viewer(&mut self, id: u64) {
        if let Some(viewer) = self.console.viewers.remove(&id) {
            self.poll.remove(&viewer.stream);
        }
    }

    /// Lets somebody look at the console and type into it.
    pub(super) fn attach_viewer(&mut self, replay: bool, fds: Vec<OwnedFd>) -> Result<Answer, Refusal> {
        self.running()?;
        let Some(stream) = fds.into_iter().next() else {
            return Err(refusal(RefusalKind::Invalid, "a descriptor must come with the request"));
        };
        let id = self.next_id();
        let ready = rustix::io::ioctl_fionbio(&stream, true).map_err(std::io::Error::from);
        let ready = ready.and_then(|()| self.poll.add(&stream, Token::Viewer(id), Interest::Read));
        ready.map_err(|error| failed("waiting for the viewer", &error))?;
        let mut waiting = VecDeque::new();
        if let Some(ring) = self.console.ring.as_ref().filter(|_| replay) {
            ring.parts().into_iter().for_each(|part| waiting.extend(part));
        }
        self.console.viewers.insert(id, Viewer { stream, waiting });
        self.serve_viewer(id);
        Ok(Answer::Done)
    }

    pub(super) fn resize_console(&mut self, size: WindowSize) -> Result<Answer, Refusal> {
        let Some(master) = &self.console.master else { return Err(refusal(RefusalKind::State, "there is no console")) };
        match pty::set_size(master.as_fd(), size.columns, size.rows) {
            Ok(()) => Ok(Answer::Done),
            Err(error) => Err(failed("changing the console's size", &error)),
        }
    }

    /// Puts what is kept into a file.
    pub(super) fn console_log(&self) -> Result<(Answer, Vec<OwnedFd>), Refusal> {
        let parts = self.console.ring.as_ref().map_or([&[][..], &[][..]], Ring::parts);
        let written = process::memory_file("coffer-console").map(File::from).and_then(|file| {
            file.write_all_at(parts[0], 0)?;
            file.write_all_at(parts[1], parts[0].len() as u64)?;
            Ok(file)
        });
        let file = written.map_err(|error| failed("copying the console's output", &error))?;
        let length = (parts[0].len() + parts[1].len()) as u64;
        Ok((Answer::ConsoleLog { length }, vec![file.into()]))
    }

    pub(super) fn clear_console(&mut self) -> Answer {
        if let Some(ring) = &mut self.console.ring {
            ring.clear();
        }
        Answer::Done
    }
}
