//! What the unpacker says while it works: one packet of JSON each.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use coffer_sys::socket::PacketSocket;

use super::devices::Device;
use super::failure::Failure;
use super::order::Line;

/// Progress is reported after so many bytes of the image's files.
const STEP: u64 = 4 << 20;

/// Bytes of text in one packet: once escaped it still fits into any socket's buffer.
const TEXT: usize = 16 << 10;

/// Where the unpacker's lines go.
pub(crate) struct Reporter {
    socket: PacketSocket,
    before: Cell<u64>,
    reported: Cell<u64>,
}

impl Reporter {
    pub(crate) fn new(socket: PacketSocket) -> Self {
        Self { socket, before: Cell::new(0), reported: Cell::new(0) }
    }

    /// Where the lines go.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Says that `done` bytes of the current file are through. A listener that is gone ends this process by other means.
    pub(crate) fn progress(&self, done: u64) {
        let done = self.before.get() + done;
        if done >= self.reported.get() + STEP {
            self.reported.set(done);
            let _ = self.send(&Line::Progress { done });
        }
    }

    /// Says that a file of `size` bytes is through, so that the next one's progress adds to it.
    pub(crate) fn file_done(&self, size: u64) {
        self.before.set(self.before.get() + size);
    }

    /// Sends the text of `metadata.yaml`, in as many pieces as it takes.
    pub(crate) fn metadata(&self, text: &str) -> io::Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(TEXT));
            self.send(&Line::Metadata(piece.to_owned()))?;
            rest = after;
        }
        Ok(())
    }

    /// Asks for a device node that this process has no right to make.
    pub(crate) fn device(&self, device: Device) -> Result<(), Failure> {
        self.send(&Line::Device(device)).map_err(|error| Failure::confine("reporting a device", error))
    }

    /// Sends one line.
    pub(crate) fn send(&self, line: &Line) -> io::Result<()> {
        self.socket.send(&[&serde_json::to_vec(line)?], &[])
    }
}
