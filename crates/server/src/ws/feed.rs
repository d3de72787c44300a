//! Sending events to a listener.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

use super::Socket;
use super::frame::Opcode;
use super::line::PING_INTERVAL;
use super::reader::Input;

/// Sends the `first` texts and then each event that `write` has a text for, until the listener closes or nothing more can
/// happen. What `lost` says of a number of events is sent in the place of those that a slow listener missed.
pub async fn feed<E: Send + Sync + 'static>(
    socket: Socket,
    first: Vec<String>,
    mut events: broadcast::Receiver<Arc<E>>,
    write: impl Fn(&E) -> Option<String>,
    lost: impl Fn(u64) -> Option<String>,
) {
    let Socket { mut reader, mut writer } = socket;
    let (pings, mut pongs) = mpsc::channel(4);
    let receiving = tokio::spawn(async move {
        let mut ignored = Vec::new();
        loop {
            ignored.clear();
            match reader.next(&mut ignored).await {
                Ok(Input::Ping(content)) => drop(pings.try_send(content)),
                Ok(Input::Bytes | Input::Text(_)) => {}
                Ok(Input::Closed) | Err(_) => break,
            }
        }
    });
    for text in first {
        if writer.send(Opcode::Text, text.as_bytes()).await.is_err() {
            receiving.abort();
            return;
        }
    }
    let mut ticks = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    loop {
        let sent = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => match write(&event) {
                    Some(text) => writer.send(Opcode::Text, text.as_bytes()).await,
                    None => Ok(()),
                },
                Err(RecvError::Lagged(count)) => {
                    tracing::warn!("a listener is too slow: it missed {count} events");
                    match lost(count) {
                        Some(text) => writer.send(Opcode::Text, text.as_bytes()).await,
                        None => Ok(()),
                    }
                }
                Err(RecvError::Closed) => break,
            },
            pong = pongs.recv() => match pong {
                Some(content) => writer.send(Opcode::Pong, &content).await,
                None => break,
            },
            _ = ticks.tick() => writer.send(Opcode::Ping, b"keepalive").await,
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = writer.close().await;
    receiving.abort();
}
