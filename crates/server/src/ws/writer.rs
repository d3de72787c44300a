//! The sending side of a websocket.

use std::io::{self, IoSlice};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::frame::{CONTROL_LIMIT, HEADER_ROOM, Opcode, write_header};

/// Closing a websocket because all is well. Source: RFC 6455, section 7.4.1.
const NORMAL: u16 = 1000;

/// The sending side of a websocket.
pub struct Writer<W> {
    transport: W,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Sends over a connection whose handshake is done.
    pub fn new(transport: W) -> Self {
        Self { transport }
    }

    /// Sends one whole message or control frame.
    ///
    /// # Errors
    /// What sending said.
    pub async fn send(&mut self, opcode: Opcode, content: &[u8]) -> io::Result<()> {
        debug_assert!(!opcode.is_control() || content.len() as u64 <= CONTROL_LIMIT, "control frames are short");
        let mut room = [0; HEADER_ROOM];
        let start = write_header(&mut room, opcode, content.len());
        let mut header = &room[start..];
        let mut content = content;
        while !header.is_empty() {
            let count = self.transport.write_vectored(&[IoSlice::new(header), IoSlice::new(content)]).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let of_header = count.min(header.len());
            header = &header[of_header..];
            content = &content[count - of_header..];
        }
        self.transport.write_all(content).await
    }

    /// Says that nothing more will be sent, and closes this direction.
    ///
    /// # Errors
    /// What sending said.
    pub async fn close(&mut self) -> io::Result<()> {
        self.send(Opcode::Close, &NORMAL.to_be_bytes()).await?;
        self.transport.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_a_narrow_pipe() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let content: Vec<u8> = (0..70_000u32).map(|number| number as u8).collect();
        let sent = content.clone();
        let send = tokio::spawn(async move {
            let mut writer = Writer::new(ours);
            writer.send(Opcode::Binary, &sent).await.unwrap();
            writer.send(Opcode::Text, b"").await.unwrap();
            writer.close().await.unwrap();
        });
        let mut wire = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut wire).await.unwrap();
        send.await.unwrap();
        assert_eq!(wire[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        assert_eq!(wire[10..70_010], content);
        assert_eq!(wire[70_010..], [0x81, 0, 0x88, 2, 0x03, 0xe8]);
    }
}
