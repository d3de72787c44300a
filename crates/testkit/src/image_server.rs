//! A simplestreams server for tests, in a daemon's own network: plain HTTP or TLS, with ranges, conditions and faults.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use coffer_test_images::Image;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::authority::Authority;
use crate::pen::Pen;

/// A server of images.
#[derive(Debug, Clone)]
pub struct ImageServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Mutex<Shared>>,
    gathered: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Lines of the head that go along with a file, by its path.
    headers: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    products: BTreeMap<String, Value>,
    updated: String,
    cut: Option<(String, usize)>,
    without_ranges: bool,
    gathering: Option<Gathering>,
    requests: Vec<Request>,
}

/// Requests for images that are answered only together.
#[derive(Debug)]
struct Gathering {
    /// The first byte that is wanted by those that count.
    from: usize,
    /// How many must still come.
    missing: usize,
}

/// How long a request waits for others that are to be answered with it.
const GATHERING: Duration = Duration::from_secs(20);

/// One request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The first byte that was wanted; 0 where the whole was.
    pub from: usize,
    /// The status that was answered.
    pub status: u16,
    /// Who asked, by its own words.
    pub agent: String,
}

/// How an image is offered.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The product's name, `busybox:1:amd64`.
    pub product: &'a str,
    /// The aliases, comma-separated.
    pub aliases: &'a str,
    /// The version's name: a date.
    pub serial: &'a str,
    /// `lxd` or `incus`: whose metadata it is.
    pub vendor: &'a str,
    /// The root file system's kind: `squashfs`, or `combined` for one file with everything.
    pub kind: &'a str,
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self { product: "busybox:1:amd64", aliases: "busybox,busybox/1", serial: "20261101_0000", vendor: "lxd", kind: "squashfs" }
    }
}

impl ImageServer {
    /// Serves in the clear, on a free port of the pen's loopback interface.
    ///
    /// # Panics
    /// Nothing can be listened on there.
    #[must_use]
    #[track_caller]
    pub fn start(pen: &Pen) -> Self {
        Self::serve(pen, Ipv4Addr::LOCALHOST, "http", None)
    }

    /// Serves in the clear at an address of the pen, a bridge's for one: instances reach it too.
    ///
    /// # Panics
    /// Nothing can be listened on there.
    #[must_use]
    #[track_caller]
    pub fn start_at(pen: &Pen, address: Ipv4Addr) -> Self {
        Self::serve(pen, address, "http", None)
    }

    /// Serves over TLS, as `localhost` with a certificate of this authority.
    ///
    /// # Panics
    /// Nothing can be listened on there.
    #[must_use]
    #[track_caller]
    pub fn start_with_tls(pen: &Pen, authority: &Authority) -> Self {
        Self::serve(pen, Ipv4Addr::LOCALHOST, "https", Some(authority.server_config("localhost")))
    }

