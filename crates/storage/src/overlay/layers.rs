//! Layers, the lists that name them, and putting them together.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_sys::mount::{self, FsOption, Restrictions};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use uuid::Uuid;

use crate::place::{Scratch, open_directory};
use crate::tree::link;
use crate::volume::Volume;

/// The directory below the pool that holds the layers.
pub(super) const HOME: &str = "layers";

/// The directory of a volume that is its root, and of a layer that is part of one.
pub(super) const ROOT: &str = "rootfs";

/// The same, where the kernel's words are compared.
pub(super) const ROOT_NAME: &CStr = c"rootfs";

/// What a layer holds.
pub(super) const TOP: &str = "top";

/// What overlayfs needs beside that while it is changed.
pub(super) const WORK: &str = "work";

/// The list of layers, and its next version.
const LIST: &str = "layers";
const NEXT_LIST: &str = "layers.next";

/// On how many layers that do not change a volume stands at most. The kernel takes 255 bytes for their paths, which are `/proc/self/fd/12345`.
pub(super) const DEEPEST: usize = 10;

/// Ends the search for what lies below a directory. Source: Documentation/filesystems/overlayfs.rst.
const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// A layer's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LayerId(Uuid);

impl LayerId {
    /// A name that no other layer has.
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The layer that a name in the layers' directory means.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Uuid::try_parse(name).ok().map(Self)
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The layers that a volume stands on, the topmost first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stack(pub(super) Vec<LayerId>);

impl Stack {
    /// The same with another layer on top.
    pub(super) fn with(&self, top: LayerId) -> Self {
        Self(std::iter::once(top).chain(self.0.iter().copied()).collect())
    }

    /// The topmost layer, and the others.
    pub(super) fn split(&self) -> io::Result<(LayerId, Self)> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its list of layers is empty");
        self.0.split_first().map(|(top, below)| (*top, Self(below.to_vec()))).ok_or_else(damaged)
    }

    fn parse(text: &str) -> Option<Self> {
        text.lines().map(LayerId::parse).collect::<Option<Vec<_>>>().map(Self)
    }

    fn to_text(&self) -> String {
        self.0.iter().map(|id| format!("{id}\n")).collect()
    }
}

/// A pool's directory as it is below all that is mounted in it.
pub(super) struct Bare(pub(super) OwnedFd);

impl Bare {
    /// A volume's directory.
    pub(super) fn volume(&self, volume: &Volume) -> io::Result<OwnedFd> {
        let path = match (volume.snapshot_name(), Volume::snapshots_home(volume.kind())) {
            (Some(snapshot), Some(home)) => format!("{home}/{}/{snapshot}", volume.directory()),
            _ => format!("{}/{}", Volume::home(volume.kind()), volume.directory()),
        };
        open_directory(self.0.as_fd(), &path)
    }

    /// The directory of the layers.
    pub(super) fn layers(&self) -> io::Result<OwnedFd> {
        open_directory(self.0.as_fd(), HOME)
    }

    /// Opens the layers of a stack, the topmost first.
    pub(super) fn open(&self, stack: &Stack) -> io::Result<Vec<OwnedFd>> {
        let home = self.layers()?;
        let open = |id: &LayerId| open_directory(home.as_fd(), &format!("{id}/{TOP}")).map_err(|error| missing(*id, &error));
        stack.0.iter().map(open).collect()
    }

    /// Opens a layer that takes changes, and what overlayfs needs for that.
    pub(super) fn open_changes(&self, id: LayerId) -> io::Result<(OwnedFd, OwnedFd)> {
        let layer = open_directory(self.layers()?.as_fd(), &id.to_string()).map_err(|error| missing(id, &error))?;
        Ok((open_directory(layer.as_fd(), TOP)?, open_directory(layer.as_fd(), WORK)?))
    }
}

/// Makes an empty layer, which nobody knows until a list names it.
pub(super) fn make(home: BorrowedFd<'_>, takes_changes: bool) -> io::Result<(LayerId, OwnedFd)> {
    let id = LayerId::new();
    rustix::fs::mkdirat(home, id.to_string(), Mode::RWXU)?;
    let layer = open_directory(home, &id.to_string())?;
    rustix::fs::mkdirat(&layer, TOP, Mode::RWXU)?;
    if takes_changes {
        rustix::fs::mkdirat(&layer, WORK, Mode::RWXU)?;
    }
    Ok((id, layer))
}

fn missing(id: LayerId, error: &io::Error) -> io::Error {
    io::Error::other(format!("opening its layer {id}: {error}"))
}

