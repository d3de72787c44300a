//! Exec sessions and consoles: framing in both directions, pings, ends, exit codes.

#![allow(clippy::unwrap_used, missing_docs, reason = "a failed step is the failed test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod fake;

use std::io::Cursor;

use coffer_api::{ControlMessage, InstanceConsolePost, InstanceExecPost};
use coffer_client::websocket::{End, Flow, Opcode, pump};
use coffer_client::{Ended, ExecStreams};
use fake::{Fake, Peer, Reply, accepted, refused, sync};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

const OPERATION: &str = r#"{"id":"op","class":"websocket","status_code":103,
    "metadata":{"fds":{"0":"s0","1":"s1","2":"s2","control":"sc"}}}"#;

/// The server's ends of standard input and output, as they come.
type Ends = (Option<Peer>, Option<Peer>);

/// Echoes standard input in oddly cut frames with pings in between, until the client marks the end.
fn echo(mut peer: Peer, mut out: Peer) {
    while let Some((opcode, payload)) = peer.receive() {
        match (opcode, payload.as_slice()) {
            (Opcode::Text, b"") => break,
            (Opcode::Binary, payload) => {
                let (head, tail) = payload.split_at(payload.len() / 3);
                out.send(false, Opcode::Binary, head);
                out.send(true, Opcode::Ping, b"p");
                out.send(true, Opcode::Continuation, tail);
                assert_eq!(out.receive(), Some((Opcode::Pong, b"p".to_vec())));
            }
            other => panic!("{other:?}"),
        }
    }
    out.send(true, Opcode::Text, b"");
}

#[test]
fn pipes_carry_every_byte_and_the_exit_code() {
    // The echo needs two sockets: each hands its end over, and the second to come starts it.
    let waiting = std::sync::Mutex::new(Ends::default());
    let waiting = std::sync::Arc::new(waiting);
    let fake = Fake::start(move |request| {
        let socket = |place: fn(&mut Ends) -> &mut Option<Peer>| {
            let waiting = waiting.clone();
            Reply::Websocket(Box::new(move |peer| {
                *place(&mut waiting.lock().unwrap()) = Some(peer);
                let both = match &mut *waiting.lock().unwrap() {
                    (input @ Some(_), output @ Some(_)) => input.take().zip(output.take()),
                    _ => None,
                };
                if let Some((input, output)) = both {
                    echo(input, output);
                }
            }))
        };
        match request.line.as_str() {
            "POST /1.0/instances/c1/exec" => {
                assert!(request.text().contains(r#""wait-for-websocket":true,"interactive":false"#));
                accepted(OPERATION)
            }
            "GET /1.0/operations/op/websocket?secret=s0" => socket(|pair| &mut pair.0),
            "GET /1.0/operations/op/websocket?secret=s1" => socket(|pair| &mut pair.1),
            "GET /1.0/operations/op/websocket?secret=s2" => Reply::Websocket(Box::new(|mut peer| {
                peer.send(true, Opcode::Binary, b"warning");
                peer.send(true, Opcode::Close, &[]);
            })),
            "GET /1.0/operations/op/websocket?secret=sc" => Reply::Websocket(Box::new(|mut peer| {
                assert_eq!(peer.receive(), Some((Opcode::Text, br#"{"command":"signal","signal":15}"#.to_vec())));
            })),
            "GET /1.0/operations/op/wait" => sync(r#"{"id":"op","status_code":200,"metadata":{"return":7}}"#),
            other => panic!("{other}"),
        }
    });
    // Longer than any buffer on the way, and no two blocks alike.
    let sent: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    block_on(async {
        let request = InstanceExecPost { command: vec!["cat".into()], ..Default::default() };
        let session = fake.client().exec("c1", &request).await.unwrap();
        let end = session.end();
        let (_, control) = session.control.split();
        let text = serde_json::to_string(&ControlMessage::Signal { signal: 15 }).unwrap();
        control.send_text(&text).unwrap();
        let ExecStreams::Pipes { stdin, stdout, stderr } = session.streams else { panic!("pipes were asked for") };
        let (_stdin_in, stdin) = stdin.split();
        let input = sent.clone();
        let feeding = std::thread::spawn(move || stdin.copy_from(Cursor::new(input)).unwrap());
        let mut received = Vec::new();
        assert_eq!(stdout.split().0.copy_to(&mut received).unwrap(), End::Marked);
        feeding.join().unwrap();
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
        let mut warnings = Vec::new();
        assert_eq!(stderr.split().0.copy_to(&mut warnings).unwrap(), End::Closed);
        assert_eq!(warnings, b"warning");
        assert_eq!(end.await.unwrap(), Ended { code: 7, error: String::new() });
    });
}

#[test]
fn a_refused_websocket_gives_the_server_s_words() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "POST /1.0/instances/c1/exec" => accepted(OPERATION),
        _ => refused(403, "that secret was used before"),
    });
    let request = InstanceExecPost { command: vec!["true".into()], ..Default::default() };
    let outcome = block_on(fake.client().exec("c1", &request));
    assert_eq!(outcome.err().unwrap().to_string(), "that secret was used before");
}

#[test]
fn a_command_that_could_not_start_has_a_code_and_words() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "POST /1.0/instances/c1/exec" => accepted(OPERATION),
        "GET /1.0/operations/op/wait" => sync(r#"{"id":"op","status_code":400,"err":"Command not found","metadata":{"return":127}}"#),
        _ => Reply::Websocket(Box::new(|mut peer| peer.send(true, Opcode::Text, b""))),
    });
    block_on(async {
        let request = InstanceExecPost { command: vec!["nope".into()], interactive: true, ..Default::default() };
        let session = fake.client().exec("c1", &request).await.unwrap();
        assert!(matches!(session.streams, ExecStreams::Terminal(_)));
        assert_eq!(session.end().await.unwrap(), Ended { code: 127, error: "Command not found".into() });
    });
}

#[test]
fn a_console_is_two_sockets() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "POST /1.0/instances/c1/console" => {
            assert_eq!(request.text(), r#"{"width":80,"height":24,"type":"console"}"#);
            accepted(OPERATION)
        }
        "GET /1.0/operations/op/websocket?secret=s0" => Reply::Websocket(Box::new(|mut peer| {
            assert_eq!(peer.receive(), Some((Opcode::Binary, b"ls\n".to_vec())));
            assert_eq!(peer.receive(), Some((Opcode::Text, Vec::new())));
            peer.send(true, Opcode::Binary, b"bin\n");
        })),
        // Detaching closes the control socket with a word of goodbye.
        _ => Reply::Websocket(Box::new(|mut peer| assert_eq!(peer.receive().unwrap().0, Opcode::Close))),
    });
    block_on(async {
        let request = InstanceConsolePost { width: 80, height: 24, kind: "console".into() };
        let session = fake.client().console("c1", &request).await.unwrap();
        let (mut incoming, outgoing) = session.terminal.split();
        outgoing.copy_from(&b"ls\n"[..]).unwrap();
        let mut shown = Vec::new();
        assert_eq!(incoming.copy_to(&mut shown).unwrap(), End::Closed);
        assert_eq!(shown, b"bin\n");
        session.control.split().1.close();
    });
}

