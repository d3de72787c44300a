//! Fetching from a server of ours: connections that are kept, several at once, proxies, bodies that are read while they are sent.

use std::io::{Seek as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coffer_web::{Dialer, Fetcher, Part, Proxies, Url};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a server heard: for each request the number of its connection, its first line, its `Host`, its body.
type Heard = Arc<Mutex<Vec<(usize, String, String, Vec<u8>)>>>;

/// Answers everything with its path, on a connection as long as it lives.
async fn server() -> (Url, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("the address of a listener");
    let url = format!("http://{address}").parse().expect("an address is one of a URL");
    let heard = Heard::default();
    let hearing = heard.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(converse(stream, number, hearing.clone()));
        }
    });
    (url, heard)
}

async fn converse(stream: TcpStream, number: usize, heard: Heard) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut host, mut length) = (String::new(), String::new(), 0);
        if stream.read_line(&mut first).await.ok()? == 0 {
            return None;
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "host" => value.trim().clone_into(&mut host),
                "content-length" => length = value.trim().parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let path = first.split(' ').nth(1)?.to_owned();
        heard.lock().expect("no test panics while it holds it").push((number, first.trim().to_owned(), host, body));
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

fn fetcher(proxies: Proxies) -> Fetcher {
    Fetcher::new(Dialer::clear(proxies).expect("TLS is set up"), "test")
}

fn connections(heard: &Heard) -> Vec<usize> {
    heard.lock().expect("no test panics while it holds it").iter().map(|(number, ..)| *number).collect()
}

#[tokio::test]
async fn a_connection_is_used_again_and_several_where_several_are_needed() {
    let (url, heard) = server().await;
    let fetcher = fetcher(Proxies::default());
    for path in ["a", "b", "c"] {
        let body = fetcher.get(&url.below(path).unwrap(), &[]).await.unwrap().bytes(100).await.unwrap();
        assert_eq!(body, format!("/{path}").into_bytes());
    }
    assert_eq!(connections(&heard), [0, 0, 0]);
    // Answers that are not read yet keep their connections to themselves.
    let here = url.below("x").unwrap();
    let unread = fetcher.get(&here, &[]).await.unwrap();
    let other = fetcher.get(&here, &[]).await.unwrap();
    assert_eq!(connections(&heard)[3..], [0, 1]);
    other.bytes(100).await.unwrap();
    unread.bytes(100).await.unwrap();
    fetcher.get(&here, &[]).await.unwrap().bytes(100).await.unwrap();
    assert!(*connections(&heard).last().unwrap() < 2);
}

#[tokio::test]
async fn proxies_are_asked_for_the_whole_address() {
    let (proxy, heard) = server().await;
    let fetcher = fetcher(Proxies::new(&proxy.to_string(), "", "ignored.invalid").unwrap());
    let url: Url = "http://images.example/streams/v1/index.json".parse().unwrap();
    fetcher.get(&url, &[]).await.unwrap().bytes(100).await.unwrap();
    let (_, first, host, _) = heard.lock().unwrap()[0].clone();
    assert_eq!((first.as_str(), host.as_str()), ("GET http://images.example/streams/v1/index.json HTTP/1.1", "images.example"));
    let error = fetcher.get(&"http://ignored.invalid/x".parse().unwrap(), &[]).await.err().unwrap();
    assert!(error.to_string().starts_with("connecting to ignored.invalid"), "{error}");
    assert_eq!(connections(&heard), [0], "the proxy was asked for a host that it is not for");
}

#[tokio::test]
async fn files_are_read_while_they_are_sent() {
    let (url, heard) = server().await;
    let mut file = tempfile::tempfile().unwrap();
    let content = vec![7; 1 << 20];
    file.write_all(&content).unwrap();
    file.rewind().unwrap();
    let parts = vec![Part::Bytes("<".into()), Part::File(file, 1 << 20), Part::Bytes(">".into())];
    let (told, seen) = std::sync::mpsc::channel();
    let tell = move |sent| told.send(sent).expect("the test hears");
    let reply = fetcher(Proxies::default()).post(&url.below("in").unwrap(), &[], parts, tell).await.unwrap();
    assert_eq!(reply.bytes(100).await.unwrap(), b"/in");
    let (_, first, _, body) = heard.lock().unwrap()[0].clone();
    assert_eq!((first.as_str(), body.len()), ("POST /in HTTP/1.1", content.len() + 2));
    assert!(body.starts_with(b"<\x07") && body.ends_with(b"\x07>"));
    assert_eq!(seen.iter().last(), Some(content.len() as u64 + 2));
}

/// Answers the first request on each connection with these bytes, and then nothing more, while the connection stays.
async fn falls_silent_after(said: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("the address of a listener"));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(said.as_bytes()).await.expect("a client that listens");
            held.push(stream);
        }
    });
    url.parse().expect("an address is one of a URL")
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_named() {
    let patient = || fetcher(Proxies::default()).with_silence(Duration::from_millis(150));
    let word = |url: &Url| format!("{url}: the server said nothing for 0.15 seconds");
    // Before it says anything.
    let url = falls_silent_after("").await.below("list").unwrap();
    assert_eq!(patient().get(&url, &[]).await.err().unwrap().to_string(), word(&url));
    // In the middle of its answer's head, and of its body, of which what came is handed on.
    let url = falls_silent_after("HTTP/1.1 200 OK\r\nContent-").await.below("list").unwrap();
    assert_eq!(patient().get(&url, &[]).await.err().unwrap().to_string(), word(&url));
    let url = falls_silent_after("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.below("list").unwrap();
    let mut reply = patient().get(&url, &[]).await.unwrap();
    assert_eq!(reply.chunk().await.unwrap().unwrap(), "half");
    assert_eq!(reply.chunk().await.err().unwrap().to_string(), word(&url));
    // To a body that was sent whole.
    let url = falls_silent_after("").await.below("in").unwrap();
    let sent = patient().post(&url, &[], vec![Part::Bytes("<>".into())], |_| {}).await;
    assert_eq!(sent.err().unwrap().to_string(), word(&url));
}

#[tokio::test]
async fn who_asks_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url: Url = format!("http://{}/list", listener.local_addr().expect("the address of a listener")).parse().expect("a URL");
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let (mut stream, mut head) = (BufReader::new(stream), String::new());
        while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.is_ok_and(|count| count > 0) {}
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("a client that listens");
        head.to_ascii_lowercase()
    });
    fetcher(Proxies::default()).get(&url, &[]).await.unwrap();
    let head = heard.await.expect("a head");
    assert!(head.contains("\r\nuser-agent: test\r\n"), "{head}");
}
