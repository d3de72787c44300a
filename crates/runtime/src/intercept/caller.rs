//! Who made a call: what it may, and its memory.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// A thread that waits for the answer to its call. Everything is reached by its directory in `/proc`, which stays its own.
pub(super) struct Caller {
    directory: OwnedFd,
}

/// What a thread may, in ids of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    /// Whose its files are.
    pub(super) uid: u32,
    /// Whose group's its files are.
    pub(super) gid: u32,
    /// Its other groups.
    pub(super) groups: Vec<u32>,
    /// Its capabilities in its own user namespace; bit n is capability n.
    pub(super) capabilities: u64,
    /// What is taken from the modes of its files.
    pub(super) umask: u32,
    /// Its numbers in each process namespace, ours of the host first.
    pub(super) numbers: Vec<u32>,
    /// Those of its process.
    pub(super) group_numbers: Vec<u32>,
    /// How many filters of system calls it is under.
    pub(super) filters: u32,
    /// No program that it executes gains rights.
    pub(super) gains_none: bool,
}

/// Bytes that the kernel takes for a path with its zero. Source: linux/limits.h, `PATH_MAX`.
const LONGEST_PATH: u64 = 4096;
const PAGE: u64 = 4096;

/// Why a text ends.
enum End {
    /// There is a zero.
    Zero,
    /// There is no more memory.
    Memory,
    /// It is as long as it may be.
    Length,
}

impl Caller {
    /// Opens a thread by its number on the host.
    pub(super) fn open(thread: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: rustix::fs::open(format!("/proc/{thread}"), flags, Mode::empty())? })
    }

    /// What it may; nothing beyond its ids if its user namespace is not this one.
    pub(super) fn rights(&self, userns: &OwnedFd) -> io::Result<Rights> {
        let mut text = String::new();
        File::from(self.file("status", OFlags::RDONLY)?).read_to_string(&mut text)?;
        let rights = Rights::parse(&text).ok_or(Errno::INVAL)?;
        let same = same_file(&self.file("ns/user", OFlags::RDONLY)?, userns)?;
        Ok(if same { rights } else { Rights { capabilities: 0, ..rights } })
    }

    /// Opens something in its directory.
    pub(super) fn file(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(openat(&self.directory, name, flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Reads a path from its memory.
    pub(super) fn path(&self, address: u64) -> io::Result<CString> {
        self.text(address, LONGEST_PATH, Errno::NAMETOOLONG)
    }

    /// Reads a text that ends with a zero from its memory, `most` bytes with that.
    pub(super) fn text(&self, address: u64, most: u64, too_long: Errno) -> io::Result<CString> {
        match self.before_zero(address, most)? {
            (text, End::Zero) => CString::new(text).map_err(|_| Errno::INVAL.into()),
            (_, End::Memory) => Err(Errno::FAULT.into()),
            (_, End::Length) => Err(too_long.into()),
        }
    }

    /// Reads a text that ends with a zero or after `most` bytes, or where its memory ends; nothing at no address.
    pub(super) fn up_to(&self, address: u64, most: u64) -> io::Result<Vec<u8>> {
        if address == 0 {
            return Ok(Vec::new());
        }
        match self.before_zero(address, most)? {
            (text, End::Memory) if text.is_empty() => Err(Errno::FAULT.into()),
            (text, _) => Ok(text),
        }
    }

    /// Reads bytes up to a zero, at most so many, and says why there are no more.
    fn before_zero(&self, address: u64, most: u64) -> io::Result<(Vec<u8>, End)> {
        let memory = self.memory(OFlags::RDONLY)?;
        let mut text = Vec::new();
        while (text.len() as u64) < most {
            // Up to the end of a page: the next one may not be there, and need not.
            let at = address.wrapping_add(text.len() as u64);
            let length = (PAGE - at % PAGE).min(most - text.len() as u64);
            let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
            if memory.read_exact_at(&mut piece, at).is_err() {
                return Ok((text, End::Memory));
            }
            match piece.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    text.extend_from_slice(&piece[..end]);
                    return Ok((text, End::Zero));
                }
                None => text.extend_from_slice(&piece),
            }
        }
        Ok((text, End::Length))
    }

    /// Reads bytes from its memory.
    pub(super) fn bytes<const N: usize>(&self, address: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.memory(OFlags::RDONLY)?.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
        Ok(bytes)
    }

    /// Writes bytes into its memory.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory(OFlags::RDWR)?.write_all_at(bytes, address).map_err(|_| Errno::FAULT.into())
    }

    fn memory(&self, flags: OFlags) -> io::Result<File> {
        Ok(self.file("mem", flags)?.into())
    }
}

