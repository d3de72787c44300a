//! `image export`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use coffer_client::{Client, Download, ImageDownload};
use sha2::{Digest, Sha256};

use super::find;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Download an image as one file, or as two for a split image
///
/// The files are named after the fingerprint, or after the target if it is no directory. What arrives must have the
/// fingerprint it was asked by.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Image
    #[arg(value_name = "[REMOTE:]IMAGE")]
    image: Target,
    /// Directory or file to write to
    target: Option<PathBuf>,
    /// Look for a virtual machine's
    #[arg(long)]
    vm: bool,
}

impl Export {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        super::refuse_vm(self.vm)?;
        let (client, found) = find(app, &self.image).await?;
        let fingerprint = client.image(&found).await?.value.fingerprint;
        let target = self.target.unwrap_or_else(|| PathBuf::from("."));
        download(client, fingerprint, target).await?;
        app.note("Image exported successfully!")
    }
}

/// Downloads an image as one file or two, which are answered.
pub(super) async fn download(client: &Client, fingerprint: String, target: PathBuf) -> Result<Vec<PathBuf>, CliError> {
    // The name on disk comes from here, never from the server's headers.
    if fingerprint.len() != 64 || !fingerprint.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(CliError::UnsafeName { name: fingerprint });
    }
    let base = if target.is_dir() { target.join(&fingerprint) } else { target };
    let ImageDownload { body, boundary, filename } = client.export_image(&fingerprint).await?;
    let mut stream = Stream { body, buffer: Vec::new(), hash: Sha256::new() };
    let written = match boundary {
        None => vec![write_whole(&mut stream, &with_suffix(&base, &filename)).await?],
        Some(boundary) => write_parts(&mut stream, &boundary, &base).await?,
    };
    let hash: String = stream.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != fingerprint {
        for file in &written {
            let _ = std::fs::remove_file(file);
        }
        return Err(CliError::WrongFingerprint { expected: fingerprint, found: hash });
    }
    Ok(written)
}

/// Appends the archive suffix of a name the server proposed, if it is one of those that are known.
fn with_suffix(base: &Path, filename: &str) -> PathBuf {
    const SUFFIXES: [&str; 9] = [".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar.lzma", ".tar", ".squashfs", ".qcow2", ".root"];
    let suffix = SUFFIXES.iter().find(|suffix| filename.ends_with(*suffix)).copied().unwrap_or("");
    let mut path = base.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// A body that is read piece by piece.
struct Stream {
    body: Download,
    buffer: Vec<u8>,
    hash: Sha256,
}

async fn write_whole(stream: &mut Stream, path: &Path) -> Result<PathBuf, CliError> {
    let failed = |cause| CliError::File { file: path.to_owned(), cause };
    let mut file = File::create(path).map_err(failed)?;
    while let Some(chunk) = stream.body.chunk().await? {
        stream.hash.update(&chunk);
        file.write_all(&chunk).map_err(failed)?;
    }
    Ok(path.to_owned())
}

/// Writes the parts of a multipart body: metadata first, then the root file system.
///
/// Source: RFC 2046, section 5.1.
async fn write_parts(stream: &mut Stream, boundary: &str, base: &Path) -> Result<Vec<PathBuf>, CliError> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut written = Vec::new();
    // The first delimiter has no line break before it.
    stream.buffer.extend_from_slice(b"\r\n");
    let mut discard: Option<(&mut File, &Path)> = None;
    stream.copy_until(&delimiter, &mut discard).await?;
    while let Some(head) = stream.part_head().await? {
        let meta = head.contains("name=\"metadata\"") || head.contains("name=metadata");
        let filename = head.split("filename=").nth(1).unwrap_or_default();
        let filename = filename.trim_start_matches('"').split(['"', ';', '\r', '\n']).next().unwrap_or_default();
        let stem = if meta { prefixed(base) } else { base.to_owned() };
        let path = with_suffix(&stem, filename);
        let mut file = File::create(&path).map_err(|cause| CliError::File { file: path.clone(), cause })?;
        stream.copy_until(&delimiter, &mut Some((&mut file, &path))).await?;
        written.push(path);
    }
    Ok(written)
}

fn prefixed(base: &Path) -> PathBuf {
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    base.with_file_name(format!("meta-{name}"))
}

impl Stream {
    /// Reads more into the buffer; false at the end.
    async fn fill(&mut self) -> Result<bool, CliError> {
        match self.body.chunk().await? {
            Some(chunk) => {
                self.buffer.extend_from_slice(&chunk);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Moves everything before the next delimiter to `sink`, hashed, and takes the delimiter away.
    async fn copy_until(&mut self, delimiter: &[u8], sink: &mut Option<(&mut File, &Path)>) -> Result<(), CliError> {
        loop {
            let found = self.buffer.windows(delimiter.len()).position(|window| window == delimiter);
            // Without a delimiter the end of the buffer may still be the start of one.
            let safe = found.unwrap_or_else(|| self.buffer.len().saturating_sub(delimiter.len() - 1));
            if let Some((file, path)) = sink {
                self.hash.update(&self.buffer[..safe]);
                file.write_all(&self.buffer[..safe]).map_err(|cause| CliError::File { file: path.to_path_buf(), cause })?;
            }
            self.buffer.drain(..safe);
            if found.is_some() {
                self.buffer.drain(..delimiter.len());
                return Ok(());
            }
            if !self.fill().await? {
                return Err(CliError::Missing { what: "the end of the image in the server's answer" });
            }
        }
    }

    /// Reads the headers of the next part; `None` after the last.
    async fn part_head(&mut self) -> Result<Option<String>, CliError> {
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(None);
            }
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if self.buffer.len() > 1 << 16 || !self.fill().await? {
                return Err(CliError::Missing { what: "a part of the image in the server's answer" });
            }
        }
    }
}
