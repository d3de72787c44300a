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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt as _, StreamExt as _};
    use rustix::pipe::pipe;
    use std::os::fd::OwnedFd;
    use tokio::io::Interest;
    use tokio::net::UnixStream;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    type Client = WebSocketStream<UnixStream>;

    /// A line as the server has it, and the client at its other end, which is somebody else's code.
    async fn connect(ends: Ends, over: watch::Receiver<bool>) -> (Line, Client) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (receiving, sending) = ours.into_split();
        let socket = Socket { reader: Reader::new(Box::new(receiving), &[]), writer: Writer::new(Box::new(sending)) };
        (Line::begin(socket, ends, over), WebSocketStream::from_raw_socket(theirs, Role::Client, None).await)
    }

    fn output(fd: OwnedFd) -> Ends {
        Ends { source: Some(Arc::new(Stream::new(fd, Interest::READABLE).unwrap())), ..Ends::default() }
    }

    /// What the client receives until the socket is closed; neighbouring bytes are joined.
    async fn receive(client: &mut Client) -> String {
        let mut log = String::new();
        while let Some(message) = client.next().await {
            match message {
                Ok(Message::Binary(bytes)) => log.push_str(std::str::from_utf8(&bytes).unwrap()),
                Ok(Message::Text(text)) => log.push_str(&format!("<{text}>")),
                Ok(Message::Close(_)) => log.push_str("<close>"),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
        log
    }

    #[tokio::test]
    async fn output_ends_with_a_barrier_and_a_close() {
        let (read, write) = pipe().unwrap();
        let (_over, is_over) = watch::channel(false);
        let (mut line, mut client) = connect(Ends { farewell: b"bye".to_vec(), ..output(read) }, is_over).await;
        rustix::io::write(&write, b"hello ").unwrap();
        drop(write);
        assert_eq!(receive(&mut client).await, "hello bye<><close>");
        line.sent().await;
        line.received().await;
    }

    #[tokio::test]
    async fn who_keeps_the_pipe_open_is_not_waited_for() {
        let (read, write) = pipe().unwrap();
        let (over, is_over) = watch::channel(false);
        let (_line, mut client) = connect(output(read), is_over).await;
        rustix::io::write(&write, b"last words").unwrap();
        over.send_replace(true);
        assert_eq!(receive(&mut client).await, "last words<><close>");
        assert_eq!(rustix::io::write(&write, b"x").unwrap_err(), rustix::io::Errno::PIPE);
    }

    #[tokio::test]
    async fn input_reaches_the_pipe_and_its_barrier_closes_it() {
        let (read, write) = pipe().unwrap();
        let sink = Some(Arc::new(Stream::new(write, Interest::WRITABLE).unwrap()));
        let (over, is_over) = watch::channel(false);
        let (_line, mut client) = connect(Ends { sink, ..Ends::default() }, is_over).await;
        let big = vec![b'x'; 3 << 20];
        let sent = big.clone();
        let reading = tokio::task::spawn_blocking(move || io::read_to_string(std::fs::File::from(read)).unwrap());
        client.send(Message::Binary(sent.into())).await.unwrap();
        client.send(Message::Binary(b"end".to_vec().into())).await.unwrap();
        client.send(Message::Text("".into())).await.unwrap();
        let got = reading.await.unwrap();
        assert!(got.len() == big.len() + 3 && got.ends_with("xend"));
        over.send_replace(true);
        assert_eq!(receive(&mut client).await, "<close>");
    }

    #[tokio::test]
    async fn pings_are_answered_while_output_flows() {
        let (read, write) = pipe().unwrap();
        let (_over, is_over) = watch::channel(false);
        let (_line, mut client) = connect(output(read), is_over).await;
        client.send(Message::Ping(b"42".to_vec().into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(b"42".to_vec().into()));
        drop(write);
        assert_eq!(receive(&mut client).await, "<><close>");
    }

    #[tokio::test]
    async fn a_client_that_leaves_early_is_told_of() {
        let (read, write) = pipe().unwrap();
        let abandoned = Arc::new(Notify::new());
        let (_over, is_over) = watch::channel(false);
        let (_line, client) = connect(Ends { abandoned: Some(abandoned.clone()), ..output(read) }, is_over).await;
        drop(client);
        abandoned.notified().await;
        drop(write);
    }
}
