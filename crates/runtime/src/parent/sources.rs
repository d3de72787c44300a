//! Opening what a spec names: paths of the host and descriptors that came along.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{CreateTarget, IdMap, Mount, MountSource, Propagation, Source, Spec, Stage};
use coffer_sys::mount::{self, Restrictions};
use coffer_sys::path::kind_of;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{idmapped, lock_restrictions, mount_map};
use crate::failed::{At, Failed};

/// Descriptors that came with a request; each is used once.
#[derive(Debug)]
pub(crate) struct Fds(Vec<Option<OwnedFd>>);

impl Fds {
    /// Takes over the descriptors of a message.
    pub(crate) fn new(fds: Vec<OwnedFd>) -> Self {
        Self(fds.into_iter().map(Some).collect())
    }

    /// Takes the descriptor at a position.
    ///
    /// # Errors
    /// `EBADF` if there is none or it was taken.
    pub(crate) fn take(&mut self, position: u32) -> io::Result<OwnedFd> {
        self.0.get_mut(position as usize).and_then(Option::take).ok_or_else(|| Errno::BADF.into())
    }

    /// Opens a source as a detached mount: a copy of the one it is on, or the one that was passed.
    pub(crate) fn detached(&mut self, source: &Source, recursive: bool) -> io::Result<OwnedFd> {
        match source {
            Source::Path(path) if !path.is_absolute() => Err(Errno::INVAL.into()),
            Source::Path(path) => mount::copy_path(path, recursive),
            Source::Fd(position) => mount::copy(self.take(*position)?.as_fd(), recursive),
            Source::Mount(position) => self.take(*position),
        }
    }

    /// Opens a source as a file that is appended to, made if it is not there.
    pub(crate) fn append(&mut self, source: &Source) -> io::Result<std::fs::File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match source {
            Source::Path(path) if !path.is_absolute() => Err(Errno::INVAL.into()),
            Source::Path(path) => Ok(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?.into()),
            Source::Fd(position) => Ok(self.take(*position)?.into()),
            Source::Mount(_) => Err(Errno::INVAL.into()),
        }
    }
}

/// A mount of the spec with its source opened.
#[derive(Debug)]
pub(crate) struct PlannedMount {
    /// Its description.
    pub(crate) mount: Mount,
    /// The detached mount; absent for a file system that the child makes with its own rights.
    pub(crate) source: Option<OwnedFd>,
    /// The source is a directory.
    pub(crate) is_dir: bool,
}

impl PlannedMount {
    /// Opens a mount's source.
    pub(crate) fn open(mount: &Mount, fds: &mut Fds) -> io::Result<Self> {
        check_target(&mount.target)?;
        let (source, is_dir) = match &mount.source {
            MountSource::Host(source) => {
                let source = fds.detached(source, mount.recursive)?;
                let is_dir = kind_of(&rustix::fs::fstat(&source)?) == FileType::Directory;
                (Some(source), is_dir)
            }
            MountSource::Filesystem { .. } => (None, true),
        };
        Ok(Self { mount: mount.clone(), source, is_dir })
    }

    /// Shifts ids, restricts, cuts off.
    pub(crate) fn adapt(&self, idmap: &IdMap, userns: Option<&OwnedFd>) -> Result<(), Failed> {
        let told = |error: Failed| Failed { text: format!("mount for {}: {}", self.mount.target, error.text), ..error };
        let Some(source) = &self.source else { return Ok(()) };
        let own = self.mount.owner.map(|owner| mount_map::userns(idmap, self.mount.idmapped, &owner)).transpose().map_err(told)?;
        let userns = own.as_ref().or(userns.filter(|_| self.mount.idmapped));
        let propagation = propagation(self.mount.propagation);
        idmapped(source, userns, restrictions(&self.mount), propagation, self.mount.recursive).map_err(told)
    }
}

/// What a mount forbids.
pub(crate) fn restrictions(mount: &Mount) -> Restrictions {
    Restrictions { readonly: mount.readonly, nosuid: mount.nosuid, nodev: mount.nodev, noexec: mount.noexec }
}

/// Opens the mounts of a spec. Optional ones whose source is missing are left out with a warning.
pub(super) fn open_mounts(spec: &Spec, fds: &mut Fds, warnings: &mut Vec<String>) -> Result<Vec<PlannedMount>, Failed> {
    let mut planned = Vec::new();
    for mount in &spec.mounts {
        match PlannedMount::open(mount, fds) {
            Ok(one) => planned.push(one),
            Err(error) if mount.optional && error.kind() == io::ErrorKind::NotFound => {
                warnings.push(format!("mount for {} left out: its source does not exist", mount.target));
            }
            Err(error) => return Err(error).at(Stage::Sources, || format!("opening the source of the mount for {}", mount.target)),
        }
    }
    Ok(planned)
}

/// Makes what restricted mounts forbid final: without this, root inside could take it back by mounting again. Returns the
/// mounts to use instead of those that [`PlannedMount::is_locked`] names, in order.
pub(crate) fn lock_all(mounts: &[PlannedMount], idmap: &IdMap, userns: &OwnedFd) -> Result<Vec<OwnedFd>, Failed> {
    let restricted: Vec<&OwnedFd> =
        mounts.iter().filter(|planned| planned.is_locked(idmap)).filter_map(|planned| planned.source.as_ref()).collect();
    if restricted.is_empty() { Ok(Vec::new()) } else { lock_restrictions(&restricted, userns) }
}

/// Refuses targets that would replace what the monitor itself mounts.
fn check_target(target: &str) -> io::Result<()> {
    let mut parts = target.split('/').filter(|part| !part.is_empty() && *part != ".");
    let first = parts.next();
    let whole = parts.next().is_none();
    let ours = whole && matches!(first, None | Some("proc" | "sys" | "dev"));
    if ours || target.split('/').any(|part| part == "..") { Err(Errno::INVAL.into()) } else { Ok(()) }
}

fn propagation(propagation: Propagation) -> mount::Propagation {
    match propagation {
        Propagation::Private => mount::Propagation::Private,
        Propagation::Shared => mount::Propagation::Shared,
        Propagation::Slave => mount::Propagation::Slave,
        Propagation::Unbindable => mount::Propagation::Unbindable,
    }
}

impl PlannedMount {
    /// Says whether it must be locked: it forbids something, and root inside is not root of the host.
    pub(crate) fn is_locked(&self, idmap: &IdMap) -> bool {
        let mapped = match idmap {
            IdMap::Privileged => false,
            IdMap::Mapped { .. } => true,
        };
        mapped && self.source.is_some() && restrictions(&self.mount).any()
    }

    /// Says whether a missing target is made.
    pub(crate) fn makes_target(&self) -> bool {
        match self.mount.create {
            CreateTarget::Matching => true,
            CreateTarget::Never => false,
        }
    }
}