impl Rights {
    /// Says whether it has a capability.
    pub(super) fn can(&self, capability: u8) -> bool {
        self.capabilities & bit(capability) != 0
    }

    /// Source: proc_pid_status(5).
    fn parse(status: &str) -> Option<Self> {
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let numbers = |name: &str| -> Option<Vec<u32>> { line(name)?.split_whitespace().map(|text| text.parse().ok()).collect() };
        Some(Self {
            // Real, effective, saved, of files.
            uid: *numbers("Uid")?.get(3)?,
            gid: *numbers("Gid")?.get(3)?,
            groups: numbers("Groups")?,
            capabilities: u64::from_str_radix(line("CapEff")?.trim(), 16).ok()?,
            umask: u32::from_str_radix(line("Umask")?.trim(), 8).ok()?,
            numbers: numbers("NSpid")?,
            group_numbers: numbers("NStgid")?,
            filters: line("Seccomp_filters")?.trim().parse().ok()?,
            gains_none: line("NoNewPrivs")?.trim() == "1",
        })
    }

    /// What this process itself is.
    pub(super) fn own() -> io::Result<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status")?).ok_or_else(|| Errno::INVAL.into())
    }
}

/// The bit of a capability.
pub(super) fn bit(capability: u8) -> u64 {
    1 << capability
}

/// Says whether two descriptors are of the same file: how namespaces are told apart.
pub(super) fn same_file(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tx\nUmask:\t0027\nTgid:\t9\nUid:\t1\t2\t3\t100004\nGid:\t5\t6\t7\t100008\nGroups:\t100010 100020 \n\
                      NStgid:\t899\t6\nNSpid:\t900\t7\nCapInh:\t0\nCapPrm:\tff\nCapEff:\t0000000008000002\nNoNewPrivs:\t1\n\
                      Seccomp:\t2\nSeccomp_filters:\t3\n";
        let rights = Rights::parse(status).unwrap();
        let groups = vec![100_010, 100_020];
        let expect = Rights {
            uid: 100_004,
            gid: 100_008,
            groups,
            capabilities: 0x0800_0002,
            umask: 0o027,
            numbers: vec![900, 7],
            group_numbers: vec![899, 6],
            filters: 3,
            gains_none: true,
        };
        assert_eq!(rights, expect);
        assert!(rights.can(1) && rights.can(27) && !rights.can(21));
        assert_eq!(Rights::parse("Umask:\t0022\n"), None);
        assert_eq!(Rights::own().unwrap().uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn texts_are_read_up_to_their_end_and_no_further() {
        let caller = Caller::open(std::process::id()).unwrap();
        let text = CString::new("/some/path").unwrap();
        let address = text.as_ptr() as u64;
        assert_eq!(caller.path(address).unwrap(), text);
        assert_eq!(caller.text(address, 4, Errno::RANGE).unwrap_err().raw_os_error(), Some(Errno::RANGE.raw_os_error()));
        assert_eq!(caller.bytes::<5>(address).unwrap(), *b"/some");
        assert_eq!(caller.path(1).unwrap_err().raw_os_error(), Some(Errno::FAULT.raw_os_error()));
        let room = [0_u8; 3];
        caller.write(room.as_ptr() as u64, b"abc").unwrap();
        assert_eq!(std::hint::black_box(room), *b"abc");
    }
}
