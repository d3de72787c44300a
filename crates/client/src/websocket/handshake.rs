//! Opening a websocket.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::refusal;
use crate::transport;
use crate::websocket::Socket;
use crate::{ApiPath, ClientError, Endpoint};

/// Longest head of an answer that is read.
const HEAD_LIMIT: usize = 64 << 10;

/// A stream that speaks another protocol now, with what was read beyond the handshake.
pub(crate) struct Dialled {
    pub(crate) stream: UnixStream,
    pub(crate) early: Vec<u8>,
}

/// Opens a websocket for blocking use.
///
/// # Errors
/// If the server refuses or can't be reached.
pub async fn connect(endpoint: &Endpoint, path: &ApiPath) -> Result<Socket, ClientError> {
    let dialled = dial(endpoint, path).await?;
    Socket::new(dialled).map_err(|cause| ClientError::Websocket { cause })
}

/// Opens a websocket.
///
/// Source: RFC 6455, section 4.1.
pub(crate) async fn dial(endpoint: &Endpoint, path: &ApiPath) -> Result<Dialled, ClientError> {
    let broken = |cause| ClientError::Websocket { cause };
    let key = generate_key();
    let headers = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n");
    let (head, dialled) = upgrade(endpoint, path, &headers).await?;
    if header(&head, "sec-websocket-accept") != derive_accept_key(key.as_bytes()) {
        return Err(broken(io::Error::new(io::ErrorKind::InvalidData, "the server did not answer the handshake's question")));
    }
    Ok(dialled)
}

/// Has a connection of its own become one for another protocol; `headers`, each with its line's end, say which. Answers the
/// head of the server's answer too.
pub(crate) async fn upgrade(endpoint: &Endpoint, path: &ApiPath, headers: &str) -> Result<(String, Dialled), ClientError> {
    let mut stream = transport::dial_plain(endpoint).await?;
    let host = endpoint.host();
    let broken = |cause| ClientError::Websocket { cause };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let (head, early) = read_head(&mut stream).await.map_err(broken)?;
    match status(&head) {
        101 => Ok((head, Dialled { stream, early })),
        code => Err(refusal(code, &read_body(&mut stream, &head, early).await.map_err(broken)?)),
    }
}

/// Reads up to the empty line; returns the head and what came after it.
async fn read_head(stream: &mut UnixStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let early = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), early));
        }
        if bytes.len() > HEAD_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server's answer has no end"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads the body of a refusal as far as its length says.
async fn read_body(stream: &mut UnixStream, head: &str, mut body: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = header(head, "content-length").parse().unwrap_or(0).min(HEAD_LIMIT);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            break;
        }
    }
    Ok(body)
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = "HTTP/1.1 404 Not Found\r\nContent-Length:  12 \r\n\r\n";
        assert_eq!((status(head), header(head, "content-length"), header(head, "x")), (404, "12", ""));
    }
}
