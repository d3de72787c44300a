//! The program `coffer-unpack`: takes one order from its socket, locks itself in, does it, reports.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitCode;

use coffer_sys::process::{die_with_parent, exit_now, set_dumpable};
use coffer_sys::socket::PacketSocket;
use rustix::fs::Mode;

use super::backup::{BackupIndexJob, BackupJob};
use super::confine::{self, Sight};
use super::delta::DeltaJob;
use super::failure::Failure;
use super::image::ImageJob;
use super::layers::LayersJob;
use super::order::{Confinement, Line, MAX_ORDER, Order, Task};
use super::report::Reporter;
use super::settle::SettleJob;
use crate::pack::work::PackJob;

/// The exit status after a panic, as the standard library has it.
const PANICKED: u8 = 101;

/// Does what the daemon asks for over standard error, which is a socket: the only descriptor it gave us.
#[must_use]
pub fn main() -> ExitCode {
    // A thread that panics would leave the others waiting for what it was to bring.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        exit_now(PANICKED);
    }));
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever started us by hand reads it on the terminal; the daemon puts it into its own error.
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("coffer-unpack: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Why there was no order to obey.
#[derive(Debug, thiserror::Error)]
enum ObeyError {
    #[error("this program is started by cofferd only; its standard error is no socket with an order")]
    Socket(#[source] std::io::Error),
    #[error("the order is not understood")]
    Order,
    #[error("the report cannot be sent")]
    Report(#[source] std::io::Error),
}

/// Something to be done by a locked-in process.
pub(crate) trait Job {
    /// What of the host's files it sees.
    fn sight(&self) -> Sight<'_>;

    /// The files that it reads and writes; everything else that the process held is closed before it is locked in.
    fn files(&self) -> Vec<BorrowedFd<'_>>;

    /// Does it, locked in, with its view of the directories; answers what to report last.
    fn work(&self, reporter: &Reporter, confinement: Confinement, directories: Vec<OwnedFd>) -> Result<Line, Failure>;
}

fn obey() -> Result<(), ObeyError> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(|errno| ObeyError::Socket(errno.into()))?;
    let socket = PacketSocket::from_fd(socket);
    let (order, files) = order(&socket)?;
    let job = job(order.task, files).ok_or(ObeyError::Order)?;
    let reporter = Reporter::new(socket);
    rustix::process::umask(Mode::empty());
    let ready = die_with_parent().and_then(|()| set_dumpable(false)).map_err(|error| Failure::confine("hiding it", error));
    let work = |confinement, directories| {
        let line = job.work(&reporter, confinement, directories).unwrap_or_else(Line::Failed);
        u8::from(reporter.send(&line).is_err())
    };
    let files: Vec<BorrowedFd<'_>> = job.files().into_iter().chain([reporter.socket()]).collect();
    let done = ready.and_then(|()| confine::run(Sight { files: &files, ..job.sight() }, &work));
    done.or_else(|failure| reporter.send(&Line::Failed(failure))).map_err(ObeyError::Report)
}

/// Receives the order and all its descriptors.
fn order(socket: &PacketSocket) -> Result<(Order, Vec<OwnedFd>), ObeyError> {
    let packet = socket.receive(MAX_ORDER).map_err(ObeyError::Socket)?.ok_or(ObeyError::Order)?;
    let order: Order = serde_json::from_slice(&packet.bytes).map_err(|_| ObeyError::Order)?;
    let mut files = packet.fds;
    while files.len() < order.files {
        match socket.receive(MAX_ORDER).map_err(ObeyError::Socket)? {
            Some(packet) if !packet.fds.is_empty() => files.extend(packet.fds),
            _ => return Err(ObeyError::Order),
        }
    }
    Ok((order, files))
}

fn job(task: Task, files: Vec<OwnedFd>) -> Option<Box<dyn Job>> {
    let files = files.into_iter();
    Some(match task {
        Task::Unpack { split, limits } => Box::new(ImageJob::unpack(split, limits, files)?),
        Task::Inspect { split, limits, whole } => Box::new(ImageJob::inspect(split, limits, whole, files)?),
        Task::UnpackLayers { limits } => Box::new(LayersJob::unpack(limits, files)?),
        Task::InspectLayers { limits } => Box::new(LayersJob::inspect(limits, files)?),
        Task::InspectBackup { limits } => Box::new(BackupIndexJob::new(limits, files)?),
        Task::UnpackBackup { limits } => Box::new(BackupJob::new(limits, files)?),
        Task::Settle => Box::new(SettleJob::new(files)?),
        Task::Patch { limit } => Box::new(DeltaJob::new(limit, files)?),
        Task::Pack { compressor, reproducible, open } => Box::new(PackJob::new(compressor, reproducible, open, files)?),
    })
}
