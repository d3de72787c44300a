//! Sending an image to another daemon that expects it and gave a secret for it.

use std::fs::File;

use coffer_web::{Part, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::RemoteError;
use crate::lxd::{escape, target};
use crate::server::Server;

/// The largest answer that is read.
const LIMIT: usize = 1 << 20;

/// How long the other daemon may keep a question open; less than it may be silent.
const OPEN: &str = "20";

/// An image that is sent.
#[derive(Debug)]
pub struct Pushed {
    /// Its fingerprint.
    pub fingerprint: String,
    /// What the other daemon gave for it.
    pub secret: String,
    /// The project that it goes into there.
    pub project: String,
    /// Profiles for instances made from it there.
    pub profiles: Vec<String>,
    /// Its one or two files.
    pub files: Vec<PushedFile>,
}

/// A file of an image that is sent.
#[derive(Debug)]
pub struct PushedFile {
    /// Its field in a form: `metadata` or `rootfs`.
    pub field: &'static str,
    /// What it is called.
    pub filename: String,
    /// Its content.
    pub file: File,
    /// Its bytes.
    pub size: u64,
}

/// A daemon's answer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<T> {
    error: String,
    operation: String,
    metadata: Option<T>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Operation {
    id: String,
    status_code: u16,
    err: String,
    metadata: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Secret {
    secret: String,
}

impl Server {
    /// Sends an image and waits until the other daemon has taken it in; `sent` hears how many bytes are on their way.
    ///
    /// # Errors
    /// [`RemoteError::NotTaken`] if it does not want it, and those of the way there.
    pub async fn push(&self, image: Pushed, sent: impl FnMut(u64) + Send + 'static) -> Result<(), RemoteError> {
        let url = self.url.at(&target("/1.0/images", &[("project", &image.project)]));
        let profiles: Vec<String> = image.profiles.iter().map(|profile| format!("profile={}", escape(profile))).collect();
        let (profiles, boundary) = (profiles.join("&"), format!("coffer{}", image.fingerprint));
        let form = format!("multipart/form-data; boundary={boundary}");
        let kind = if image.files.len() == 1 { "application/octet-stream" } else { &form };
        let filename = image.files.first().map(|file| file.filename.clone()).unwrap_or_default();
        let headers = [
            ("content-type", kind),
            ("x-lxd-fingerprint", &image.fingerprint),
            ("x-lxd-secret", &image.secret),
            ("x-lxd-filename", &filename),
            ("x-lxd-profiles", &profiles),
        ];
        let reply = self.fetcher.post(&url, &headers, parts(image.files, &boundary), sent).await?;
        let answer: Answer<Operation> = self.answer(&url, reply).await?;
        let begun = answer.metadata.unwrap_or_default();
        let path = answer.operation.split('?').next().unwrap_or_default();
        let id = path.rsplit('/').next().filter(|id| !id.is_empty()).unwrap_or(&begun.id).to_owned();
        self.taken(&id, &begun.metadata.unwrap_or_default().secret).await
    }

    /// Waits until an operation over there has ended well.
    async fn taken(&self, id: &str, secret: &str) -> Result<(), RemoteError> {
        let url = self.url.at(&target(&format!("/1.0/operations/{}/wait", escape(id)), &[("secret", secret), ("timeout", OPEN)]));
        loop {
            let reply = self.fetcher.get(&url, &[]).await?;
            let operation = self.answer::<Operation>(&url, reply).await?.metadata.unwrap_or_default();
            match operation.status_code {
                200 => return Ok(()),
                400.. => return Err(self.not_taken(&operation.err)),
                _ => {}
            }
        }
    }

    async fn answer<T: DeserializeOwned + Default>(&self, url: &Url, reply: coffer_web::Reply) -> Result<Answer<T>, RemoteError> {
        let good = reply.status().is_success();
        let status = reply.status();
        let body = reply.bytes(LIMIT).await?;
        match serde_json::from_slice::<Answer<T>>(&body) {
            Ok(answer) if good => Ok(answer),
            Ok(answer) => Err(self.not_taken(&answer.error)),
            Err(cause) if good => Err(RemoteError::Form { url: url.to_string(), cause }),
            Err(_) => Err(self.not_taken(&format!("it answered {status}"))),
        }
    }

    fn not_taken(&self, why: &str) -> RemoteError {
        let why: String = why.chars().filter(|character| !character.is_control()).take(500).collect();
        RemoteError::NotTaken { server: self.url.to_string(), why: if why.is_empty() { "it does not say why".into() } else { why } }
    }
}

/// The body: one file as it is, two as a form.
fn parts(files: Vec<PushedFile>, boundary: &str) -> Vec<Part> {
    if files.len() == 1 {
        return files.into_iter().map(|file| Part::File(file.file, file.size)).collect();
    }
    let mut parts = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let before = if index == 0 { "" } else { "\r\n" };
        let (field, filename) = (file.field, &file.filename);
        let head = format!(
            "{before}--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{filename}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        parts.extend([Part::Bytes(head.into()), Part::File(file.file, file.size)]);
    }
    parts.push(Part::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    parts
}
