//! A registry that gives out tokens and keeps its blobs elsewhere, as the large ones do: who is told what, and broken downloads.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use coffer_testkit::{Daemon, sha256};
use serde_json::json;

use crate::setting::{holds, ready_daemon};

/// One request: whom it went to, its path, its proof, its range.
type Asked = (&'static str, String, String, String);

/// The registry, and the storage that it sends clients to.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    fn start(daemon: &Daemon, manifest: &str, blobs: BTreeMap<String, Vec<u8>>) -> Self {
        let listen = || daemon.pen().in_network(|| TcpListener::bind("127.0.0.1:0")).expect("a port in the pen");
        let (registry, storage) = (listen(), listen());
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let (own, elsewhere) = (port(&registry), port(&storage));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (notes, manifest) = (asked.clone(), manifest.to_owned());
        serve(registry, "registry", notes, move |path, proof, _| {
            if path.starts_with("/token") {
                return answer("200 OK", "", br#"{"token":"tok"}"#);
            }
            if proof != "Bearer tok" {
                let challenge = format!(
                    "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{own}/token\",service=\"fake\",scope=\"repository:app:pull\"\r\n"
                );
                return answer("401 Unauthorized", &challenge, b"");
            }
            match path.strip_prefix("/v2/app/blobs/sha256:") {
                Some(digest) => answer("307 Elsewhere", &format!("Location: http://127.0.0.1:{elsewhere}/{digest}?signed=1\r\n"), b""),
                None if path == "/v2/app/manifests/latest" => answer("200 OK", "", manifest.as_bytes()),
                None => answer("404 Not Found", "", b""),
            }
        });
        let cut = Mutex::new(true);
        serve(storage, "storage", asked.clone(), move |path, _, range| {
            let digest = path.trim_start_matches('/').split('?').next().unwrap_or_default();
            let Some(bytes) = blobs.get(digest) else { return answer("404 Not Found", "", b"") };
            let from: usize = range.strip_prefix("bytes=").and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0);
            if bytes.len() > 1000 && std::mem::take(&mut *cut.lock().expect("a lock")) {
                // Half of it, and then the connection ends.
                let mut half = answer("200 OK", "", bytes);
                half.truncate(half.len() - bytes.len() / 2);
                return half;
            }
            match from {
                0 => answer("200 OK", "", bytes),
                from => {
                    let header = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                    answer("206 Part", &header, &bytes[from..])
                }
            }
        });
        Self { url: format!("http://127.0.0.1:{own}"), asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a lock").clone()
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Answers one request a connection; ends with the test's process.
fn serve(
    listener: TcpListener,
    who: &'static str,
    notes: Arc<Mutex<Vec<Asked>>>,
    respond: impl Fn(&str, &str, &str) -> Vec<u8> + Send + 'static,
) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some((path, proof, range)) = head(&stream) else { continue };
            notes.lock().expect("a lock").push((who, path.clone(), proof.clone(), range.clone()));
            let _ = (&stream).write_all(&respond(&path, &proof, &range));
        }
    });
}

fn head(stream: &TcpStream) -> Option<(String, String, String)> {
    let lines: Vec<String> = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let found = lines.iter().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    Some((lines.first()?.split(' ').nth(1)?.to_owned(), header("authorization"), header("range")))
}

#[test]
fn tokens_are_fetched_and_told_to_the_registry_alone() {
    let Some(daemon) = ready_daemon() else { return };
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(200_000);
    header.set_mode(0o644);
    layer.append_data(&mut header, "file", [7; 200_000].as_slice()).expect("memory");
    let layer = layer.into_inner().expect("memory");
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]},
        "rootfs": {"diff_ids": [format!("sha256:{}", sha256(&layer))]}})
    .to_string()
    .into_bytes();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": config.len(), "digest": format!("sha256:{}", sha256(&config))},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "size": layer.len(), "digest": format!("sha256:{}", sha256(&layer))}]})
    .to_string();
    let size = layer.len();
    let fake = Fake::start(&daemon, &manifest, [(sha256(&config), config), (sha256(&layer), layer)].into());
    daemon.coffer(["remote", "add", "fake", &fake.url.replace("http://", "http://me:secret@"), "--protocol=oci"]).clean();
    daemon.coffer(["image", "copy", "fake:app", "local:", "--alias", "app"]).ok();
    let asked = fake.asked();
    holds(&daemon.coffer(["image", "info", "app"]).clean(), &[&format!("Fingerprint: {}", sha256(manifest.as_bytes()))]);
    // Name and password go to who gives out tokens, the token to the registry, neither to the storage.
    let token = asked.iter().find(|(_, path, ..)| path.starts_with("/token")).expect("a token was asked for");
    assert_eq!(token.1, "/token?service=fake&scope=repository%3Aapp%3Apull");
    assert!(token.2.starts_with("Basic "), "{token:?}");
    assert_eq!(asked.iter().filter(|(_, path, ..)| path.starts_with("/token")).count(), 1, "one token is enough: {asked:?}");
    assert!(asked.iter().filter(|(who, ..)| *who == "storage").all(|(_, _, proof, _)| proof.is_empty()), "{asked:?}");
    // What broke off went on where it was.
    let ranges: Vec<&str> =
        asked.iter().filter(|(who, _, _, range)| *who == "storage" && !range.is_empty()).map(|(.., range)| range.as_str()).collect();
    assert_eq!(ranges.len(), 1, "{asked:?}");
    let from: usize = ranges[0].trim_start_matches("bytes=").trim_end_matches('-').parse().expect("a number");
    assert!(from > 0 && from < size, "{ranges:?}");
    assert!(!daemon.log().contains("secret"), "a password was logged");
}
