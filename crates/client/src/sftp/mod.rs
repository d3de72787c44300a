//! Files inside instances by SFTP: one connection for as many files as there are.

mod download;
mod upload;

use std::os::unix::net::UnixStream;

use coffer_sftp::{Session, SessionError};

use crate::instances::instance_path;
use crate::websocket;
use crate::{Client, ClientError};

pub use download::Downloads;
pub use upload::Uploads;

/// A conversation about an instance's files. Its calls block.
pub type Sftp = Session<UnixStream>;

/// Files under way at a time: so many that neither side ever waits for the other.
const UNDER_WAY: usize = 64;

/// Pieces of one file under way at a time.
const PIECES: usize = 4;

/// Requests are sent when so many bytes of them have gathered; also before any answer is waited for.
const GATHERED: usize = 64 << 10;

/// Hears of every piece of content that is through, in bytes.
pub type Through<'a> = &'a dyn Fn(u64);

impl Client {
    /// Connects to the file server of an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn sftp(&self, instance: &str) -> Result<Sftp, ClientError> {
        Ok(Session::begin(self.sftp_stream(instance).await?, &[])?)
    }

    /// Connects to the file server of an instance for a program that speaks SFTP itself. The stream is blocking.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn sftp_stream(&self, instance: &str) -> Result<UnixStream, ClientError> {
        let path = self.in_project(instance_path(instance).then("sftp"));
        let (_, dialled) = websocket::upgrade(self.endpoint(), &path, "Upgrade: sftp\r\nConnection: Upgrade\r\n").await?;
        let stream = dialled.stream.into_std().and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
        let stream = stream.map_err(SessionError::Stream)?;
        // A server speaks when it was spoken to, so nothing can have come already.
        if dialled.early.is_empty() { Ok(stream) } else { Err(SessionError::Mismatch.into()) }
    }
}

fn at(path: &[u8], cause: SessionError) -> ClientError {
    ClientError::File { path: String::from_utf8_lossy(path).into_owned(), cause }
}

fn local(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> ClientError {
    let file = path.to_owned();
    move |cause| ClientError::LocalFile { file, cause }
}
