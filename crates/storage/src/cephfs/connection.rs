//! A file system of a Ceph cluster, and mounting it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use coffer_base::run::Program;
use coffer_model::Config;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::ceph;
use crate::error::StorageError;
use crate::mounted::Fault;
use crate::mounts;
use crate::place::{self, Place};

/// How long a cluster may take to let somebody mount it, in seconds.
const PATIENCE: u32 = 20;

/// A directory in a file system, and who we are there.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) cluster: String,
    pub(super) user: String,
    pub(super) file_system: String,
    /// Where in it the pool is, from its top: begins with a slash.
    pub(super) path: String,
    cached: bool,
}

impl Connection {
    /// Reads the keys of a pool; none if they contradict each other or name no file system.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let (file_system, below) = match config.get("source")?.split_once('/') {
            Some((name, path)) => (name, Some(format!("/{path}"))),
            None => (config.get("source")?, None),
        };
        let path = match (below, config.get("cephfs.path")) {
            (Some(one), Some(other)) if one != other => return None,
            (Some(path), _) => path,
            (None, path) => path.unwrap_or("/").to_owned(),
        };
        let key = |name: &str, default: &str| config.get(name).unwrap_or(default).to_owned();
        Some(Self {
            cluster: key("cephfs.cluster_name", "ceph"),
            user: key("cephfs.user.name", "admin"),
            file_system: file_system.to_owned(),
            path,
            cached: config.flag("cephfs.fscache", false),
        })
    }

    /// Says whether the cluster has the file system.
    pub(super) fn is_there(&self) -> Result<bool, Fault> {
        let listed = ceph::ask(&self.cluster, &self.user, ["fs", "ls", "--format", "json"])?;
        has_file_system(&listed.stdout, &self.file_system)
            .ok_or_else(|| Fault::Refused("what ceph fs ls answered is not understood".into()))
    }

    /// Mounts the pool's directory.
    pub(super) fn mount(&self, target: &Path) -> Result<(), Fault> {
        self.mount_path(&self.path, target)
    }

    /// Says whether what is mounted at a place is the pool's directory.
    pub(super) fn is_mounted_at(&self, target: &Path) -> Result<bool, Fault> {
        let ends = format!(":{}", self.path);
        Ok(mounts::below(target)?.into_iter().any(|(point, source)| point == target && source.ends_with(&ends)))
    }

    /// Makes the pool's directory, or finds it there and empty; says whether it was made.
    pub(super) fn make_directory(&self, place: &Place) -> Result<bool, StorageError> {
        let failed = |cause: std::io::Error| place.failed("making the source of", cause);
        self.at_top(place, &mut |top| {
            let mut made = false;
            let mut at: OwnedFd = rustix::io::dup(top).map_err(|errno| failed(errno.into()))?;
            for name in self.path.split('/').filter(|name| !name.is_empty()) {
                made = match rustix::fs::mkdirat(&at, name, Mode::RWXU | Mode::XGRP | Mode::XOTH) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(errno) => return Err(failed(errno.into())),
                };
                at = place::open_directory(at.as_fd(), name).map_err(failed)?;
            }
            if place::names(at.as_fd()).map_err(failed)?.is_empty() {
                return Ok(made);
            }
            let (pool, source_path) = (place.pool.clone(), self.file_system.clone() + &self.path);
            Err(StorageError::Source { pool, source_path: source_path.into(), why: "it is not empty" })
        })
    }

    /// Removes the pool's directory, which is empty.
    pub(super) fn remove_directory(&self, place: &Place) -> Result<(), StorageError> {
        let failed = |cause: std::io::Error| place.failed("removing the source of", cause);
        self.at_top(place, &mut |top| {
            match rustix::fs::unlinkat(top, self.path.trim_start_matches('/'), AtFlags::REMOVEDIR) {
                // Others may have put something there meanwhile.
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
                Err(errno) => Err(failed(errno.into())),
            }
        })
    }

    /// Works on the file system's top, mounted where nobody but root sees it while that lasts.
    fn at_top<T>(&self, place: &Place, work: &mut dyn FnMut(BorrowedFd<'_>) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let failed = |cause: std::io::Error| place.failed("looking at the source of", cause);
        rustix::fs::chmod(&place.path, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
        let point = place.path.join("top");
        rustix::fs::mkdir(&point, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
        let mounted = self.mount_path("/", &point).map_err(|fault| fault.of_pool(&place.pool, "looking at the source of"));
        let done = mounted.and_then(|()| {
            let top = place::open_directory(place.top().map_err(failed)?.as_fd(), "top").map_err(failed);
            let done = top.and_then(|top| work(top.as_fd()));
            let ended = mounts::unmount(&point).map_err(failed);
            done.and_then(|done| ended.map(|()| done))
        });
        let removed = rustix::fs::rmdir(&point).map_err(|errno| failed(errno.into()));
        done.and_then(|done| removed.map(|()| done))
    }

    /// Ceph's own program finds the monitors and hands the key to the kernel.
    fn mount_path(&self, path: &str, target: &Path) -> Result<(), Fault> {
        let mut options =
            format!("name={},mds_namespace={},conf=/etc/ceph/{}.conf,mount_timeout={PATIENCE}", self.user, self.file_system, self.cluster);
        if self.cached {
            options += ",fsc";
        }
        let mount = Program::new("mount.ceph").arg(format!(":{path}")).arg(target).args(["-n", "-o", &options]);
        mount.run().map(drop).map_err(ceph::explain)
    }
}

/// Reads `ceph fs ls`.
fn has_file_system(text: &str, name: &str) -> Option<bool> {
    let list: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    Some(list.iter().any(|row| row["name"] == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[(&str, &str)], expect: Option<(&str, &str)>) {
        let connection = Connection::of(&keys.iter().copied().collect());
        assert_eq!(connection.as_ref().map(|found| (found.file_system.as_str(), found.path.as_str())), expect);
    }

    #[test]
    fn where_a_pool_is() {
        check(&[("source", "files")], Some(("files", "/")));
        check(&[("source", "files/a/b")], Some(("files", "/a/b")));
        check(&[("source", "files"), ("cephfs.path", "/a")], Some(("files", "/a")));
        check(&[("source", "files/a"), ("cephfs.path", "/a")], Some(("files", "/a")));
        check(&[("source", "files/a"), ("cephfs.path", "/b")], None);
        check(&[], None);
    }

    #[test]
    fn file_systems_as_ceph_lists_them() {
        // What Ceph 16.2.15 prints.
        let list =
            r#"[{"name":"files","metadata_pool":"files.meta","metadata_pool_id":2,"data_pool_ids":[3],"data_pools":["files.data"]}]"#;
        assert_eq!((has_file_system(list, "files"), has_file_system(list, "other")), (Some(true), Some(false)));
        assert_eq!(has_file_system("[]", "files"), Some(false));
        assert_eq!(has_file_system("Error", "files"), None);
    }
}