    #[track_caller]
    fn serve(pen: &Pen, ip: Ipv4Addr, scheme: &'static str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = pen.in_network(|| TcpListener::bind((ip, 0))).expect("a port in the pen");
        let address = listener.local_addr().expect("the address of a listener");
        let server = Self { address, scheme, shared: Arc::default(), gathered: Arc::default() };
        server.lock().updated = "Sun, 01 Nov 2026 00:00:00 +0000".into();
        server.write_lists();
        let accepting = server.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // As every server of files does: an answer waits for no acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                let (server, tls) = (accepting.clone(), tls.clone());
                std::thread::spawn(move || match tls.map(ServerConnection::new) {
                    Some(Ok(session)) => server.converse(StreamOwned::new(session, stream)),
                    _ => server.converse(stream),
                });
            }
        });
        server
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost".to_owned() } else { self.address.ip().to_string() };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// Offers an image; returns its fingerprint.
    ///
    /// # Panics
    /// The image's files can't be read.
    #[track_caller]
    pub fn offer(&self, image: &Image, offer: Offer<'_>) -> String {
        let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
        let folder = format!("images/{}/{}", offer.product.replace(':', "/"), offer.serial.replace(':', ""));
        let mut items = serde_json::Map::new();
        let fingerprint = if offer.kind == "combined" {
            let (name, bytes) = (format!("{}_combined.tar.gz", offer.vendor), read(&image.unified));
            let hash = hex(&[&bytes]);
            items.insert(name.clone(), json!({"ftype": name, "path": format!("{folder}/{name}"), "size": bytes.len(), "sha256": hash}));
            self.put(&format!("{folder}/{name}"), bytes);
            hash
        } else {
            let squashfs = image.squashfs.as_deref().expect("mksquashfs is among the test packages");
            let (name, metadata, root) = (format!("{}.tar.xz", offer.vendor), read(&image.metadata), read(squashfs));
            let combined = hex(&[&metadata, &root]);
            let item = json!({
                "ftype": name, "path": format!("{folder}/{name}"), "size": metadata.len(), "sha256": hex(&[&metadata]),
                "combined_squashfs_sha256": combined,
            });
            items.insert(name.clone(), item);
            let item = json!({"ftype": "squashfs", "path": format!("{folder}/root.squashfs"), "size": root.len(), "sha256": hex(&[&root])});
            items.insert("root.squashfs".into(), item);
            self.put(&format!("{folder}/{name}"), metadata);
            self.put(&format!("{folder}/root.squashfs"), root);
            combined
        };
        let mut shared = self.lock();
        let product = shared.products.entry(offer.product.to_owned()).or_insert_with(
            || json!({"arch": "amd64", "os": "Busybox", "release": "1", "release_title": "1", "version": "1", "versions": {}}),
        );
        product["aliases"] = offer.aliases.into();
        product["versions"][offer.serial] = json!({"items": items});
        drop(shared);
        self.write_lists();
        fingerprint
    }

    /// Changes a product as the list shows it.
    ///
    /// # Panics
    /// There is no such product.
    #[track_caller]
    pub fn edit(&self, product: &str, change: impl FnOnce(&mut Value)) {
        change(self.lock().products.get_mut(product).expect("a product that was offered"));
        self.write_lists();
    }

    /// Offers a product so many times more under other names, with fingerprints that no image has.
    ///
    /// # Panics
    /// There is no such product.
    #[track_caller]
    pub fn multiply(&self, product: &str, times: usize) {
        let mut shared = self.lock();
        let original = shared.products.get(product).expect("a product that was offered").clone();
        for number in 0..times {
            let mut copy = original.clone();
            copy["aliases"] = format!("copy{number},copy{number}/1").into();
            let versions = copy["versions"].as_object_mut().expect("an offered product has versions");
            for item in versions.values_mut().filter_map(|version| version["items"].as_object_mut()).flat_map(|items| items.values_mut()) {
                if item["combined_squashfs_sha256"].is_string() {
                    item["combined_squashfs_sha256"] = hex(&[number.to_string().as_bytes()]).into();
                }
            }
            shared.products.insert(format!("copy{number}:1:amd64"), copy);
        }
        drop(shared);
        self.write_lists();
    }

    /// Dates the lists.
    pub fn date(&self, updated: &str) {
        self.lock().updated = updated.to_owned();
        self.write_lists();
    }

    /// Puts a file into the tree.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.lock().files.insert(path.to_owned(), bytes);
    }

    /// Puts a unified image at a path of its own and tells whoever asks for the head of another one where it is; answers the
    /// image's fingerprint.
    pub fn offer_directly(&self, asked: &str, path: &str, image: &Image) -> String {
        let bytes = std::fs::read(&image.unified).expect("an image");
        let fingerprint = hex(&[&bytes]);
        let headers = format!("LXD-Image-Hash: {fingerprint}\r\nLXD-Image-URL: {}/{path}\r\n", self.url());
        self.put(path, bytes);
        self.put(asked, b"an image for people".to_vec());
        self.lock().headers.insert(asked.to_owned(), headers);
        fingerprint
    }

    /// Flips a bit in the middle of a file.
    ///
    /// # Panics
    /// There is no such file.
    #[track_caller]
    pub fn damage(&self, ending: &str) {
        let mut shared = self.lock();
        let (_, bytes) = shared.files.iter_mut().find(|(path, _)| path.ends_with(ending)).expect("a file that was offered");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }

    /// Cuts the connection once, after so many bytes of the next file whose path ends so.
    pub fn cut_once(&self, ending: &str, after: usize) {
        self.lock().cut = Some((ending.to_owned(), after));
    }

    /// Answers requests for images that want bytes from there on only once so many of them wait at the same time; once.
    /// Where that never happens, the connection is closed.
    pub fn gather(&self, from: usize, count: usize) {
        self.lock().gathering = Some(Gathering { from, missing: count });
    }

    /// Says whether the requests that were to come together did.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        self.lock().gathering.is_none()
    }

    /// Waits for the others, if this request is one of those that come together.
    fn wait_for_others(&self, path: &str, from: usize) -> Option<()> {
        let mut shared = self.lock();
        let Some(gathering) = shared.gathering.as_mut().filter(|gathering| path.starts_with("images/") && from >= gathering.from) else {
            return Some(());
        };
        gathering.missing -= 1;
        if gathering.missing == 0 {
            shared.gathering = None;
            self.gathered.notify_all();
        }
        let waited = self.gathered.wait_timeout_while(shared, GATHERING, |shared| shared.gathering.is_some());
        let (shared, waited) = waited.expect("no test panics while it holds the server");
        drop(shared);
        (!waited.timed_out()).then_some(())
    }

    /// Offers what makes a version's root file system out of an earlier version's.
    ///
    /// # Panics
    /// There is no such product or version.
    #[track_caller]
    pub fn offer_delta(&self, product: &str, serial: &str, base: &str, delta: Vec<u8>) {
        let path = format!("images/{}/{serial}/delta.{base}.vcdiff", product.replace(':', "/"));
        let item = json!({
            "ftype": "squashfs.vcdiff", "path": path, "size": delta.len(), "sha256": hex(&[&delta]), "delta_base": base,
        });
        self.edit(product, |product| product["versions"][serial]["items"][format!("delta.{base}.vcdiff")] = item);
        self.put(&path, delta);
    }

    /// Knows nothing of ranges from now on.
    pub fn forget_ranges(&self) {
        self.lock().without_ranges = true;
    }

    /// The requests that came so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no test panics while it holds the server")
    }

    fn write_lists(&self) {
        let mut shared = self.lock();
        let names: Vec<&String> = shared.products.keys().collect();
        let entry = json!({"datatype": "image-downloads", "path": "streams/v1/images.json", "products": names, "format": "products:1.0"});
        let index = json!({"format": "index:1.0", "updated": shared.updated, "index": {"images": entry}});
        let list = json!({"format": "products:1.0", "content_id": "images", "datatype": "image-downloads", "updated": shared.updated,
            "products": shared.products});
        shared.files.insert("streams/v1/index.json".into(), index.to_string().into_bytes());
        shared.files.insert("streams/v1/images.json".into(), list.to_string().into_bytes());
    }

    /// Answers one request after another.
    fn converse(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = read_head(&mut stream) {
            if self.answer(&head, stream.get_mut()).is_none() {
                return;
            }
        }
    }

    /// Answers one request; `None` ends the connection.
    fn answer(&self, head: &str, out: &mut impl Write) -> Option<()> {
        let path = head.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let header = |name: &str| head.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        let value = |name: &str| header(name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
        let range = value("range");
        let range = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let from: usize = range.and_then(|(from, _)| from.parse().ok()).unwrap_or(0);
        self.wait_for_others(&path, from)?;
        let mut shared = self.lock();
        let range = range.filter(|_| !shared.without_ranges);
        let from = if range.is_some() { from } else { 0 };
        let to: Option<usize> = range.and_then(|(_, to)| to.parse().ok());
        let cut = shared.cut.take_if(|(ending, _)| path.ends_with(ending.as_str())).map(|(_, after)| after);
        let file = shared.files.get(&path).cloned();
        let tag = file.as_ref().map(|bytes| format!("\"{}\"", &hex(&[bytes])[..16]));
        let (status, body) = match file {
            None => (404, Vec::new()),
            Some(_) if tag.as_ref() == Some(&value("if-none-match")) => (304, Vec::new()),
            Some(bytes) if range.is_some() => {
                let end = to.map_or(bytes.len(), |to| bytes.len().min(to + 1));
                (206, bytes[from.min(end)..end].to_vec())
            }
            Some(bytes) => (200, bytes),
        };
        let more = shared.headers.get(&path).cloned().unwrap_or_default();
        shared.requests.push(Request { path, from, status, agent: value("user-agent") });
        drop(shared);
        let range = if status == 206 { format!("Content-Range: bytes {from}-{}/*\r\n", from + body.len() - 1) } else { String::new() };
        let etag = tag.map(|tag| format!("ETag: {tag}\r\n")).unwrap_or_default();
        let start = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n{range}{etag}{more}\r\n", body.len());
        out.write_all(start.as_bytes()).ok()?;
        let sent = cut.map_or(body.len(), |after| after.min(body.len()));
        out.write_all(if head.starts_with("HEAD") { &[] } else { &body[..sent] }).ok()?;
        out.flush().ok()?;
        cut.is_none().then_some(())
    }
}

fn read_head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[before..].trim_end().is_empty() {
            return Some(head);
        }
    }
}

fn hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes sure that a stream is what the server needs.
const _: fn() = || {
    fn needs<T: Read + Write>() {}
    needs::<TcpStream>();
};
