//! Making things in the root of an instance that does not run, with the owners that they have on disk.

use std::io;
use std::path::Path;

use coffer_model::IdMap;
use coffer_sys::path::Root;

/// The root of an instance, and what its ids are called on disk.
pub(super) struct OnDisk {
    /// Its directory; every walk stays in it.
    pub(super) root: Root,
    /// The map that the files on disk have, where they have one.
    pub(super) shifted: Option<IdMap>,
}

impl OnDisk {
    /// Makes the directories above a path that are not there; they are root's.
    pub(super) fn ensure_above(&self, path: &str) -> io::Result<()> {
        path.match_indices('/').try_for_each(|(at, _)| self.ensure_directory(&path[..at]))
    }

    /// Makes a symbolic link, in the place of another one.
    pub(super) fn put_link(&self, path: &str, target: &str) -> io::Result<()> {
        self.ensure_above(path)?;
        match self.root.read_link(path) {
            Ok(there) if there == Path::new(target) => return Ok(()),
            Ok(_) => self.root.remove_file(path)?,
            // Nothing, or something that is no link and stays in the way.
            Err(_) => {}
        }
        self.root.symlink(target, path)?;
        let owner = self.id(0)?;
        self.root.change_owner(path, owner, owner)
    }

    /// What the disk calls an id inside: the same, unless the files were shifted.
    pub(super) fn id(&self, id: u32) -> io::Result<u32> {
        match self.shifted {
            None => Ok(id),
            Some(map) if id < map.host.size => Ok(map.host.start + id),
            Some(_) => Err(io::Error::other(format!("the instance has no id {id}"))),
        }
    }

    fn ensure_directory(&self, path: &str) -> io::Result<()> {
        match self.root.dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found.map(drop),
        }
        self.root.create_dir(path, 0o755)?;
        let owner = self.id(0)?;
        self.root.change_owner(path, owner, owner)?;
        self.root.change_mode(path, 0o755)
    }
}
