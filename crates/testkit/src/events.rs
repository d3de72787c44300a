//! The daemon's events, heard without any client between.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::Value;

use crate::Api;
use crate::wait::patience;

/// A listener to a daemon's events.
#[derive(Debug)]
pub struct Events(UnixStream);

impl Api {
    /// Listens to events; the query is as of `GET /1.0/events`, `since=0` for example. From the return on nothing is missed.
    ///
    /// # Panics
    /// The daemon refuses or cannot be reached.
    #[must_use]
    #[track_caller]
    pub fn events(&self, query: &str) -> Events {
        let mut stream = UnixStream::connect(self.socket()).expect("a daemon that listens");
        stream.set_read_timeout(Some(patience(60))).expect("a socket that takes a deadline");
        let request = format!(
            "GET /1.0/events?{query} HTTP/1.1\r\nHost: unix.socket\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a daemon that reads");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Events(stream)
    }
}

impl Events {
    /// Waits for the next event.
    ///
    /// # Panics
    /// None comes within a minute, or it is no JSON.
    #[track_caller]
    pub fn one(&mut self) -> Value {
        // Pings keep the socket's own deadline from passing.
        let until = Instant::now() + patience(60);
        loop {
            assert!(Instant::now() < until, "no event in time");
            let mut head = [0; 2];
            self.fill(&mut head);
            let length = match head[1] {
                126 => {
                    let mut bytes = [0; 2];
                    self.fill(&mut bytes);
                    u64::from(u16::from_be_bytes(bytes))
                }
                127 => {
                    let mut bytes = [0; 8];
                    self.fill(&mut bytes);
                    u64::from_be_bytes(bytes)
                }
                short => short.into(),
            };
            let mut content = vec![0; usize::try_from(length).expect("a frame that fits")];
            self.fill(&mut content);
            // Pings need no answer here: they come every few seconds, and a test is over by then.
            if head[0] == 0x81 {
                return serde_json::from_slice(&content).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&content)));
            }
        }
    }

    /// Waits for a lifecycle event of this action.
    ///
    /// # Panics
    /// None comes within a minute.
    #[track_caller]
    pub fn lifecycle(&mut self, action: &str) -> Value {
        loop {
            let event = self.one();
            if event["metadata"]["action"] == action {
                return event;
            }
        }
    }

    #[track_caller]
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).unwrap_or_else(|error| panic!("waiting for an event: {error}"));
    }
}
