//! One websocket of a session: what the client sends goes to an instance, what the instance says goes to the client.
//!
//! Either direction has a task of its own, so that a full one never holds up the other. A stream's end is an empty text
//! message, in both directions.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

use super::Socket;
use super::frame::Opcode;
use super::handshake::{Receiving, Sending};
use super::pipe::Stream;
use super::reader::{CHUNK, Input, Reader};
use super::writer::Writer;

/// How often the client is asked whether it is still there.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Pings that wait to be answered; a client that sends more gets one pong for several, as the standard allows.
const PONGS: usize = 4;

/// How long a closed socket waits for the client's own closing. Closing before that would throw away what it has not read.
const LINGER: Duration = Duration::from_secs(2);

/// One websocket of a session.
pub struct Line {
    /// Ends when the stream did, or with the session.
    sending: JoinHandle<()>,
    /// Ends when the client closes.
    receiving: JoinHandle<()>,
}

/// What the ends of a line are.
#[derive(Default)]
pub struct Ends {
    /// Where the client's bytes go; they are dropped where there is none.
    pub sink: Option<Arc<Stream>>,
    /// Where the bytes for the client come from.
    pub source: Option<Arc<Stream>>,
    /// Whether the client reads this line to a stream's end. A source always is.
    pub output: bool,
    /// Bytes for the client after the last of the source's.
    pub farewell: Vec<u8>,
    /// Told when the client went away before the source ended.
    pub abandoned: Option<Arc<Notify>>,
}

impl Line {
    /// Begins to pump. When `over` becomes true, what the source holds at that moment is still sent, and the line closed.
    pub fn begin(socket: Socket, ends: Ends, over: watch::Receiver<bool>) -> Self {
        let (pings, pongs) = mpsc::channel(PONGS);
        let receiving = tokio::spawn(receive(socket.reader, ends.sink.clone(), pings));
        let sending = Sender { writer: socket.writer, pongs, over };
        Self { sending: tokio::spawn(sending.run(Ends { sink: None, ..ends })), receiving }
    }

    /// Waits until everything is sent.
    pub async fn sent(&mut self) {
        if !self.sending.is_finished() {
            let _ = (&mut self.sending).await;
        }
    }

    /// Waits until the client closed.
    pub async fn received(&mut self) {
        if !self.receiving.is_finished() {
            let _ = (&mut self.receiving).await;
        }
    }

    /// Waits until one direction has ended.
    pub async fn either_ended(&mut self) {
        if !self.sending.is_finished() && !self.receiving.is_finished() {
            tokio::select! {
                _ = &mut self.sending => {}
                _ = &mut self.receiving => {}
            }
        }
    }

    /// Lets the client close, but not for ever.
    pub async fn part(mut self) {
        let _ = tokio::time::timeout(LINGER, self.received()).await;
        self.receiving.abort();
        self.sending.abort();
    }
}

async fn receive(mut reader: Reader<Receiving>, mut sink: Option<Arc<Stream>>, pings: mpsc::Sender<Vec<u8>>) {
    let mut bytes = Vec::with_capacity(CHUNK);
    loop {
        bytes.clear();
        match reader.next(&mut bytes).await {
            Ok(Input::Bytes) => {
                if let Some(to) = &sink
                    && let Err(error) = to.write_all(&bytes).await
                {
                    tracing::debug!("nobody reads what the client sends: {error}");
                    sink = None;
                }
            }
            // The end of the stream: dropping a pipe is what closes it inside.
            Ok(Input::Text(_)) => sink = None,
            Ok(Input::Ping(content)) => drop(pings.try_send(content)),
            Ok(Input::Closed) => break,
            Err(error) => break tracing::debug!("{}", coffer_base::chain(&error)),
        }
    }
}

/// The sending side of a session's websocket.
pub struct Sender {
    /// Where to send.
    pub writer: Writer<Sending>,
    /// Pings to answer; its end means that the client closed.
    pub pongs: mpsc::Receiver<Vec<u8>>,
    /// Becomes true when the session is over.
    pub over: watch::Receiver<bool>,
}

/// Why pumping ended.
enum Outcome {
    /// The source or the session did.
    Ended,
    /// The client closed.
    Gone,
}

enum Next {
    Bytes(usize),
    Pong(Vec<u8>),
    Ping,
    Over,
    Gone,
}

impl Sender {
    /// Sends until the source ends, the session is over or the client is gone.
    pub async fn run(mut self, ends: Ends) {
        let Ends { source, farewell, output, abandoned, .. } = ends;
        let outcome = self.pump(source.as_deref()).await;
        if source.is_some()
            && !matches!(outcome, Ok(Outcome::Ended))
            && let Some(abandoned) = abandoned
        {
            abandoned.notify_one();
        }
        if let Err(error) = outcome {
            return tracing::debug!("sending to the client's websocket: {error}");
        }
        // The pipe is closed before the client hears of the end: whoever still writes must not wait for nobody.
        let is_stream = output || source.is_some();
        drop(source);
        let _ = self.part(is_stream, &farewell).await;
    }

    async fn part(&mut self, is_stream: bool, farewell: &[u8]) -> io::Result<()> {
        if !farewell.is_empty() {
            self.writer.send(Opcode::Binary, farewell).await?;
        }
        if is_stream {
            self.writer.send(Opcode::Text, b"").await?;
        }
        self.writer.close().await
    }

    async fn pump(&mut self, source: Option<&Stream>) -> io::Result<Outcome> {
        let mut buffer = if source.is_some() { vec![0; CHUNK] } else { Vec::new() };
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        loop {
            let read = async {
                match source {
                    Some(stream) => stream.read(&mut buffer).await,
                    None => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                count = read => Next::Bytes(count?),
                pong = self.pongs.recv() => pong.map_or(Next::Gone, Next::Pong),
                _ = pings.tick() => Next::Ping,
                _ = self.over.wait_for(|over| *over) => Next::Over,
            };
            match next {
                Next::Bytes(0) => return Ok(Outcome::Ended),
                Next::Gone => return Ok(Outcome::Gone),
                Next::Bytes(count) => self.writer.send(Opcode::Binary, &buffer[..count]).await?,
                Next::Pong(content) => self.writer.send(Opcode::Pong, &content).await?,
                Next::Ping => self.writer.send(Opcode::Ping, b"keepalive").await?,
                Next::Over => return self.drain(source, &mut buffer).await.map(|()| Outcome::Ended),
            }
        }
    }

    /// Sends what the source holds now. A process that stayed behind and keeps it open is not waited for.
    async fn drain(&mut self, source: Option<&Stream>, buffer: &mut [u8]) -> io::Result<()> {
        let Some(stream) = source else { return Ok(()) };
        while let Some(count @ 1..) = stream.try_read(buffer)? {
            self.writer.send(Opcode::Binary, &buffer[..count]).await?;
        }
        Ok(())
    }
}
