//! `image import`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use coffer_api::{ImageAliasesPost, ImagesPost, ImagesPostSource, Operation};
use coffer_base::run::Program;
use coffer_client::{Client, ImageUpload};
use tempfile::NamedTempFile;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::pair;
use crate::progress::Progress;
use crate::target::Target;

/// The program that packs directories.
const TAR: &str = "tar";

/// How long that may take: xz is slow, and directories are large.
const LONGEST_PACKING: Duration = Duration::from_secs(3600);

/// Import an image from files, a directory or a URL
///
/// Give one unified tarball, or the metadata tarball and then the root file system; or a directory that holds what a unified tarball does;
/// or an https:// URL, where the server fetches what the answer's headers LXD-Image-URL and LXD-Image-Hash name.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files, a directory or a URL, then perhaps REMOTE: and properties as key=value
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    arguments: Vec<String>,
    /// Alias for the image; may be given several times
    #[arg(long)]
    alias: Vec<String>,
    /// Let untrusted clients read it
    #[arg(long)]
    public: bool,
}

impl Import {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let Given { mut files, url, properties, target } = self.given()?;
        let client = app.client(&target)?;
        if let Some(url) = url {
            let source = ImagesPostSource { kind: "url".into(), mode: "pull".into(), protocol: "direct".into(), url, ..Default::default() };
            let request = ImagesPost { public: self.public, properties, source: Some(source), ..Default::default() };
            let done = app.finish(client.create_image(&request).await?, "Importing the image").await?;
            return self.imported(app, client, &done).await;
        }
        // Lives until its archive is sent.
        let packed = match files.first().filter(|file| file.is_dir()) {
            Some(directory) => Some(pack(directory)?),
            None => None,
        };
        if let Some(packed) = &packed {
            files = vec![packed.path().to_owned()];
        }
        let mut files = files.into_iter();
        let metadata = files.next().ok_or(CliError::Missing { what: "the image's file" })?;
        let upload = ImageUpload { metadata, rootfs: files.next(), public: self.public, properties };
        let progress = Arc::new(Shown::default());
        let watched = progress.clone();
        let sending = client.upload_image(&upload, move |sent, all| watched.set(sent, all));
        let pending = if app.globals.quiet || !io::IsTerminal::is_terminal(&io::stderr()) {
            sending.await?
        } else {
            progress.follow(sending).await?
        };
        let done = app.finish(pending, "Importing the image").await?;
        self.imported(app, client, &done).await
    }

    /// Tells of an image that is there now and gives it its aliases.
    async fn imported(&self, app: &App, client: &Client, done: &Operation) -> Result<(), CliError> {
        let fingerprint = done.metadata_text("fingerprint").unwrap_or_default().to_owned();
        if fingerprint.len() != 64 || !fingerprint.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(CliError::Missing { what: "the fingerprint in the server's answer" });
        }
        app.note(&format!("Image imported with fingerprint: {fingerprint}"))?;
        for name in &self.alias {
            replace_alias(client, name.clone(), &fingerprint).await?;
        }
        Ok(())
    }

    /// Sorts the arguments into files, URL, remote and properties.
    fn given(&self) -> Result<Given, CliError> {
        let mut given = Given::default();
        for argument in &self.arguments {
            if Path::new(argument).exists() {
                given.files.push(PathBuf::from(argument));
            } else if argument.starts_with("https://") {
                given.url = Some(argument.clone());
            } else if argument.contains("://") && !argument.contains('=') {
                return Err(CliError::Unsupported { what: "importing an image by a URL that does not begin with https://" });
            } else if let Some(remote) = argument.strip_suffix(':') {
                remote.clone_into(&mut given.target.remote);
            } else if argument.contains('=') {
                let (key, value) = pair(argument)?;
                given.properties.insert(key, value);
            } else {
                given.files.push(PathBuf::from(argument));
            }
        }
        Ok(given)
    }
}

/// What the arguments name.
#[derive(Default)]
struct Given {
    files: Vec<PathBuf>,
    url: Option<String>,
    properties: BTreeMap<String, String>,
    target: Target,
}

/// Packs a directory with `metadata.yaml`, `rootfs` and perhaps `templates` as LXD's client does: owners by number, with their
/// attributes, compressed with xz.
fn pack(directory: &Path) -> Result<NamedTempFile, CliError> {
    let failed = |cause| CliError::File { file: directory.to_owned(), cause };
    let members = ["metadata.yaml", "rootfs", "templates"].into_iter().filter(|member| directory.join(member).exists());
    let members: Vec<&str> = members.collect();
    if !members.contains(&"metadata.yaml") || !members.contains(&"rootfs") {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "an image's directory has a metadata.yaml and a rootfs")));
    }
    let packed = tempfile::Builder::new().prefix("coffer-import-").suffix(".tar.xz").tempfile().map_err(failed)?;
    let output = packed.reopen().map_err(failed)?;
    let tar = Program::new(TAR).args(["--numeric-owner", "--xattrs", "--acls", "--xz", "--create", "--file=-", "--directory"]);
    let tar = tar.arg(directory.canonicalize().map_err(failed)?).args(members).output_file(output).deadline(LONGEST_PACKING);
    match tar.run() {
        Ok(_) => Ok(packed),
        Err(error) => Err(CliError::Program { program: TAR, why: coffer_base::chain(&error) }),
    }
}

/// Makes an alias, taking it from whatever image had it.
pub(super) async fn replace_alias(client: &Client, name: String, fingerprint: &str) -> Result<(), CliError> {
    let request = ImageAliasesPost { name, target: fingerprint.to_owned(), ..Default::default() };
    match client.create_image_alias(&request).await {
        Err(error) if error.is_conflict() => {
            client.delete_image_alias(&request.name).await?;
            Ok(client.create_image_alias(&request).await?)
        }
        created => Ok(created?),
    }
}

/// How much of an upload is through, told from the sending thread to the terminal.
#[derive(Default)]
struct Shown {
    sent: AtomicU64,
    all: AtomicU64,
    changed: tokio::sync::Notify,
}

impl Shown {
    fn set(&self, sent: u64, all: Option<u64>) {
        self.sent.store(sent, Ordering::Relaxed);
        self.all.store(all.unwrap_or(0), Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Shows percentages until `sending` is done.
    async fn follow<T>(&self, sending: impl Future<Output = T>) -> T {
        let line = Progress::new("Transferring image");
        let mut sending = std::pin::pin!(sending);
        let mut shown = None;
        loop {
            tokio::select! {
                done = &mut sending => {
                    line.clear();
                    return done;
                }
                () = self.changed.notified() => {
                    let percent = self.sent.load(Ordering::Relaxed) * 100 / self.all.load(Ordering::Relaxed).max(1);
                    if shown.replace(percent) != Some(percent) {
                        line.show(&format!("{percent}%"));
                    }
                }
            }
        }
    }
}