/// The directory below a root's mount, if the root of the volume that is open lies in layers.
pub(super) fn state(volume: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let state = match open_directory(volume, ROOT) {
        Err(error) if is_no_directory(&error) => return Ok(None),
        other => other?,
    };
    match rustix::fs::accessat(&state, LIST, rustix::fs::Access::EXISTS, AtFlags::empty()) {
        Ok(()) => Ok(Some(state)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The layers that an open volume's list names; none if its root lies in no layers.
pub(super) fn of(volume: BorrowedFd<'_>) -> io::Result<Stack> {
    state(volume)?.map_or_else(|| Ok(Stack::default()), |state| read(state.as_fd()))
}

/// Reads the list of a volume's layers.
pub(super) fn read(state: BorrowedFd<'_>) -> io::Result<Stack> {
    let file = rustix::fs::openat(state, LIST, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let text = io::read_to_string(std::fs::File::from(file))?;
    Stack::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its list of layers is damaged"))
}

/// Writes the list of a volume's layers; who reads it finds the old or the new one.
pub(super) fn write(state: BorrowedFd<'_>, stack: &Stack) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(state, NEXT_LIST, flags, Mode::RUSR | Mode::WUSR)?;
    io::Write::write_all(&mut std::fs::File::from(file), stack.to_text().as_bytes())?;
    Ok(rustix::fs::renameat(state, NEXT_LIST, state, LIST)?)
}

/// Puts the directory that a root is mounted on into a new volume.
pub(super) fn begin(volume: BorrowedFd<'_>, stack: &Stack) -> io::Result<()> {
    rustix::fs::mkdirat(volume, ROOT, Mode::RWXU)?;
    write(open_directory(volume, ROOT)?.as_fd(), stack)
}

/// Marks the root of a layer as one that has nothing below.
pub(super) fn make_lowest(root: BorrowedFd<'_>) -> io::Result<()> {
    coffer_sys::xattr::set(root, OPAQUE, b"y")
}

/// Puts layers together, the topmost first, and changes on top of them; mounted nowhere.
///
/// Hard links of files in a layer end when one of the names is written to: an index that would keep them belongs to one
/// place of changes and could not become a layer with it.
///
/// Source: Documentation/filesystems/overlayfs.rst.
pub(super) fn merge(layers: &[BorrowedFd<'_>], changes: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>) -> io::Result<OwnedFd> {
    let below = layers.iter().map(|layer| link(*layer)).collect::<Vec<_>>().join(":");
    let mut options = vec![FsOption::Text("lowerdir", &below), FsOption::Text("index", "off"), FsOption::Text("metacopy", "off")];
    let paths = changes.map(|(upper, work)| (link(upper), link(work)));
    match &paths {
        Some((upper, work)) => {
            options.extend([FsOption::Text("upperdir", upper), FsOption::Text("workdir", work), FsOption::Text("redirect_dir", "on")])
        }
        None => options.push(FsOption::Text("redirect_dir", "follow")),
    }
    let restrict = Restrictions { readonly: changes.is_none(), ..Restrictions::NONE };
    Ok(mount::new_filesystem("overlay", &options, restrict)?)
}

/// Puts an empty layer together, to see whether the file system is fit for it.
pub(super) fn try_out(scratch: &Scratch) -> io::Result<()> {
    rustix::fs::mkdirat(&scratch.directory, scratch.name.as_str(), Mode::RWXU)?;
    let home = open_directory(scratch.directory.as_fd(), &scratch.name)?;
    let (_, below) = make(home.as_fd(), false)?;
    let below = open_directory(below.as_fd(), TOP)?;
    make_lowest(below.as_fd())?;
    let (_, changes) = make(home.as_fd(), true)?;
    let (top, work) = (open_directory(changes.as_fd(), TOP)?, open_directory(changes.as_fd(), WORK)?);
    let merged = merge(&[below.as_fd()], Some((top.as_fd(), work.as_fd())))?;
    // One that overlayfs can only read is mounted too, without the right to write.
    Ok(rustix::fs::mkdirat(&merged, "written", Mode::RWXU)?)
}

pub(super) fn is_no_directory(error: &io::Error) -> bool {
    let none = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
    none.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(Stack::parse(text).map_or_else(|| "damaged".to_owned(), |stack| stack.to_text()), expect);
    }

    #[test]
    fn lists_hold_names_of_layers_and_nothing_else() {
        let (one, two) = ("6f0ad3f5-4d3c-4b8e-9b3c-0d6c3a0c7d11\n", "0b7ce5a2-58a1-4a38-8a61-58a6f3a7f0f4\n");
        check("", "");
        check(&format!("{one}{two}"), &format!("{one}{two}"));
        check("../../etc\n", "damaged");
        check(&format!("{one}\n"), "damaged");
    }

    #[test]
    fn the_deepest_stack_fits_into_an_option() {
        // The plain files of a volume and what was changed are layers too of what is only read.
        assert!((DEEPEST + 2) * "/proc/self/fd/12345:".len() <= 256);
    }
}
