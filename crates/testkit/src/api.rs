//! The REST API without any client between: one request a connection, JSON in and out.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::wait::patience;

/// A daemon's API.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
    deadline: Duration,
}

/// One answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Api {
    /// Talks to the daemon that listens on this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_path_buf(), deadline: patience(60) }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request with a JSON body, or none.
    ///
    /// # Errors
    /// The socket cannot be reached, or what comes back is no HTTP.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// Sends a request with any body and headers.
    ///
    /// # Errors
    /// The socket cannot be reached, or what comes back is no HTTP.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(self.deadline))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: unix.socket\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        // In one piece: a server that answers before it reads the body and closes throws its answer away with what it did not read.
        let (first, rest) = body.split_at(body.len().min(4096));
        stream.write_all(&[head.as_bytes(), first].concat())?;
        // A server that refuses early may close before it has read everything; its answer still counts.
        let _ = stream.write_all(rest);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        parse(&bytes)
            .ok_or_else(|| std::io::Error::other(format!("no HTTP answer to {method} {path}: {}", String::from_utf8_lossy(&bytes))))
    }

    /// Fetches an object: the `metadata` of the answer.
    ///
    /// # Panics
    /// The daemon refuses or cannot be reached.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.expect("GET", path, None)
    }

    /// Sends a request, expects success, waits for the operation if there is one, and returns the `metadata`.
    ///
    /// # Panics
    /// The daemon refuses, the operation fails, or the daemon cannot be reached.
    #[track_caller]
    pub fn expect(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.request(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let json = answer.json();
        assert!((200..300).contains(&answer.status), "{method} {path}: {json}");
        if json["type"] != "async" {
            return json["metadata"].clone();
        }
        let operation = json["operation"].as_str().unwrap_or_else(|| panic!("{method} {path}: no operation in {json}"));
        let (operation, query) = operation.split_once('?').unwrap_or((operation, ""));
        let end = self.get(&format!("{operation}/wait?timeout=60&{query}"));
        assert_eq!(end["status_code"], 200, "{method} {path}: {end}");
        end
    }

    /// Sends a request that must be refused with this status, and returns the error's text.
    ///
    /// # Panics
    /// It is not refused, or otherwise.
    #[track_caller]
    pub fn refused(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> String {
        let answer = self.request(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let json = answer.json();
        assert_eq!(answer.status, status, "{method} {path}: {json}");
        assert_eq!(json["error_code"], status, "{method} {path}: {json}");
        json["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let body = &bytes[end + 4..];
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked"));
    let body = if chunked { unchunk(body)? } else { body.to_vec() };
    Some(Answer { status, headers, body })
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        let start = end + 2;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(start..start + size)?);
        bytes = bytes.get(start + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, status: u16, body: &str) {
        let answer = parse(text.as_bytes()).unwrap();
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (status, body));
    }

    #[test]
    fn reads_plain_and_chunked_bodies() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi");
        check("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 404, "abcde");
    }

    #[test]
    fn an_answer_cut_short_is_none() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc").is_none());
    }
}
