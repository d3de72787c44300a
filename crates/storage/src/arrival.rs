//! Waiting for what a pool stands on: a directory, a file or a device that appears, something that is mounted.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use crate::pool::PoolSpec;

/// Where devices appear: nodes, names by identity, and volumes of the device mapper.
const DEVICES: [&str; 3] = ["/dev", "/dev/disk/by-uuid", "/dev/mapper"];

/// What may tell that pools can be opened again. To be made before the pools are tried, so that nothing is missed between.
pub struct Arrivals {
    mounts: File,
    names: OwnedFd,
}

impl Arrivals {
    /// Watches all that the pools of these descriptions could come back by.
    ///
    /// # Errors
    /// The kernel's answers.
    pub fn watch(pools: &[PoolSpec]) -> io::Result<Self> {
        let names = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        for directory in pools.iter().flat_map(directories) {
            let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::ONLYDIR;
            match inotify::add_watch(&names, &directory, events) {
                // It was there a moment ago; whatever took it away tells by the directory above.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
                other => drop(other?),
            }
        }
        Ok(Self { mounts: File::open("/proc/self/mountinfo")?, names })
    }

    /// Waits until something of it happens.
    ///
    /// # Errors
    /// The kernel's answers.
    ///
    /// Source: inotify(7); proc_pid_mounts(5): a change of the table is an exceptional condition for poll(2).
    pub fn wait(&self) -> io::Result<()> {
        loop {
            let mut both = [PollFd::new(&self.mounts, PollFlags::PRI), PollFd::new(&self.names, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => drop(other?),
            }
            if !both[0].revents().is_empty() || self.relevant()? {
                return Ok(());
            }
        }
    }

    /// Reads what inotify has to say; false if it was only that a watch ended.
    fn relevant(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.names.as_fd(), &mut buffer);
        let mut relevant = false;
        loop {
            match reader.next() {
                Ok(event) => relevant |= event.events() != ReadFlags::IGNORED,
                Err(rustix::io::Errno::AGAIN) => return Ok(relevant),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The directories in which what a pool stands on would appear: the deepest one there is on the way to it.
fn directories(pool: &PoolSpec) -> Vec<PathBuf> {
    let source = PathBuf::from(pool.config.get("source").unwrap_or_default());
    let place = crate::place::Place::path_of(&pool.state_dir, &pool.name);
    let mut found: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).filter(|path| path.is_dir()).collect();
    for path in [source.as_path(), &place] {
        let there = path.ancestors().filter(|path| path.is_absolute() && path.is_dir());
        found.extend(there.take(2).map(Path::to_path_buf));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::DriverKind;

    fn spec(state_dir: &Path, source: &Path) -> PoolSpec {
        let config = [("source", source.to_str().unwrap())].into_iter().collect();
        PoolSpec { name: "pool".parse().unwrap(), driver: DriverKind::Dir, config, state_dir: state_dir.into() }
    }

    #[test]
    fn a_directory_that_appears_wakes_who_waits_for_it() {
        let top = tempfile::tempdir().unwrap();
        let source = top.path().join("disk/pool");
        let pool = spec(top.path(), &source);
        // One level at a time: each look begins with a new watch.
        for directory in [top.path().join("disk"), source.clone()] {
            let arrivals = Arrivals::watch(std::slice::from_ref(&pool)).unwrap();
            let woken = std::thread::spawn(move || arrivals.wait().is_ok());
            std::fs::create_dir(directory).unwrap();
            assert!(woken.join().unwrap());
        }
    }
}
