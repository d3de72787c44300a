//! A file's bytes as a body: read by threads that may wait, a little ahead of the client.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes read at once.
const CHUNK: u64 = 256 << 10;

/// How long a client may take over one chunk.
const PATIENCE: Duration = Duration::from_secs(120);

/// Part of a file on its way to a client.
pub(super) struct FileBody {
    chunks: Option<Receiver<io::Result<Bytes>>>,
    left: u64,
}

impl FileBody {
    /// Nothing.
    pub(super) fn empty() -> Self {
        Self { chunks: None, left: 0 }
    }

    /// A part of a file.
    pub(super) fn of(file: File, part: Range<u64>) -> Self {
        let (sender, chunks) = channel(2);
        let left = part.end - part.start;
        tokio::spawn(send(file, part, sender));
        Self { chunks: Some(chunks), left }
    }
}

async fn send(file: File, part: Range<u64>, sender: Sender<io::Result<Bytes>>) {
    let file = std::sync::Arc::new(file);
    let mut at = part.start;
    while at < part.end {
        let (file, count) = (file.clone(), CHUNK.min(part.end - at));
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; usize::try_from(count).unwrap_or_default()];
            file.read_exact_at(&mut chunk, at).map(|()| Bytes::from(chunk))
        });
        let chunk = read.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        let broken = chunk.is_err();
        let sent = tokio::time::timeout(PATIENCE, sender.send(chunk)).await;
        if broken || !matches!(sent, Ok(Ok(()))) {
            return;
        }
        at += count;
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(chunks) = &mut self.chunks else { return Poll::Ready(None) };
        let polled = chunks.poll_recv(context);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(chunk))) => {
                self.left = self.left.saturating_sub(chunk.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            // A client that was too slow, or a file that was cut: the connection ends, so that this is no whole answer.
            Poll::Ready(None) if self.left > 0 => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
