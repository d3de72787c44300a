//! A pipe, terminal or socket to an instance, read and written without blocking the thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a pipe is made to hold: the largest that the kernel allows without more rights.
///
/// Source: `pipe-max-size`, pipe(7).
const PIPE_SIZE: usize = 1 << 20;

/// A pipe, terminal or socket to an instance.
pub struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    /// Takes a descriptor and lets it block no more. A pipe is made as large as may be.
    ///
    /// # Errors
    /// What changing it or registering it for events said.
    pub fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        // Terminals and sockets refuse, and a small pipe works too.
        let _ = rustix::pipe::fcntl_setpipe_size(fd.as_fd(), PIPE_SIZE);
        #[expect(deprecated, reason = "the other constructor is unsafe for what an OwnedFd promises anyway: it stays open and the same")]
        AsyncFd::with_interest(fd, interest).map(Self)
    }

    /// Waits for bytes and reads them; 0 is the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What reading said.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.try_read(buffer)? {
            return Ok(count);
        }
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|fd| read(fd.get_ref(), buffer)) {
                return result;
            }
        }
    }

    /// Reads what is there now; `None` when nothing is.
    ///
    /// # Errors
    /// What reading said.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match read(self.0.get_ref(), buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes all of `bytes`, waiting for room.
    ///
    /// # Errors
    /// What writing said, `EPIPE` when nobody reads any more.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = match write(self.0.get_ref(), bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut ready = self.0.writable().await?;
                    match ready.try_io(|fd| write(fd.get_ref(), bytes)) {
                        Ok(result) => result?,
                        Err(_) => continue,
                    }
                }
                result => result?,
            };
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buffer)) {
        // The last process that had the terminal open closed it.
        Err(Errno::IO) => Ok(0),
        result => result.map_err(io::Error::from),
    }
}

fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_a_pipe_holds_goes_through() {
        let (receive, send) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (receive, send) = (Stream::new(receive, Interest::READABLE).unwrap(), Stream::new(send, Interest::WRITABLE).unwrap());
        let content: Vec<u8> = (0..3u32 << 20).map(|number| (number / 7) as u8).collect();
        let sent = content.clone();
        let writing = tokio::spawn(async move { send.write_all(&sent).await.unwrap() });
        let (mut got, mut buffer) = (Vec::new(), vec![0; 100_000]);
        loop {
            match receive.read(&mut buffer).await.unwrap() {
                0 => break,
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
        writing.await.unwrap();
        assert!(got == content);
        assert_eq!(receive.try_read(&mut buffer).unwrap(), Some(0));
    }

    #[tokio::test]
    async fn who_writes_to_nobody_is_told() {
        let (receive, send) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        drop(receive);
        let send = Stream::new(send, Interest::WRITABLE).unwrap();
        assert_eq!(send.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
