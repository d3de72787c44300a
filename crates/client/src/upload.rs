//! Request bodies: nothing, JSON, or files streamed from disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// One piece of a streamed body.
#[derive(Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file from its current position for so many bytes.
    File(File, u64),
    /// Everything a source has until its end; its length is not known before.
    Stream(Source),
}

/// A source of unknown length.
pub struct Source(pub Box<dyn Read + Send + Sync>);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// Hears of bytes sent and bytes in all.
type Watch = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// A body made of parts, read by a thread of its own while earlier bytes are on their way.
pub struct Upload {
    parts: Vec<Part>,
    watch: Option<Watch>,
}

impl Upload {
    /// Makes a body of parts.
    pub fn new(parts: Vec<Part>) -> Upload {
        Upload { parts, watch: None }
    }

    /// Makes a body of one file.
    ///
    /// # Errors
    /// If the file can't be opened or measured.
    pub fn file(path: &PathBuf) -> io::Result<Upload> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Upload::new(vec![Part::File(file, length)]))
    }

    /// Reports bytes sent and bytes in all to `watch`.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Upload {
        self.watch = Some(Arc::new(watch));
        self
    }

    fn length(&self) -> Option<u64> {
        let lengths = self.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => Some(bytes.len() as u64),
            Part::File(_, length) => Some(*length),
            Part::Stream(_) => None,
        });
        lengths.sum()
    }
}

/// Bytes read from disk at a time: few enough that their memory is used again rather than asked for anew.
const CHUNK: usize = 256 << 10;

/// Chunks that are read ahead of what is sent.
const AHEAD: usize = 4;

/// The body of a request.
pub(crate) enum RequestBody {
    Empty,
    Whole(Bytes),
    Streamed { chunks: mpsc::Receiver<io::Result<Bytes>>, left: Option<u64> },
}

impl From<Upload> for RequestBody {
    fn from(upload: Upload) -> Self {
        let length = upload.length();
        let (sender, chunks) = mpsc::channel(AHEAD);
        // Blocking reads stay off the runtime; dropping the receiver ends the thread.
        std::thread::spawn(move || feed(upload, length, &sender));
        RequestBody::Streamed { chunks, left: length }
    }
}

fn feed(upload: Upload, length: Option<u64>, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut sent = 0;
    let mut send = |chunk: io::Result<Bytes>| {
        sent += chunk.as_ref().map_or(0, Bytes::len) as u64;
        let failed = chunk.is_err();
        let gone = sender.blocking_send(chunk).is_err();
        if let Some(watch) = &upload.watch {
            watch(sent, length);
        }
        !(failed || gone)
    };
    for part in upload.parts {
        let goes_on = match part {
            Part::Bytes(bytes) => send(Ok(bytes)),
            Part::File(file, length) => read_file(file, length, &mut send),
            Part::Stream(source) => read_all(source.0, &mut send),
        };
        if !goes_on {
            return;
        }
    }
}

/// Reads a file in whole chunks, into memory that nobody has to clear before.
fn read_file(mut file: File, mut left: u64, send: &mut impl FnMut(io::Result<Bytes>) -> bool) -> bool {
    while left > 0 {
        let mut chunk = Vec::with_capacity(CHUNK);
        match file.by_ref().take(left.min(CHUNK as u64)).read_to_end(&mut chunk) {
            Ok(0) => return true,
            Ok(count) => {
                left -= count as u64;
                if !send(Ok(chunk.into())) {
                    return false;
                }
            }
            Err(error) => return send(Err(error)),
        }
    }
    true
}

fn read_all(mut source: impl Read, send: &mut impl FnMut(io::Result<Bytes>) -> bool) -> bool {
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        match source.read(&mut chunk) {
            Ok(0) => return true,
            Ok(count) => {
                chunk.truncate(count);
                if !send(Ok(chunk.freeze())) {
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return send(Err(error)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        match body {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = RequestBody::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            RequestBody::Streamed { chunks, left } => match chunks.poll_recv(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    if let Some(left) = left {
                        *left = left.saturating_sub(chunk.len() as u64);
                    }
                    Poll::Ready(Some(Ok(Frame::data(chunk))))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) if left.is_some_and(|left| left > 0) => {
                    Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent"))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            RequestBody::Streamed { left: Some(left), .. } => SizeHint::with_exact(*left),
            RequestBody::Streamed { left: None, .. } => SizeHint::default(),
        }
    }
}
