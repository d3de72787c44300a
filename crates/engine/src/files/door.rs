//! Finding an instance's file server, or starting it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use coffer_base::fault;
use coffer_file_server::{IdRange, Place, StartError};
use coffer_model::{IdMap, InstanceName, ProjectName};
use coffer_runtime_spec::{Answer, Request};

use super::conversation::Files;
use super::server::{InUse, Server};
use crate::error::EngineError;
use crate::live::{Cell, Claim, Running};
use crate::{Engine, MonitorError};

/// How often a server that has just ended is replaced before that is an error.
const TRIES: usize = 3;

/// A file server that waits for a client's stream.
pub struct SftpDoor {
    engine: Engine,
    in_use: InUse,
    name: InstanceName,
}

impl Engine {
    /// Begins a conversation about an instance's files, running or stopped. Blocks, at first use a few milliseconds.
    ///
    /// # Errors
    /// If there is no such instance, somebody else works on it, or its files cannot be served.
    pub fn files(&self, project: &ProjectName, name: &InstanceName) -> Result<Files, EngineError> {
        let mut last = None;
        for _ in 0..TRIES {
            let in_use = self.use_files(project, name)?;
            match in_use.talk() {
                Ok(talk) => return Ok(Files::new(self.clone(), project.clone(), name.clone(), in_use, talk)),
                Err(cause) => {
                    // It has died, or serves more than it can.
                    in_use.server().end();
                    in_use.leave(&self.inner.runtime);
                    last = Some(EngineError::Files { instance: name.clone(), cause });
                }
            }
        }
        Err(last.unwrap_or_else(|| EngineError::Refused(format!("instance {name}: its file server ends all the time"))))
    }

    /// Opens the way for a client that speaks SFTP itself.
    ///
    /// # Errors
    /// As [`Engine::files`].
    pub fn sftp(&self, project: &ProjectName, name: &InstanceName) -> Result<SftpDoor, EngineError> {
        Ok(SftpDoor { engine: self.clone(), in_use: self.use_files(project, name)?, name: name.clone() })
    }

    /// Ends all file servers, because the daemon ends or their pools do.
    pub(crate) fn end_files(&self) {
        for cell in self.inner.cells.all() {
            let server = cell.change(|live| live.files.take());
            if let Some(server) = server {
                server.end();
            }
        }
    }

    fn use_files(&self, project: &ProjectName, name: &InstanceName) -> Result<InUse, EngineError> {
        for _ in 0..TRIES {
            if let Some(in_use) = self.file_server(project, name)?.enter() {
                return Ok(in_use);
            }
        }
        Err(EngineError::Refused(format!("instance {name}: its file server ends all the time")))
    }

    fn file_server(&self, project: &ProjectName, name: &InstanceName) -> Result<Arc<Server>, EngineError> {
        if let Some(cell) = self.inner.cells.find(project, name)
            && let Some(server) = alive(&cell)
        {
            return Ok(server);
        }
        self.load(project, name)?;
        let cell = self.inner.cells.get(project, name);
        // One starts it, the others find it.
        let _opening = cell.opening();
        loop {
            if let Some(server) = alive(&cell) {
                return Ok(server);
            }
            let running = cell.lock().running.clone();
            let started = match &running {
                Some(running) => self.start_in_running(name, running)?,
                None => {
                    let claim = cell.claim_beside_readers("opening the files of")?;
                    if cell.lock().running.is_some() {
                        continue;
                    }
                    let started = self.start_in_stopped(project, name)?;
                    return Ok(register(&claim, started));
                }
            };
            let same = cell.change(|live| {
                let same = matches!((&live.running, &running), (Some(now), Some(then)) if Arc::ptr_eq(now, then));
                if same {
                    live.files = Some(started.clone());
                }
                same
            });
            if same {
                return Ok(started);
            }
            // It ended meanwhile, and what was entered is gone.
            started.end();
        }
    }

    fn start_in_running(&self, name: &InstanceName, running: &Running) -> Result<Arc<Server>, EngineError> {
        let failed = |cause| EngineError::Monitor { instance: name.clone(), doing: "entering it for its files", cause };
        let (answer, handles) = running.monitor.ask(Request::Handles, &[]).map_err(failed)?;
        let (Answer::Handles(_), [init, _, userns, ..]) = (answer, handles.as_slice()) else { return Err(failed(MonitorError::Mismatch)) };
        let mapped = is_another_namespace(userns.as_fd())
            .map_err(|cause| EngineError::system(format!("instance {name}: looking at its user namespace"), cause))?;
        let server = self.inner.file_program.start(&Place::Running { init: init.as_fd(), mapped });
        let server = server.map_err(|cause| EngineError::FileServer { instance: name.clone(), cause })?;
        Ok(Arc::new(Server::new(server, false)))
    }

