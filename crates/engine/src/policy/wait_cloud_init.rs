//! Waiting for cloud-init, by what appears in the instance's `/run`.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use coffer_model::{InstanceName, ProjectName};
use coffer_runtime_spec::{Answer, Request};
use coffer_sys::path::Root;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::wait::Intervals;
use crate::error::EngineError;
use crate::{Engine, MonitorError};

/// What cloud-init writes when it has done everything. Source: its documentation, "Data and log files".
const RESULT: &str = "run/cloud-init/result.json";

/// Where that appears, the deepest first.
const ON_THE_WAY: [&str; 3] = ["run/cloud-init", "run", ""];

/// Most bytes of it that are read.
const MOST: u64 = 64 << 10;

impl Engine {
    /// Waits until cloud-init has done its work; its errors are ours.
    pub(super) async fn wait_for_cloud_init(&self, project: &ProjectName, name: &InstanceName) -> Result<(), EngineError> {
        let failed = |cause| EngineError::system(format!("instance {name}: waiting for cloud-init"), cause);
        let root = self.root_of(project, name).await?;
        let mut intervals = Intervals::new();
        loop {
            let appearing = Appearing::watch(&root).map_err(failed)?;
            if let Ok(text) = root.read(RESULT, MOST) {
                let errors = errors(&text);
                return if errors.is_empty() {
                    Ok(())
                } else {
                    Err(EngineError::Refused(format!("instance {name}: cloud-init ended with errors: {}", errors.join("; "))))
                };
            }
            // Nobody is told when something is mounted over the directory that is watched, so it is looked up now and then too.
            tokio::select! {
                appeared = appearing.wait() => appeared.map_err(failed)?,
                () = intervals.pass() => {}
            }
        }
    }

    /// The root directory of a running instance as it sees it itself.
    async fn root_of(&self, project: &ProjectName, name: &InstanceName) -> Result<Root, EngineError> {
        let running = self.inner.cells.get(project, name).running()?;
        let asked = tokio::task::spawn_blocking(move || running.monitor.ask(Request::Handles, &[])).await;
        let failed = |cause| EngineError::Monitor { instance: name.clone(), doing: "reaching its files", cause };
        match asked.unwrap_or(Err(MonitorError::Gone)).map_err(failed)? {
            (Answer::Handles(_), mut handles) if handles.len() == 4 => Ok(Root::from_fd(handles.swap_remove(3))),
            _ => Err(failed(MonitorError::Mismatch)),
        }
    }
}

/// Hears when something appears in a directory of the instance.
struct Appearing(AsyncFd<OwnedFd>);

impl Appearing {
    fn watch(root: &Root) -> std::io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let directory = ON_THE_WAY.iter().find_map(|path| match *path {
            "" => root.open_directory(".").ok(),
            path => root.open_directory(path).ok(),
        });
        if let Some(directory) = directory {
            // A handle of ours that leads exactly there, whatever stands at its name by now.
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            inotify::add_watch(&watch, path, WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF)?;
        }
        #[expect(deprecated, reason = "the other constructor is unsafe for what an OwnedFd promises anyway: it stays open and the same")]
        let watch = AsyncFd::with_interest(watch, Interest::READABLE)?;
        Ok(Self(watch))
    }

    async fn wait(&self) -> std::io::Result<()> {
        let _ready = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        // What it was does not matter: it is looked up.
        let _ = Reader::new(self.0.get_ref().as_fd(), &mut buffer).next();
        Ok(())
    }
}

/// The errors that a result tells of.
fn errors(text: &[u8]) -> Vec<String> {
    let result: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let listed = result["v1"]["errors"].as_array().cloned().unwrap_or_default();
    listed.iter().map(|error| error.as_str().map_or_else(|| error.to_string(), ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read() {
        assert_eq!(errors(br#"{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}"#), [""; 0]);
        assert_eq!(errors(br#"{"v1": {"errors": ["no such module", 3]}}"#), ["no such module", "3"]);
        assert_eq!(errors(b"half"), [""; 0]);
    }
}
