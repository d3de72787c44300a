//! Pseudo terminals.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::termios::Winsize;

/// A pseudo terminal of one devpts.
#[derive(Debug)]
pub struct Pty {
    /// The side of whoever reads and writes what a user would.
    pub master: OwnedFd,
    /// The side of the programs.
    pub terminal: OwnedFd,
}

/// Makes a pseudo terminal in the devpts whose root directory is held open. No path is looked up twice, so nobody can put
/// another file in its place.
///
/// # Errors
/// `ENOSPC` if there are too many, `EACCES` if its `ptmx` is not open to us.
///
/// Source: pts(4); ioctl_tty(2), `TIOCGPTPEER`, Linux 4.13.
pub fn open(devpts: BorrowedFd<'_>) -> io::Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let terminal = peer(master.as_fd())?;
    Ok(Pty { master, terminal })
}

/// Opens the side of the programs of a terminal whose master is held open.
///
/// # Errors
/// `EIO` if the master was not unlocked.
///
/// Source: ioctl_tty(2), `TIOCGPTPEER`, Linux 4.13.
pub fn peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = (OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC).bits();
    // SAFETY: TIOCGPTPEER takes open flags as a plain number and returns a new descriptor.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as libc::Ioctl, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just installed this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets the size of a terminal, by either side; its foreground processes get `SIGWINCH`.
///
/// # Errors
/// `ENOTTY` if it is no terminal.
///
/// Source: ioctl_tty(2), `TIOCSWINSZ`.
pub fn set_size(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    Ok(rustix::termios::tcsetwinsize(terminal, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 })?)
}

/// Starts a new session and makes the terminal its controlling one.
///
/// # Errors
/// `EPERM` if the terminal belongs to another session, or this process already leads one.
///
/// Source: setsid(2); ioctl_tty(2), `TIOCSCTTY`.
pub fn take_as_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(terminal)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{Restrictions, new_filesystem};

    #[test]
    fn a_terminal_of_a_devpts_that_is_attached_nowhere() {
        let devpts = match new_filesystem("devpts", &[crate::mount::FsOption::Text("ptmxmode", "0666")], Restrictions::NONE) {
            Ok(devpts) => devpts,
            Err(error) => return println!("skipped: no devpts: {error}"),
        };
        let pty = open(devpts.as_fd()).unwrap();
        set_size(pty.master.as_fd(), 100, 40).unwrap();
        let size = rustix::termios::tcgetwinsize(&pty.terminal).unwrap();
        assert_eq!((size.ws_col, size.ws_row), (100, 40));
        rustix::io::write(&pty.terminal, b"x").unwrap();
        let mut buffer = [0; 4];
        assert_eq!(rustix::io::read(&pty.master, &mut buffer).unwrap(), 1);
    }
}