    /// The volume is on the host only until the server has its own mount of it: a daemon that dies leaves nothing.
    fn start_in_stopped(&self, project: &ProjectName, name: &InstanceName) -> Result<Arc<Server>, EngineError> {
        let mut loaded = self.load(project, name)?;
        let ids = self.ensure_ids(&mut loaded)?;
        let pool = self.pool_driver(&loaded.instance.pool)?;
        self.settle_root(&pool, &loaded, ids)?;
        let started = self.start_mounted(&pool, &loaded, ids);
        let started = match started {
            // Where the file system cannot map ids, the files get the instance's ids once and for all.
            Err(EngineError::FileServer { cause, .. }) if cannot_map(&cause) => self.shift_root(&loaded.instance).and_then(|()| {
                let loaded = self.load(project, name)?;
                self.start_mounted(&pool, &loaded, ids)
            }),
            started => started,
        };
        let unmounted = self.unmount_root(&loaded.instance);
        let server = started?;
        // Dropped on the way out, it ends.
        unmounted?;
        Ok(server)
    }

    fn start_mounted(
        &self,
        pool: &Arc<dyn coffer_storage::Pool>,
        loaded: &crate::instance::start::Loaded,
        ids: Option<IdMap>,
    ) -> Result<Arc<Server>, EngineError> {
        let volume = self.root_to_run(pool, loaded, ids)?;
        fault::point("files.volume-mounted").map_err(|cause| EngineError::system("opening files", cause))?;
        let ids = ids.map(|map| IdRange { host: map.host.start, count: map.host.size });
        let place = Place::Stopped { root: volume.rootfs.as_fd(), ids, idmapped: volume.idmapped };
        let server = self.inner.file_program.start(&place);
        let server = server.map_err(|cause| EngineError::FileServer { instance: loaded.instance.name.clone(), cause })?;
        Ok(Arc::new(Server::new(server, true)))
    }
}

impl SftpDoor {
    /// Hands a client's blocking stream to the server, which speaks SFTP on it until one of both hangs up. Must be called on a
    /// tokio runtime.
    ///
    /// # Errors
    /// If the server has just ended.
    pub fn hand_over(self, stream: OwnedFd) -> Result<(), EngineError> {
        let failed = |cause| EngineError::system(format!("instance {}: handing a client to its file server", self.name), cause);
        // The server holds one end as long as it serves the client: the other end tells when that is over.
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let ours = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
        self.in_use.server().serve(stream.as_fd(), theirs.as_fd()).map_err(failed)?;
        tokio::spawn(async move {
            // An error is an end too.
            let _ = ours.readable().await;
            drop(self);
        });
        Ok(())
    }
}

impl Drop for SftpDoor {
    fn drop(&mut self) {
        self.in_use.leave(&self.engine.inner.runtime);
    }
}

fn alive(cell: &Cell) -> Option<Arc<Server>> {
    let server = cell.lock().files.clone();
    server.filter(|server| server.runs())
}

fn register(claim: &Claim, server: Arc<Server>) -> Arc<Server> {
    claim.cell().change(|live| live.files = Some(server.clone()));
    server
}

/// Says whether a user namespace is another one than ours.
fn is_another_namespace(userns: BorrowedFd<'_>) -> std::io::Result<bool> {
    let (its, own) = (rustix::fs::fstat(userns)?, rustix::fs::stat("/proc/self/ns/user")?);
    Ok((its.st_dev, its.st_ino) != (own.st_dev, own.st_ino))
}

/// Says whether a server was not started because the root's file system knows no idmapped mounts.
fn cannot_map(error: &StartError) -> bool {
    const NOT_SUPPORTED: [i32; 2] = [rustix::io::Errno::INVAL.raw_os_error(), rustix::io::Errno::OPNOTSUPP.raw_os_error()];
    matches!(error, StartError::Confine { step, errno } if step == coffer_file_server::MAPPING && NOT_SUPPORTED.contains(errno))
}
