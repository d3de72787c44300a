//! An instance's console.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use coffer_model::{Instance, InstanceName, ProjectName};
use coffer_runtime_spec::{Answer, Request, WindowSize};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::EngineError;
use crate::{Engine, MonitorError};

/// How much of a console's log is answered: its end.
const LOG_LIMIT: u64 = 16 << 20;

/// The files that a start writes to.
pub(crate) struct LogFiles {
    pub console: OwnedFd,
    pub monitor: OwnedFd,
}

impl Engine {
    /// Attaches to the console of a running instance. The answer is a stream socket, non-blocking; closing it detaches.
    ///
    /// # Errors
    /// If the instance is not running.
    pub fn console(&self, project: &ProjectName, name: &InstanceName, size: (u16, u16)) -> Result<OwnedFd, EngineError> {
        let running = self.running_or_missing(project, name)?;
        let failed = |cause| console_failed(name, cause);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|cause| EngineError::system("making a socket for the console", cause))?;
        running.monitor.tell(Request::ConsoleAttach { replay: false }, &[theirs.as_fd()]).map_err(failed)?;
        if size.0 > 0 && size.1 > 0 {
            let size = WindowSize { columns: size.0, rows: size.1 };
            running.monitor.tell(Request::ConsoleResize { size }, &[]).map_err(failed)?;
        }
        Ok(ours)
    }

    /// Tells the console its size.
    ///
    /// # Errors
    /// If the instance is not running.
    pub fn console_resize(&self, project: &ProjectName, name: &InstanceName, columns: u16, rows: u16) -> Result<(), EngineError> {
        let running = self.running_or_missing(project, name)?;
        let size = WindowSize { columns, rows };
        running.monitor.tell(Request::ConsoleResize { size }, &[]).map_err(|cause| console_failed(name, cause))
    }

    /// What the console showed: of this run, or of the last one when the instance is stopped.
    ///
    /// # Errors
    /// If there is no such instance, or its log cannot be read.
    pub fn console_log(&self, project: &ProjectName, name: &InstanceName) -> Result<Vec<u8>, EngineError> {
        let instance = self.load(project, name)?.instance;
        let (_, running) = self.inner.cells.peek(project, name);
        let reading = |cause| EngineError::system(format!("instance {name}: reading its console log"), cause);
        let file = match running {
            Some(running) => match running.monitor.ask(Request::ConsoleLog, &[]).map_err(|cause| console_failed(name, cause))? {
                (Answer::ConsoleLog { .. }, mut fds) => {
                    std::fs::File::from(fds.pop().ok_or_else(|| console_failed(name, MonitorError::Mismatch))?)
                }
                _ => return Err(console_failed(name, MonitorError::Mismatch)),
            },
            None => match std::fs::File::open(self.log_directory(&instance).join(CONSOLE)) {
                Ok(file) => file,
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(cause) => return Err(reading(cause)),
            },
        };
        let mut log = Vec::new();
        std::io::Seek::seek(&mut &file, std::io::SeekFrom::Start(0)).map_err(reading)?;
        file.take(LOG_LIMIT).read_to_end(&mut log).map_err(reading)?;
        Ok(log)
    }

    /// Forgets what the console showed.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn clear_console_log(&self, project: &ProjectName, name: &InstanceName) -> Result<(), EngineError> {
        let instance = self.load(project, name)?.instance;
        if let (_, Some(running)) = self.inner.cells.peek(project, name) {
            running.monitor.tell(Request::ConsoleClear, &[]).map_err(|cause| console_failed(name, cause))?;
        }
        match std::fs::File::options().write(true).truncate(true).open(self.log_directory(&instance).join(CONSOLE)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::system(format!("instance {name}: clearing its console log"), cause))
            }
            _ => Ok(()),
        }
    }

    /// Opens the files that a start writes to, in the instance's log directory; the console's begins anew.
    pub(crate) fn log_files(&self, instance: &Instance) -> Result<LogFiles, EngineError> {
        let directory = self.log_directory(instance);
        let opening = |cause| EngineError::system(format!("instance {}: opening its log files", instance.name), cause);
        super::files::private_directory(&directory).map_err(opening)?;
        let open = |name: &str, fresh: bool| {
            use std::os::unix::fs::OpenOptionsExt;
            let mut options = std::fs::File::options();
            options.create(true).mode(0o600);
            if fresh {
                options.write(true).truncate(true)
            } else {
                options.append(true)
            };
            options.open(directory.join(name)).map(OwnedFd::from).map_err(opening)
        };
        Ok(LogFiles { console: open(CONSOLE, true)?, monitor: open(MONITOR, false)? })
    }

    fn running_or_missing(&self, project: &ProjectName, name: &InstanceName) -> Result<std::sync::Arc<crate::live::Running>, EngineError> {
        self.load(project, name)?;
        self.inner.cells.get(project, name).running()
    }
}

/// The console's log of the last run.
const CONSOLE: &str = "console.log";
/// The monitor's warnings.
const MONITOR: &str = "monitor.log";

fn console_failed(name: &InstanceName, cause: MonitorError) -> EngineError {
    EngineError::Monitor { instance: name.clone(), doing: "reaching its console", cause }
}
