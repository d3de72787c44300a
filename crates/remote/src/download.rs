//! Fetching files: several pieces of them at once, written in order, each going on where it was when its connection breaks.

use std::ops::Range;

use coffer_web::{FetchError, Reply, Url};
use futures_util::{StreamExt as _, future, stream};
use sha2::{Digest as _, Sha256};

use crate::error::RemoteError;
use crate::image::{RemoteFile, is_hash};
use crate::server::{ATTEMPTS, Hashing, Server, Sink, hex, is_passing};

/// Bytes of a piece. Smaller files, and those of which the server does not say how long they are, are one piece.
const PIECE: u64 = 2 << 20;

/// Pieces that are on their way at once: one connection and [`PIECE`] bytes of memory each.
const AT_ONCE: usize = 4;

impl Server {
    /// Fetches one file on its own; its hash must be the one that the server named.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn fetch_file(&self, file: &RemoteFile, sink: &mut dyn Sink) -> Result<(), RemoteError> {
        let mut hashing = Hashing::new(sink);
        let beginning = self.beginning(file).await?;
        self.file(file, beginning, &mut hashing).await
    }

    /// Fetches the files of an image, the metadata's before the root file system's; asks for both at once.
    pub(crate) async fn files(&self, files: &[RemoteFile], sink: &mut Hashing<'_>) -> Result<(), RemoteError> {
        let beginnings = future::try_join_all(files.iter().map(|file| self.beginning(file))).await?;
        for (index, (file, beginning)) in files.iter().zip(beginnings).enumerate() {
            if index > 0 {
                sink.begin_rootfs()?;
            }
            self.file(file, beginning, sink).await?;
        }
        Ok(())
    }

    /// Fetches a file's first piece; nothing if it cannot be had by itself.
    async fn beginning(&self, file: &RemoteFile) -> Result<Vec<u8>, RemoteError> {
        let url = self.url.below(&file.path)?;
        let first = 0..file.size.min(PIECE);
        Ok(self.piece(&url, first, file.size).await?.unwrap_or_default())
    }

    /// Fetches a file of which the beginning is there.
    async fn file(&self, file: &RemoteFile, beginning: Vec<u8>, sink: &mut Hashing<'_>) -> Result<(), RemoteError> {
        let url = self.url.below(&file.path)?;
        let mut taken = Taken { url: &url, size: file.size, got: 0, hash: Sha256::new(), sink };
        if !beginning.is_empty() {
            taken.take(&beginning)?;
            let starts = (taken.got..file.size).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
            let pieces = starts.map(|start| self.piece(&url, start..file.size.min(start + PIECE), file.size));
            let mut pieces = stream::iter(pieces).buffered(AT_ONCE);
            // A server that gave one piece and gives no other is asked for all that is missing.
            while let Some(Some(bytes)) = pieces.next().await.transpose()? {
                taken.take(&bytes)?;
            }
        }
        if taken.got < file.size || file.size == 0 {
            self.rest(&mut taken).await?;
        }
        taken.finish(file)
    }

    /// Fetches a piece of a file; none if the server gives only the whole.
    async fn piece(&self, url: &Url, range: Range<u64>, size: u64) -> Result<Option<Vec<u8>>, RemoteError> {
        let mut bytes = Vec::new();
        let mut idle = 0;
        while range.start + (bytes.len() as u64) < range.end {
            let before = bytes.len();
            match self.more(url, &range, size, &mut bytes).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(RemoteError::Fetch(error)) if is_passing(&error) => patience(&mut idle, bytes.len() > before, error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(Some(bytes))
    }

    /// Fetches what is missing of a piece; false if the server gives only the whole.
    async fn more(&self, url: &Url, piece: &Range<u64>, size: u64, bytes: &mut Vec<u8>) -> Result<bool, RemoteError> {
        let start = piece.start + bytes.len() as u64;
        let whole = *piece == (0..size);
        let range = format!("bytes={start}-{}", piece.end - 1);
        let headers = [("range", range.as_str())];
        let mut reply = self.fetcher.get(url, if whole && start == 0 { &[] } else { &headers }).await?.success()?;
        if reply.status().as_u16() != 206 {
            if !whole {
                return Ok(false);
            }
            // It begins anew.
            bytes.clear();
        } else if starts_at(&reply) != Some(start) {
            return Ok(false);
        }
        while let Some(chunk) = reply.chunk().await? {
            let after = piece.start + (bytes.len() + chunk.len()) as u64;
            if after > piece.end {
                return Err(RemoteError::Size { url: url.to_string(), found: after, expected: piece.end });
            }
            bytes.extend_from_slice(&chunk);
        }
        if piece.start + (bytes.len() as u64) < piece.end {
            // Cut off where the length was not said: as good as broken.
            return Err(FetchError::Short { url: url.to_string(), got: piece.start + bytes.len() as u64 }.into());
        }
        Ok(true)
    }

    /// Fetches all that is missing of a file, one byte after another.
    async fn rest(&self, taken: &mut Taken<'_, '_>) -> Result<(), RemoteError> {
        let mut idle = 0;
        loop {
            let before = taken.got;
            match self.stretch(taken).await {
                Ok(()) => return Ok(()),
                Err(RemoteError::Fetch(error)) if is_passing(&error) => patience(&mut idle, taken.got > before, error)?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn stretch(&self, taken: &mut Taken<'_, '_>) -> Result<(), RemoteError> {
        let range = format!("bytes={}-", taken.got);
        let headers = [("range", range.as_str())];
        let mut reply = self.fetcher.get(taken.url, if taken.got > 0 { &headers } else { &[] }).await?.success()?;
        // A server that knows no ranges begins anew: what is here already is passed over. The hash tells if it differs.
        let mut skip = if reply.status().as_u16() == 206 && starts_at(&reply) == Some(taken.got) { 0 } else { taken.got };
        while let Some(chunk) = reply.chunk().await? {
            let passed = skip.min(chunk.len() as u64);
            skip -= passed;
            taken.take(&chunk[usize::try_from(passed).unwrap_or(chunk.len())..])?;
        }
        if taken.size > taken.got {
            return Err(FetchError::Short { url: taken.url.to_string(), got: taken.got }.into());
        }
        Ok(())
    }
}

/// Bears with a server that breaks off, as long as each attempt brings something.
fn patience(idle: &mut u32, came_on: bool, error: FetchError) -> Result<(), RemoteError> {
    *idle = if came_on { 0 } else { *idle + 1 };
    if *idle < ATTEMPTS { Ok(()) } else { Err(error.into()) }
}

/// What was taken of a file so far.
struct Taken<'t, 's> {
    url: &'t Url,
    /// Its bytes; 0 where the server does not say.
    size: u64,
    got: u64,
    hash: Sha256,
    sink: &'t mut Hashing<'s>,
}

impl Taken<'_, '_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), RemoteError> {
        let after = self.got + bytes.len() as u64;
        if self.size > 0 && after > self.size {
            return Err(RemoteError::Size { url: self.url.to_string(), found: after, expected: self.size });
        }
        self.hash.update(bytes);
        self.sink.write(bytes)?;
        self.got = after;
        Ok(())
    }

    fn finish(self, file: &RemoteFile) -> Result<(), RemoteError> {
        let url = || self.url.to_string();
        if file.size > 0 && self.got != file.size {
            return Err(RemoteError::Size { url: url(), found: self.got, expected: file.size });
        }
        let found = hex(self.hash);
        match &file.sha256 {
            Some(expected) if !is_hash(expected) || *expected != found => {
                Err(RemoteError::Hash { url: url(), found, expected: expected.chars().take(64).collect() })
            }
            _ => Ok(()),
        }
    }
}

/// Where a part of a file begins that a server sends. Source: RFC 9110, section 14.4.
fn starts_at(reply: &Reply) -> Option<u64> {
    reply.header("content-range").strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
