//! Opening and closing an instance's socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::PoisonError;

use coffer_model::{Instance, InstanceName, ProjectName};
use coffer_runtime_spec as spec;
use coffer_sys::path::Root;
use tokio::sync::watch;

use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;

/// The directory of all doors in the state directory.
const DOORS: &str = "devlxd";

/// The socket's name, as LXD documents it.
const SOCKET: &str = "sock";

/// Where the directory is inside.
const INSIDE: &str = "/dev/lxd";

/// A socket that an instance's processes reach, and nobody else.
#[derive(Debug)]
pub struct Door {
    /// Whose it is.
    pub guest: Guest,
    /// Where they connect.
    pub listener: UnixListener,
    /// Closes when the instance has ended.
    pub closed: watch::Receiver<()>,
}

/// Who asks through a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The instance's project.
    pub project: ProjectName,
    /// The instance.
    pub name: InstanceName,
    /// The host's id of its root.
    root: u32,
    /// Its path in each control group hierarchy.
    cgroup: String,
}

impl Guest {
    /// Says whether the process at the other end of a connection is the instance's root, and lives in the instance.
    ///
    /// # Errors
    /// If the kernel does not say who it is.
    ///
    /// Source: `SO_PEERCRED`, unix(7): the process and user that called connect(2).
    pub fn is_root(&self, connection: impl AsFd) -> io::Result<bool> {
        let peer = coffer_sys::socket::peer(connection.as_fd())?;
        if peer.uid != self.root {
            return Ok(false);
        }
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", peer.pid))?;
        Ok(within(&groups, &self.cgroup))
    }
}

/// Says whether a process whose `/proc/PID/cgroup` reads so is in a group or below it.
fn within(groups: &str, cgroup: &str) -> bool {
    let below = |path: &str| path.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)?.strip_prefix('/')).any(below)
}

impl Engine {
    /// Opens the door of an instance that is about to start; answers the mount that it is to have, if it is to have one.
    pub(crate) fn open_door(&self, loaded: &Loaded, idmap: &spec::IdMap, cgroup: &str) -> Result<Option<OwnedFd>, EngineError> {
        if !loaded.config.flag("security.devlxd", true) {
            return Ok(None);
        }
        let root = idmap.host_uid(0).unwrap_or(0);
        self.make_door(&loaded.instance, root, cgroup, true).map(Some)
    }

    /// Opens the door of an instance that was found running, if it has one: its directory is mounted inside already.
    pub(crate) fn reopen_door(&self, instance: &Instance, pid: u32, cgroup: &str) -> Result<(), EngineError> {
        if !self.door_path(instance).exists() {
            return Ok(());
        }
        // Its init lives: the number is its own.
        let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).map_err(|cause| failed(instance, cause))?;
        let root = root_of(&map).ok_or_else(|| failed(instance, io::ErrorKind::InvalidData.into()))?;
        self.make_door(instance, root, cgroup, false).map(drop)
    }

    /// Closes the door of an instance that has ended.
    pub(crate) fn close_door(&self, instance: &Instance) {
        let key = (instance.project.clone(), instance.name.clone());
        drop(self.inner.guests.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key));
        match std::fs::remove_dir_all(self.door_path(instance)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(instance = %instance.name, "removing its guest API's directory: {cause}");
            }
            _ => {}
        }
    }

    fn make_door(&self, instance: &Instance, root: u32, cgroup: &str, fresh: bool) -> Result<OwnedFd, EngineError> {
        let path = self.door_path(instance);
        if fresh {
            self.close_door(instance);
            std::fs::DirBuilder::new().mode(0o755).create(&path).map_err(|cause| failed(instance, cause))?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).map_err(|cause| failed(instance, cause))?;
        }
        let directory = Root::open(&path).and_then(|directory| directory.strict()).map_err(|cause| failed(instance, cause))?;
        let listener = listen(&directory).map_err(|cause| failed(instance, cause))?;
        let (open, closed) = watch::channel(());
        let guest = Guest { project: instance.project.clone(), name: instance.name.clone(), root, cgroup: cgroup.to_owned() };
        let key = (instance.project.clone(), instance.name.clone());
        self.inner.guests.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key, open);
        // Nobody serves in tests of the engine alone.
        let _ = self.inner.guests.opened.send(Door { guest, listener, closed });
        directory.handle(".").map_err(|cause| failed(instance, cause))
    }

    fn door_path(&self, instance: &Instance) -> PathBuf {
        self.inner.settings.dir.join(DOORS).join(instance.key())
    }
}

/// The mount of a door's directory; `position` is its descriptor's.
pub(crate) fn mount(position: u32) -> spec::Mount {
    // It belongs to the host's root and only that may write to it: restrictions would cost time and add nothing.
    spec::Mount::of_descriptor(position, INSIDE)
}

/// Puts a socket into the directory, in the place of an earlier daemon's. Anybody inside may connect; who asks is looked at then.
fn listen(directory: &Root) -> io::Result<UnixListener> {
    match directory.remove_file(SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let handle = directory.handle(".")?;
    // By the descriptor: a path in a deep state directory is longer than an address may be.
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", handle.as_raw_fd()))?;
    directory.change_mode(SOCKET, 0o666)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The host's id of user 0 in a `/proc/PID/uid_map`. Source: user_namespaces(7).
fn root_of(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, host) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (inside == 0).then_some(host)
    })
}

fn failed(instance: &Instance, cause: io::Error) -> EngineError {
    EngineError::system(format!("instance {}: opening its guest API", instance.name), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(groups: &str, expect: bool) {
        assert_eq!(within(groups, "coffer/ab12/web"), expect, "{groups}");
    }

    #[test]
    fn a_process_is_in_an_instance_or_below_it() {
        check("0::/coffer/ab12/web", true);
        check("0::/coffer/ab12/web/.exec", true);
        check("12:pids:/\n5:cpu,cpuacct:/coffer/ab12/web\n1:name=systemd:/coffer/ab12/web/init.scope\n0::/\n", true);
        check("0::/coffer/ab12/web2", false);
        check("0::/user/coffer/ab12/web", false);
        check("0::/coffer/ab12\n", false);
        check("", false);
    }

    #[test]
    fn root_is_found_in_a_map_with_several_runs() {
        assert_eq!(root_of("         0     231072      65536\n"), Some(231_072));
        assert_eq!(root_of("      1000       1000          1\n         0     100000       1000\n"), Some(100_000));
        assert_eq!(root_of("         0          0 4294967295\n"), Some(0));
        assert_eq!(root_of("         5          7          1\n"), None);
    }

    #[test]
    fn a_dead_daemon_s_socket_is_replaced() {
        let path = std::env::temp_dir().join(format!("coffer-door-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        let directory = Root::open(&path).unwrap().strict().unwrap();
        drop(listen(&directory).unwrap());
        let listener = listen(&directory).unwrap();
        std::os::unix::net::UnixStream::connect(path.join(SOCKET)).unwrap();
        assert!(listener.accept().is_ok());
        std::fs::remove_dir_all(&path).unwrap();
    }
}
