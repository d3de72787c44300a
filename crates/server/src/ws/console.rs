//! Attaching a client to an instance's console.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use coffer_api::ControlMessage;
use coffer_engine::{EngineError, OperationHandle};
use coffer_model::{InstanceName, ProjectName};
use tokio::io::Interest;
use tokio::sync::{oneshot, watch};

use super::exec::control_messages;
use super::line::{Ends, Line};
use super::pipe::Stream;
use super::{Doors, Socket};
use crate::app::App;

/// What LXD sends behind the console's last bytes.
const FAREWELL: &[u8] = b"\n\r";

/// Pumps between the console and the client until one of them ends, and ends the operation.
pub async fn attach(app: App, operation: OperationHandle, place: (ProjectName, InstanceName), console: OwnedFd, doors: Doors) {
    let result = pump(app, place, console, doors).await;
    operation.finish(result);
}

async fn pump(app: App, place: (ProjectName, InstanceName), console: OwnedFd, mut doors: Doors) -> Result<(), EngineError> {
    let [socket] = doors.wait_for(["0"]).await.map_err(|error| EngineError::Refused(error.to_string()))?;
    let stream = Stream::new(console, Interest::READABLE | Interest::WRITABLE);
    let stream = Arc::new(stream.map_err(|cause| EngineError::system("watching the console", cause))?);
    let (over, is_over) = watch::channel(false);
    let ends = Ends { sink: Some(stream.clone()), source: Some(stream), farewell: FAREWELL.to_vec(), ..Ends::default() };
    let mut line = Line::begin(socket, ends, is_over.clone());
    let mut control = tokio::spawn(resizes(app, place, doors.receiver("control"), is_over));
    tokio::select! {
        () = line.either_ended() => {}
        _ = &mut control => {}
    }
    over.send_replace(true);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(super::session::PATIENCE, line.sent()).await;
        line.part().await;
        control.abort();
        drop(doors);
    });
    Ok(())
}

/// Follows the size of the client's terminal; ends when the client detaches.
async fn resizes(app: App, place: (ProjectName, InstanceName), control: Option<oneshot::Receiver<Socket>>, over: watch::Receiver<bool>) {
    let socket = match control {
        Some(receiver) => receiver.await.ok(),
        None => None,
    };
    // Without a control socket only the other one says when the client is gone.
    let Some(socket) = socket else { return std::future::pending().await };
    let mut messages = control_messages(socket, over);
    while let Some(message) = messages.recv().await {
        let ControlMessage::WindowResize { args } = message else { continue };
        let (Ok(columns), Ok(rows)) = (args.width.parse(), args.height.parse()) else { continue };
        let (project, name) = place.clone();
        let sent = app.attempt(move |engine| engine.console_resize(&project, &name, columns, rows)).await;
        if let Err(error) = sent {
            tracing::debug!("the console was not resized: {}", coffer_base::chain(&error));
        }
    }
}
