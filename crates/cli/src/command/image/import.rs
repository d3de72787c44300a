//! `image import`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use coffer_api::ImageAliasesPost;
use coffer_client::ImageUpload;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::pair;
use crate::progress::Progress;
use crate::target::Target;

/// Import an image from files
///
/// Give one unified tarball, or the metadata tarball and then the root file system.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files, then perhaps REMOTE: and properties as key=value
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
        let (upload, target) = self.upload()?;
        let client = app.client(&target)?;
        let progress = Arc::new(Shown::default());
        let watched = progress.clone();
        let sending = client.upload_image(&upload, move |sent, all| watched.set(sent, all));
        let pending = if app.globals.quiet || !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            sending.await?
        } else {
            progress.follow(sending).await?
        };
        let done = app.finish(pending, "Importing the image").await?;
        let fingerprint = done.metadata_text("fingerprint").unwrap_or_default().to_owned();
        if fingerprint.len() != 64 || !fingerprint.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(CliError::Missing { what: "the fingerprint in the server's answer" });
        }
        app.note(&format!("Image imported with fingerprint: {fingerprint}"))?;
        for name in self.alias {
            replace_alias(client, name, &fingerprint).await?;
        }
        Ok(())
    }

    /// Sorts the arguments into files, remote and properties.
    fn upload(&self) -> Result<(ImageUpload, Target), CliError> {
        let mut upload = ImageUpload { public: self.public, ..Default::default() };
        let mut files = Vec::new();
        let mut target = Target::default();
        for argument in &self.arguments {
            if std::path::Path::new(argument).exists() {
                files.push(PathBuf::from(argument));
            } else if let Some(remote) = argument.strip_suffix(':') {
                remote.clone_into(&mut target.remote);
            } else if argument.contains('=') {
                let (key, value) = pair(argument)?;
                upload.properties.insert(key, value);
            } else if argument.contains("://") {
                return Err(CliError::Unsupported { what: "importing an image by URL" });
            } else {
                files.push(PathBuf::from(argument));
            }
        }
        let mut files = files.into_iter();
        upload.metadata = files.next().ok_or(CliError::Missing { what: "the image's file" })?;
        if upload.metadata.is_dir() {
            return Err(CliError::Unsupported { what: "importing an image from a directory" });
        }
        upload.rootfs = files.next();
        Ok((upload, target))
    }
}

/// Makes an alias, taking it from whatever image had it.
pub(super) async fn replace_alias(client: &coffer_client::Client, name: String, fingerprint: &str) -> Result<(), CliError> {
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
