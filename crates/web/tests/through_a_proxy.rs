//! HTTPS through a proxy: it connects us and sees nothing, and what it refuses is told in its words.

use std::sync::{Arc, Mutex};

use coffer_web::tls::server_config;
use coffer_web::{Dialer, Identity, Proxies, Role, Trust, Url};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server that says what it heard, over TLS; answers its port.
async fn server(identity: &Identity) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("the address of a listener").port();
    let acceptor = TlsAcceptor::from(server_config(identity).expect("a certificate of ours"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut heard = [0; 5];
            if stream.read_exact(&mut heard).await.is_ok() {
                let _ = stream.write_all(&heard).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    port
}

/// A proxy that knows one host, and where that is; and what it was asked for.
async fn proxy(host: &'static str, port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("the address of a listener").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let hearing = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.is_ok_and(|count| count > 0) {}
            let line = head.lines().next().unwrap_or_default().to_owned();
            hearing.lock().expect("no test panics while it holds it").push(line.clone());
            if line != format!("CONNECT {host} HTTP/1.1") {
                let _ = stream.get_mut().write_all(b"HTTP/1.1 403 Not that one\r\n\r\n").await;
                continue;
            }
            let mut there = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await;
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_proxy_connects_and_a_refusal_is_told_in_its_words() {
    let identity = Identity::generate(Role::Server, "images.invalid", &[]).expect("a certificate");
    let (address, asked) = proxy("images.invalid:443", server(&identity).await).await;
    let trust = Trust::Pinned(identity.certificate().clone());
    let dialer = Dialer::new(&trust, None, Proxies::new("", &address, "").expect("an address")).expect("TLS is set up");
    let url = |text: &str| text.parse::<Url>().expect("a URL");

    let mut stream = dialer.dial(&url("https://images.invalid/streams")).await.expect("a connection through the proxy");
    assert_eq!(stream.peer_certificate().as_ref(), Some(identity.certificate()));
    stream.write_all(b"hello").await.expect("a way there");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.expect("a way back");
    assert_eq!(heard, b"hello");
    drop(stream);

    let Err(refused) = dialer.dial(&url("https://elsewhere.invalid:8443/")).await else { panic!("the proxy knows only one host") };
    let text = refused.to_string();
    assert!(text.contains("elsewhere.invalid:8443") && text.contains(&address) && text.contains("403 Not that one"), "{text}");
    let asked = asked.lock().expect("no test panics while it holds it").clone();
    assert_eq!(asked, ["CONNECT images.invalid:443 HTTP/1.1", "CONNECT elsewhere.invalid:8443 HTTP/1.1"]);
}
