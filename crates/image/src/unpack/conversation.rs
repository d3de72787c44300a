//! The daemon's side of the socket: gives the order, listens to the end.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use coffer_base::Progress;
use coffer_base::run::Program;
use coffer_sys::socket::PacketSocket;

use super::devices::{Device, MAX_DEVICES};
use super::order::{BATCH, Line, Order, Task};
use super::{UnpackError, Unpacker};
use crate::backup::INDEX_LIMIT;

/// The largest packet that the worker sends, in bytes.
const MAX_PACKET: usize = 160 << 10;

/// What the worker said.
pub(crate) struct Heard {
    /// The text of `metadata.yaml` or `index.yaml`.
    pub(crate) text: String,
    /// The text of an instance's `backup.yaml`.
    pub(crate) configuration: Option<String>,
    /// Device nodes that are still to be made.
    pub(crate) devices: Vec<Device>,
    /// Its result.
    pub(crate) last: Line,
}

impl Unpacker {
    /// Starts the program, gives it its order and listens to its end; `through` hears how many bytes are through. A cancellation
    /// ends the program at once, also while it says nothing.
    pub(crate) fn converse(
        &self,
        task: Task,
        files: &[BorrowedFd<'_>],
        progress: &Progress,
        mut through: impl FnMut(u64),
    ) -> Result<Heard, UnpackError> {
        let (ours, theirs) = PacketSocket::pair().map_err(UnpackError::Talk)?;
        let ours = Arc::new(ours);
        let waking = progress.when_cancelled({
            let ours = ours.clone();
            // Whoever listens hears the end, and sees that it is a cancellation.
            move || drop(ours.shut_down())
        });
        let program = Program::new(&self.program.to_string_lossy());
        let mut child = program.spawn(Some(theirs.into_fd())).map_err(UnpackError::Start)?;
        let heard = order(&ours, task, files).and_then(|()| {
            listen(&ours, |done| {
                through(done);
                progress.check()
            })
        });
        let heard = heard.and_then(|heard| progress.check().map(|()| heard));
        drop(waking);
        // Its socket is closed or of no use any more: it has ended or is about to.
        drop(ours);
        if heard.is_err() {
            let _ = child.kill();
        }
        child.wait().map_err(UnpackError::Talk)?;
        let Hearing { text, configuration, devices, last, said } = heard.map_err(UnpackError::Talk)?;
        let last = last.ok_or(UnpackError::Silent { said: said.trim().to_owned() })?;
        Ok(Heard { text, configuration, devices, last })
    }
}

fn order(socket: &PacketSocket, task: Task, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let order = serde_json::to_vec(&Order { task, files: files.len() })?;
    let (first, rest) = files.split_at(files.len().min(BATCH));
    socket.send(&[&order], first)?;
    rest.chunks(BATCH).try_for_each(|batch| socket.send(&[b"more"], batch))
}

/// What was heard so far.
#[derive(Default)]
struct Hearing {
    text: String,
    configuration: Option<String>,
    devices: Vec<Device>,
    last: Option<Line>,
    /// What was no line of ours.
    said: String,
}

/// Listens until the worker closes its end. It reads hostile bytes, so what it says is bounded too.
fn listen(socket: &PacketSocket, mut progress: impl FnMut(u64) -> io::Result<()>) -> io::Result<Hearing> {
    let mut heard = Hearing::default();
    while let Some(packet) = socket.receive(MAX_PACKET)? {
        match serde_json::from_slice(&packet.bytes) {
            Ok(Line::Progress { done }) => progress(done)?,
            Ok(Line::Metadata(piece)) => {
                let text = heard.configuration.as_mut().unwrap_or(&mut heard.text);
                // More than it may read cannot be its own; memory is not for a locked-in process to fill.
                if text.len() + piece.len() <= INDEX_LIMIT {
                    text.push_str(&piece);
                }
            }
            Ok(Line::Configuration) => heard.configuration = Some(heard.configuration.unwrap_or_default()),
            Ok(Line::Device(device)) if heard.devices.len() < 16 * MAX_DEVICES => heard.devices.push(device),
            Ok(Line::Device(_)) => {}
            Ok(line) => heard.last = Some(line),
            Err(_) if heard.said.len() < 2000 => heard.said.push_str(&String::from_utf8_lossy(&packet.bytes)),
            Err(_) => {}
        }
    }
    Ok(heard)
}
