//! The hierarchies of control groups that a host has mounted.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_sys::mount::magic;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{open_dir, read, remove_tree, write};

/// Where control groups are mounted.
const TOP: &str = "/sys/fs/cgroup";

/// The two versions of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for a controller or a few.
    V1,
    /// The one tree for all.
    V2,
}

/// All hierarchies of a host.
#[derive(Debug)]
pub struct Hierarchies(pub(super) Vec<Hierarchy>);

/// One hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    version: Version,
    /// Its directory below [`TOP`], `cpu,cpuacct` or `unified`; empty if it is [`TOP`] itself.
    name: String,
    controllers: Vec<String>,
    root: OwnedFd,
}

impl Hierarchies {
    /// Finds the hierarchies of this host.
    ///
    /// # Errors
    /// What reading `/proc/self/cgroup` gives; `ENOENT` if control groups are not mounted in [`TOP`].
    ///
    /// Source: cgroups(7): a line of `/proc/self/cgroup` is `number:controllers:path`, number 0 is version 2.
    pub fn find() -> io::Result<Self> {
        let listed = std::fs::read_to_string("/proc/self/cgroup")?;
        let mut found: Vec<Hierarchy> = listed.lines().filter_map(|line| line.split(':').nth(1)).filter_map(Hierarchy::open).collect();
        if found.is_empty() {
            return Err(Errno::NOENT.into());
        }
        // In a fixed order, whatever the kernel's: version 2 last.
        found.sort_by(|one, other| (one.version == Version::V2, &one.name).cmp(&(other.version == Version::V2, &other.name)));
        Ok(Self(found))
    }

    /// The hierarchies.
    #[must_use]
    pub fn all(&self) -> &[Hierarchy] {
        &self.0
    }
}

impl Hierarchy {
    /// Opens the hierarchy that `/proc/self/cgroup` lists by these controllers; `None` if it is not mounted.
    fn open(listed: &str) -> Option<Self> {
        if listed.is_empty() {
            return Self::open_unified();
        }
        let named = listed.strip_prefix("name=");
        let controllers: Vec<String> = if named.is_some() { Vec::new() } else { listed.split(',').map(str::to_owned).collect() };
        let whole = named.unwrap_or(listed);
        let names = std::iter::once(whole).chain(controllers.iter().map(String::as_str));
        let root = names.filter_map(|name| open_mount(name, magic::CGROUP)).next()?;
        Some(Self { version: Version::V1, name: whole.to_owned(), controllers, root })
    }

    fn open_unified() -> Option<Self> {
        let (name, root) = match open_mount("", magic::CGROUP2) {
            Some(root) => ("", root),
            None => ("unified", open_mount("unified", magic::CGROUP2)?),
        };
        let controllers = read(root.as_fd(), "cgroup.controllers").ok()?.split_whitespace().map(str::to_owned).collect();
        Some(Self { version: Version::V2, name: name.to_owned(), controllers, root })
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its name for messages: the directory it is mounted on.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{TOP}/{}", self.name)
    }

    /// Its directory's name, empty if the version 2 tree is the only one.
    pub(crate) fn directory(&self) -> &str {
        &self.name
    }

