//! `admin waitready`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use coffer_client::{Client, ClientError};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::sync::oneshot;

use crate::app::App;
use crate::error::CliError;

/// Wait until the daemon serves
#[derive(Debug, Args)]
pub(crate) struct Waitready {
    /// Seconds to wait; 0 waits for ever
    #[arg(short, long, default_value_t = 0, value_name = "SECONDS")]
    timeout: u64,
}

/// How long a socket that refuses is left alone: it exists before the daemon listens on it, and no event tells when it does.
const REFUSAL_PAUSE: Duration = Duration::from_millis(20);

impl Waitready {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let ready = wait(app.local());
        if self.timeout == 0 {
            return ready.await;
        }
        let limit = Duration::from_secs(self.timeout);
        tokio::time::timeout(limit, ready).await.unwrap_or(Err(CliError::NotReady { seconds: self.timeout }))
    }
}

async fn wait(client: &Client) -> Result<(), CliError> {
    // It is the local server that is waited for.
    let Some(socket) = client.endpoint().socket() else { return Ok(client.ready().await?) };
    loop {
        // The watch stands before the attempt, so that a socket made in between is not missed.
        let watch = Watch::nearest(socket).map_err(|cause| CliError::File { file: socket.to_owned(), cause })?;
        match client.ready().await {
            Ok(()) => return Ok(()),
            Err(ClientError::Connecting { cause, .. }) => {
                let changed = watch.changed();
                match cause.kind() {
                    io::ErrorKind::ConnectionRefused => drop(tokio::time::timeout(REFUSAL_PAUSE, changed).await),
                    io::ErrorKind::NotFound => changed.await,
                    _ => return Err(ClientError::Connecting { socket: socket.to_owned(), cause }.into()),
                }
            }
            // A server that answers instead of keeping us waiting.
            Err(ClientError::Refused { code: 503, .. }) => drop(tokio::time::timeout(REFUSAL_PAUSE, watch.changed()).await),
            // The daemon went away while we waited; the next one may come.
            Err(ClientError::Exchanging { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Hears of new entries in a directory.
struct Watch(oneshot::Receiver<()>);

impl Watch {
    /// Watches the nearest directory above `path` that exists.
    fn nearest(path: &Path) -> io::Result<Watch> {
        let watcher = inotify::init(CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB;
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for directory in path.ancestors().skip(1) {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            match inotify::add_watch(&watcher, directory, flags) {
                Ok(_) => return Ok(Watch(first_change(watcher))),
                Err(cause) => error = cause.into(),
            }
        }
        Err(error)
    }

    /// Waits for the next change.
    async fn changed(self) {
        // A watcher that ends without a word could not read: trying again is right then too.
        let _ = self.0.await;
    }
}

/// Reads one change on a thread of its own, which ends with it or with the process.
fn first_change(watcher: OwnedFd) -> oneshot::Receiver<()> {
    let (sender, changed) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        // What changed does not matter, only that something did.
        let _ = inotify::Reader::new(&watcher, &mut buffer).next();
        let _ = sender.send(());
    });
    changed
}
