//! A real registry of OCI images (Debian's `docker-registry`) in a daemon's own network, and pushing images to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::pen::Pen;

/// The program.
const PROGRAM: &str = "docker-registry";

/// A name and password with bcrypt's hash of it, from that function's published test vectors.
const USER: &str = "tester";
const PASSWORD: &str = "U*U";
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// A registry; it ends with this.
#[derive(Debug)]
pub struct OciRegistry {
    child: Child,
    port: u16,
    directory: PathBuf,
    private: bool,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// An image to push.
#[derive(Debug, Clone)]
pub struct OciImage {
    /// Its architecture as registries call it.
    pub architecture: &'static str,
    /// Its layers as tar archives, the lowest first, and how each is compressed.
    pub layers: Vec<(Vec<u8>, Packing)>,
    /// Its process, as the configuration has it.
    pub process: Value,
}

impl OciRegistry {
    /// Starts one that keeps its images in a directory; `None`, and a word about it, where it is not installed. A private one
    /// wants a name and password.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    #[track_caller]
    pub fn start(pen: &Pen, directory: &Path, private: bool) -> Option<Self> {
        let installed = ["/usr/bin", "/usr/local/bin"].iter().any(|place| Path::new(place).join(PROGRAM).exists());
        if !installed {
            crate::skipped(&format!("{PROGRAM} (the package of that name) is not installed"));
            return None;
        }
        std::fs::create_dir_all(directory).expect("a directory for the registry");
        let htpasswd = directory.join("htpasswd");
        std::fs::write(&htpasswd, format!("{USER}:{HASH}\n")).expect("its users");
        let auth = if private { format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", htpasswd.display()) } else { String::new() };
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n{auth}",
            directory.join("store").display()
        );
        let file = directory.join("config.yml");
        std::fs::write(&file, config).expect("its configuration");
        let mut command = pen.command(PROGRAM);
        command.args(["serve", &file.display().to_string()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the registry");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("listening on 127.0.0.1:")?.1.to_owned();
            rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
        });
        let port = listening.expect("the registry's port");
        // Its log must go somewhere, or it stops.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, port, directory: directory.to_owned(), private })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its address with name and password in it.
    #[must_use]
    pub fn url_with_secret(&self) -> String {
        format!("http://{USER}:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// Pushes an image for each of some architectures under one tag; returns the manifests' digests in their order.
    ///
    /// # Panics
    /// The registry does not take it.
    #[track_caller]
    pub fn push(&self, pen: &Pen, repository: &str, tag: &str, images: &[OciImage]) -> Vec<String> {
        let mut digests = Vec::new();
        let mut entries = Vec::new();
        for image in images {
            let (mut layers, mut ids) = (Vec::new(), Vec::new());
            for (tar, packing) in &image.layers {
                let (packed, kind) = packed(tar, *packing);
                ids.push(format!("sha256:{}", sha256(tar)));
                layers.push(self.blob(pen, repository, &packed, &format!("application/vnd.oci.image.layer.v1.tar{kind}")));
            }
            let config = json!({"architecture": image.architecture, "os": "linux", "created": "2026-11-01T10:00:00Z",
                "config": image.process, "rootfs": {"type": "layers", "diff_ids": ids}});
            let config = self.blob(pen, repository, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).to_string();
            let digest = sha256(manifest.as_bytes());
            let reference = if images.len() == 1 { tag.to_owned() } else { format!("sha256:{digest}") };
            self.manifest(pen, repository, &reference, kind, &manifest);
            entries.push(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": manifest.len(),
                "platform": {"architecture": image.architecture, "os": "linux"}}));
            digests.push(digest);
        }
        if images.len() > 1 {
            let kind = "application/vnd.oci.image.index.v1+json";
            let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).to_string();
            self.manifest(pen, repository, tag, kind, &index);
        }
        digests
    }

    /// Puts a manifest as it is.
    ///
    /// # Panics
    /// The registry does not take it.
    #[track_caller]
    pub fn manifest(&self, pen: &Pen, repository: &str, reference: &str, kind: &str, text: &str) {
        let (status, _, body) =
            self.ask(pen, "PUT", &format!("/v2/{repository}/manifests/{reference}"), &[("Content-Type", kind)], text.as_bytes());
        assert_eq!(status, 201, "{body}");
    }

    /// Flips a bit in the middle of a part, behind the registry's back.
    ///
    /// # Panics
    /// There is no such part.
    #[track_caller]
    pub fn damage(&self, digest: &str) {
        let file = self.directory.join(format!("store/docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2]));
        let mut bytes = std::fs::read(&file).expect("a blob that was pushed");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).expect("a damaged blob");
    }

    /// Uploads a part; returns its descriptor.
    #[track_caller]
    fn blob(&self, pen: &Pen, repository: &str, bytes: &[u8], kind: &str) -> Value {
        let digest = format!("sha256:{}", sha256(bytes));
        let (status, location, body) = self.ask(pen, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        assert_eq!(status, 202, "{body}");
        let target = location.split_once("://").map_or(location.as_str(), |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]).to_owned();
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}digest={}", digest.replace(':', "%3A"));
        let (status, _, body) = self.ask(pen, "PUT", &target, &[("Content-Type", "application/octet-stream")], bytes);
        assert_eq!(status, 201, "{body}");
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }

    /// Sends a request; returns the status, the `Location` and the body.
    #[track_caller]
    fn ask(&self, pen: &Pen, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, String) {
        let mut stream = pen.in_network(|| TcpStream::connect(("127.0.0.1", self.port))).expect("a connection");
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.port,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.private {
            // `tester:U*U` in base64.
            head.push_str("Authorization: Basic dGVzdGVyOlUqVQ==\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let location = head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
        (status, location.map(|(_, value)| value.trim().to_owned()).unwrap_or_default(), body.to_owned())
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A layer as it is stored, and what is behind its media type.
fn packed(tar: &[u8], packing: Packing) -> (Vec<u8>, &'static str) {
    match packing {
        Packing::Plain => (tar.to_vec(), ""),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).expect("memory");
            (encoder.finish().expect("memory"), "+gzip")
        }
        Packing::Zstd => (zstd::encode_all(tar, 1).expect("memory"), "+zstd"),
    }
}

/// SHA-256 as registries write it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