    /// The controllers it has.
    #[must_use]
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }

    /// Says whether it has this controller.
    #[must_use]
    pub fn controls(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Says whether the instance may make groups of its own in it: where limits could be undone from a group below, as
    /// in version 1 controllers, it may not.
    pub(super) fn delegated(&self) -> bool {
        self.version == Version::V2 || self.controllers.is_empty()
    }

    /// The files that belong to whoever a group is delegated to.
    pub(super) fn delegated_files(&self) -> Vec<String> {
        match self.version {
            Version::V1 => vec!["tasks".into(), "cgroup.procs".into()],
            Version::V2 => {
                let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
                let fallback = || "cgroup.procs\ncgroup.threads\ncgroup.subtree_control".to_owned();
                let files = listed.unwrap_or_else(|_| fallback());
                // Whether its death is one for all is ours to say.
                files.lines().filter(|file| file.starts_with("cgroup.")).map(str::to_owned).collect()
            }
        }
    }

    /// Makes the group `path`, new, with what is missing above it.
    pub(super) fn create(&self, path: &str) -> io::Result<OwnedFd> {
        for _ in 0..TRIES {
            match self.make(path) {
                // Another instance's end has just removed the directories above: by name they are not found, and the files
                // of one that is open already answer that there is no such device.
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NODEV)) => {}
                other => return other,
            }
        }
        self.make(path)
    }

    /// Opens the group `path`, made if it is missing.
    fn ensure(&self, path: &str) -> io::Result<OwnedFd> {
        self.group(path).or_else(|_| self.create(path))
    }

    fn make(&self, path: &str) -> io::Result<OwnedFd> {
        let mut dir = self.root.try_clone()?;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if self.version == Version::V2 {
                hand_down(&dir, &self.controllers);
            }
            let last = parts.peek().is_none();
            match rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                Err(Errno::EXIST) if last => {
                    remove_tree(dir.as_fd(), part)?;
                    rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755))?;
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let below = open_dir(dir.as_fd(), part)?;
            if self.version == Version::V1 && self.controls("cpuset") {
                inherit_cpuset(&dir, &below)?;
            }
            dir = below;
        }
        Ok(dir)
    }

    /// Removes the group `path` and those above it that are empty.
    pub(super) fn remove(&self, path: &str) {
        // A group that cannot be removed holds a process that is not ours to end; the next start of that name tries again.
        let _ = remove_tree(self.root.as_fd(), path);
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            if rustix::fs::unlinkat(&self.root, parent, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            above = parent;
        }
    }

    /// Opens the group `path`.
    pub(super) fn group(&self, path: &str) -> io::Result<OwnedFd> {
        open_dir(self.root.as_fd(), path)
    }
}

/// How often a group is made anew while others remove what is above it.
const TRIES: usize = 20;

/// Opens a directory below [`TOP`] if it is a mount of this type.
fn open_mount(name: &str, kind: i64) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, format!("{TOP}/{name}"), flags, Mode::empty()).ok()?;
    (coffer_sys::mount::filesystem_type(dir.as_fd()).ok()? == kind).then_some(dir)
}

/// Lets groups below have the controllers, as far as the kernel lets us: a missing one shows when its limit is set.
fn hand_down(dir: &OwnedFd, controllers: &[String]) {
    if controllers.is_empty() {
        return;
    }
    let now = read(dir.as_fd(), "cgroup.subtree_control").unwrap_or_default();
    let missing: Vec<String> =
        controllers.iter().filter(|name| !now.split_whitespace().any(|it| it == *name)).map(|name| format!("+{name}")).collect();
    if missing.is_empty() || write(dir.as_fd(), "cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return;
    }
    for one in missing {
        let _ = write(dir.as_fd(), "cgroup.subtree_control", &one);
    }
}

/// Gives a new version 1 cpuset the processors and memory nodes of the one above: with none it can hold no process.
fn inherit_cpuset(above: &OwnedFd, dir: &OwnedFd) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(dir.as_fd(), file)?.trim().is_empty() {
            write(dir.as_fd(), file, read(above.as_fd(), file)?.trim())?;
        }
    }
    Ok(())
}

/// Moves this process out of its caller's control groups into `ours`, where a service manager that stops the caller does
/// not look. A process that is in no service's group stays where it is.
pub(crate) fn leave_callers(ours: &str) {
    let Ok(listed) = std::fs::read_to_string("/proc/self/cgroup") else { return };
    for line in listed.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        // Only these two know services; moving in the others would cost time and gain nothing.
        let known = controllers.is_empty() || controllers == "name=systemd";
        if !known || path == "/" || path == format!("/{ours}") {
            continue;
        }
        let Some(hierarchy) = Hierarchy::open(controllers) else { continue };
        if let Ok(dir) = hierarchy.ensure(ours) {
            let file = if hierarchy.version == Version::V1 { "tasks" } else { "cgroup.procs" };
            // Where this is not permitted the unit's `KillMode=process` does the same.
            let _ = write(dir.as_fd(), file, "0");
        }
    }
}
