//! Bodies of requests: bytes in memory, or files that are read while they are sent.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Chunks that are read ahead of what is sent.
const AHEAD: usize = 4;

/// A piece of a body.
#[derive(Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file's next bytes, so many.
    File(std::fs::File, u64),
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }
}

/// The body of a request.
pub(crate) enum Body {
    /// Bytes in memory.
    Whole(Bytes),
    /// What a thread reads.
    Read { chunks: mpsc::Receiver<io::Result<Bytes>>, left: u64 },
}

impl Body {
    /// A body of parts, one after another, read by a thread of its own; `sent` hears how many bytes were taken to be sent.
    pub(crate) fn of(parts: Vec<Part>, sent: impl FnMut(u64) + Send + 'static) -> Self {
        let left = parts.iter().map(Part::size).sum();
        let (sender, chunks) = mpsc::channel(AHEAD);
        std::thread::spawn(move || read(parts, &sender, sent));
        Self::Read { chunks, left }
    }
}

/// Reads until the end, or until nobody sends any more.
fn read(parts: Vec<Part>, sender: &mpsc::Sender<io::Result<Bytes>>, mut sent: impl FnMut(u64)) {
    let mut count = 0;
    let mut send = |chunk: Bytes| {
        count += chunk.len() as u64;
        let taken = sender.blocking_send(Ok(chunk)).is_ok();
        sent(count);
        taken
    };
    for part in parts {
        let read = match part {
            Part::Bytes(bytes) => Ok(send(bytes)),
            Part::File(file, size) => read_file(file.take(size), &mut send),
        };
        match read {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(sender.blocking_send(Err(error))),
        }
    }
}

fn read_file(mut file: io::Take<std::fs::File>, send: &mut impl FnMut(Bytes) -> bool) -> io::Result<bool> {
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        match file.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(count) => {
                chunk.truncate(count);
                if !send(chunk.freeze()) {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Read { chunks, left } => match chunks.poll_recv(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    *left = left.saturating_sub(chunk.len() as u64);
                    Poll::Ready(Some(Ok(Frame::data(chunk))))
                }
                Poll::Ready(None) if *left > 0 => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(end) => Poll::Ready(end.map(|chunk| chunk.map(Frame::data))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Read { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;
    use std::io::{Seek as _, Write as _};

    fn file(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[tokio::test]
    async fn parts_follow_each_other() {
        let large = vec![7; 3 * CHUNK + 1];
        let parts = vec![Part::Bytes("head".into()), Part::File(file(&large), large.len() as u64), Part::Bytes("end".into())];
        let (heard, told) = std::sync::mpsc::channel();
        let body = Body::of(parts, move |sent| heard.send(sent).expect("the test hears"));
        assert_eq!(body.size_hint().exact(), Some(large.len() as u64 + 7));
        let all = body.collect().await.unwrap().to_bytes();
        assert!(all.starts_with(b"head\x07") && all.ends_with(b"\x07end") && all.len() == large.len() + 7);
        assert_eq!(told.iter().last(), Some(large.len() as u64 + 7));
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error() {
        let body = Body::of(vec![Part::File(file(b"abc"), 5)], |_| ());
        assert_eq!(body.collect().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
