//! A server of a few lines: plain threads on a unix socket, answers from a function.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coffer_client::websocket::{Header, Opcode};
use coffer_client::{Client, Endpoint};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A request as it arrived.
pub struct Request {
    /// Method and path.
    pub line: String,
    /// All header lines, names in lower case.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What to answer.
pub enum Reply {
    /// Status, extra header lines and a body; the connection stays.
    Json(u16, &'static str, String),
    /// The same, and the connection is closed.
    Last(u16, String),
    /// A websocket, handed to the function.
    Websocket(Box<dyn FnOnce(Peer) + Send>),
}

/// The server's end of a websocket.
pub struct Peer(pub UnixStream);

impl Peer {
    /// Sends one frame, unmasked as servers do.
    pub fn send(&mut self, last: bool, opcode: Opcode, payload: &[u8]) {
        let mut head = [0; 14];
        let start = Header { last, opcode, mask: None, length: payload.len() as u64 }.write_before(&mut head);
        self.0.write_all(&[&head[start..], payload].concat()).unwrap();
    }

    /// Reads one frame; panics if its mask is not zero, as only the zero mask leaves bytes alone.
    pub fn receive(&mut self) -> Option<(Opcode, Vec<u8>)> {
        let mut bytes = Vec::new();
        let header = loop {
            let mut byte = [0];
            if self.0.read(&mut byte).unwrap() == 0 {
                return None;
            }
            bytes.push(byte[0]);
            if let Some((header, _)) = Header::read(&bytes).unwrap() {
                break header;
            }
        };
        assert_eq!(header.mask, Some([0; 4]), "clients mask, and this one with zeros");
        let mut payload = vec![0; usize::try_from(header.length).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        Some((header.opcode, payload))
    }
}

/// The running server; its socket goes away with it.
pub struct Fake {
    directory: tempfile::TempDir,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    /// Starts a server.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("unix.socket")).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (answer, counted) = (Arc::new(answer), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &*answer));
            }
        });
        Fake { directory, connections }
    }

    /// Makes a client of the server.
    pub fn client(&self) -> Client {
        Client::new(Endpoint::Unix(self.directory.path().join("unix.socket")), "")
    }

    /// Counts the connections made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Wraps metadata in a sync envelope.
pub fn sync(metadata: &str) -> Reply {
    let body =
        format!(r#"{{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":{metadata}}}"#);
    Reply::Json(200, "", body)
}

/// Wraps an operation in an async envelope.
pub fn accepted(operation: &str) -> Reply {
    let body = format!(
        r#"{{"type":"async","status":"Operation created","status_code":100,"operation":"/1.0/operations/op","error_code":0,"error":"","metadata":{operation}}}"#
    );
    Reply::Json(202, "", body)
}

/// Wraps a refusal.
pub fn refused(code: u16, text: &str) -> Reply {
    let body =
        format!(r#"{{"type":"error","status":"","status_code":0,"operation":"","error_code":{code},"error":"{text}","metadata":null}}"#);
    Reply::Json(code, "", body)
}

fn serve(stream: UnixStream, answer: &(dyn Fn(&Request) -> Reply + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        match answer(&request) {
            Reply::Json(code, headers, body) => {
                let head =
                    format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
                if writer.write_all((head + &body).as_bytes()).is_err() {
                    return; // The client went when it knew enough.
                }
            }
            Reply::Last(code, body) => {
                let head = format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n\r\n", body.len());
                writer.write_all((head + &body).as_bytes()).unwrap();
                return;
            }
            Reply::Websocket(handle) => {
                let accept = derive_accept_key(request.header("sec-websocket-key").unwrap().as_bytes());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                writer.write_all(head.as_bytes()).unwrap();
                return handle(Peer(writer));
            }
        }
    }
}

fn read_request(reader: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut request = Request { line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        request.headers.push(format!("{}:{value}", name.to_lowercase()));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
