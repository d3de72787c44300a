//! The socket that later callers connect to, and the record that is left when there is nobody to connect to.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::ExitRecord;
use coffer_sys::path::Root;
use coffer_sys::socket::{PacketListener, PacketSocket};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// A socket in a directory.
#[derive(Debug)]
pub(super) struct Listening {
    dir: Root,
    name: String,
    pub(super) listener: PacketListener,
}

impl Listening {
    /// Listens on the socket `name` in `dir`. What a dead monitor left there is removed.
    ///
    /// # Errors
    /// `EADDRINUSE` if a living monitor listens there.
    pub(super) fn open(dir: OwnedFd, name: &str) -> io::Result<Self> {
        if PacketSocket::connect(dir.as_fd(), name).is_ok() {
            return Err(Errno::ADDRINUSE.into());
        }
        for file in [name.to_owned(), record_name(name)] {
            match rustix::fs::unlinkat(&dir, &file, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let listener = PacketListener::bind(dir.as_fd(), name)?;
        Ok(Self { dir: Root::from_fd(dir), name: name.to_owned(), listener })
    }

    /// Leaves a record and closes.
    pub(super) fn close(self, record: Option<&ExitRecord>) -> io::Result<()> {
        let written = record.map(|record| self.write(record)).transpose().map(drop);
        // The record is there before the socket is gone: whoever finds no socket finds the record.
        let removed = self.dir.remove_file(&self.name);
        written.and(removed)
    }

    /// Writes the record under a temporary name first. It need not outlive the host's power: no monitor does.
    fn write(&self, record: &ExitRecord) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        let name = record_name(&self.name);
        let temporary = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, &temporary, flags, Mode::from_raw_mode(0o600))?;
        io::Write::write_all(&mut std::fs::File::from(file), &text)?;
        self.dir.rename(&temporary, &name)
    }
}

fn record_name(name: &str) -> String {
    format!("{name}.exit")
}