#[test]
fn a_server_that_masks_or_breaks_frames_is_not_believed() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "POST /1.0/instances/c1/exec" => accepted(OPERATION),
        "GET /1.0/operations/op/websocket?secret=s0" => {
            Reply::Websocket(Box::new(|peer| drop(std::io::Write::write_all(&mut &peer.0, &[0x82, 0x81, 0, 0, 0, 0, b'x']))))
        }
        _ => Reply::Websocket(Box::new(drop)),
    });
    block_on(async {
        let request = InstanceExecPost { command: vec!["x".into()], interactive: true, ..Default::default() };
        let session = fake.client().exec("c1", &request).await.unwrap();
        let ExecStreams::Terminal(socket) = session.streams else { panic!("a terminal was asked for") };
        assert!(socket.split().0.copy_to(std::io::sink()).is_err());
    });
}

#[test]
fn one_thread_reads_many_streams() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "POST /1.0/instances/c1/exec" => accepted(OPERATION),
        "GET /1.0/operations/op/websocket?secret=s1" => Reply::Websocket(Box::new(|mut peer| {
            for round in 0..100u8 {
                peer.send(round % 2 == 1, if round % 2 == 1 { Opcode::Continuation } else { Opcode::Binary }, &[round; 5000]);
                peer.send(true, Opcode::Ping, &[round]);
            }
            for round in 0..100u8 {
                assert_eq!(peer.receive(), Some((Opcode::Pong, vec![round])));
            }
            peer.send(true, Opcode::Text, b"");
        })),
        "GET /1.0/operations/op/websocket?secret=s2" => Reply::Websocket(Box::new(|mut peer| {
            peer.send(true, Opcode::Binary, b"err");
            peer.send(true, Opcode::Text, b"");
        })),
        // The others say nothing and stay until the client goes.
        _ => Reply::Websocket(Box::new(|mut peer| while peer.receive().is_some() {})),
    });
    let (out, err) = (Shared::default(), Shared::default());
    block_on(async {
        let request = InstanceExecPost { command: vec!["x".into()], ..Default::default() };
        let session = fake.client().exec("c1", &request).await.unwrap();
        let ExecStreams::Pipes { stdin, stdout, stderr } = session.streams else { panic!("pipes were asked for") };
        let flows = vec![
            Flow::drained(session.control.split().0),
            Flow::drained(stdin.split().0),
            Flow::to(stdout.split().0, Box::new(out.clone())),
            Flow::to(stderr.split().0, Box::new(err.clone())),
        ];
        pump(flows).unwrap();
    });
    let expected: Vec<u8> = (0..100u8).flat_map(|round| [round; 5000]).collect();
    assert!(*out.0.lock().unwrap() == expected && *err.0.lock().unwrap() == b"err");
}

/// A sink that can be read by somebody else.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
