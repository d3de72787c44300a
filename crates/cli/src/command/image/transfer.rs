//! `image copy`: images from one server to another.

use std::io::{self, Read};
use std::sync::mpsc;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use coffer_api::{ImageAlias, ImageAliasesPost, ImageExportPost, ImagesPost, ImagesPostSource};
use coffer_client::{Client, ClientError, Download, ImageDownload, Source};
use coffer_remote::Protocol;

use super::place::{self, Place};
use super::resolve;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Copy an image to another server
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Image
    #[arg(value_name = "[REMOTE:]IMAGE")]
    image: Target,
    /// Remote to copy to, followed by a colon
    #[arg(value_name = "REMOTE:")]
    target: Target,
    /// Alias of the copy; may be given several times
    #[arg(long)]
    alias: Vec<String>,
    /// Give the copy the image's aliases too
    #[arg(long)]
    copy_aliases: bool,
    /// Keep the copy up to date
    #[arg(long)]
    auto_update: bool,
    /// Let clients that are not trusted read the copy
    #[arg(long)]
    public: bool,
    /// Profile for instances made of the copy; may be given several times
    #[arg(short, long)]
    profile: Vec<String>,
    /// Project of the copy
    #[arg(long, value_name = "PROJECT")]
    target_project: Option<String>,
    /// How the image travels
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Look for a virtual machine's
    #[arg(long)]
    vm: bool,
}

/// How an image travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Mode {
    /// The target fetches it
    #[default]
    Pull,
    /// The source sends it
    Push,
    /// This command carries it
    Relay,
}

impl Copy {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        super::refuse_vm(self.vm)?;
        let target = app.client(&self.target)?;
        let target = self.target_project.as_ref().map_or_else(|| target.clone(), |project| target.with_project(project));
        if app.remotes().same(&self.image.remote, &self.target.remote)? && self.target_project.is_none() {
            return Err(CliError::SameRemote);
        }
        let registry = app.image_server(&self.image)?.is_some_and(|server| server.protocol() == Protocol::Oci);
        let found = if registry { Place::Server { image: Box::default() } } else { place::find(app, &self.image).await? };
        let aliases = self.aliases(&found);
        match (self.mode, &found) {
            (Mode::Push, Place::Server { .. }) => {
                return Err(CliError::Unsupported { what: "--mode=push from a server that only hands images out" });
            }
            (Mode::Push, Place::Daemon { client, image, .. }) => self.push(app, client, image, &target, aliases).await?,
            (Mode::Relay, Place::Daemon { client, image, .. }) => {
                let carried = relay(app, client, &image.fingerprint, &target, self.public).await?;
                for alias in &aliases {
                    let request = ImageAliasesPost { name: alias.name.clone(), target: carried.clone(), ..Default::default() };
                    target.create_image_alias(&request).await?;
                }
            }
            (Mode::Pull, _) | (Mode::Relay, Place::Server { .. }) => {
                let request = ImagesPost {
                    auto_update: self.auto_update,
                    public: self.public,
                    profiles: (!self.profile.is_empty()).then(|| self.profile.clone()),
                    aliases,
                    source: Some(source(app, &self.image).await?),
                    ..Default::default()
                };
                let pending = target.create_image(&request).await?;
                app.finish(pending, "Copying the image").await?;
            }
        }
        app.note("Image copied successfully!")
    }

    /// Has the source send the image: the target says what opens its door, and the source is told.
    async fn push(
        &self,
        app: &App,
        client: &Client,
        image: &coffer_api::Image,
        target: &Client,
        aliases: Vec<ImageAlias>,
    ) -> Result<(), CliError> {
        let announced = ImagesPost {
            public: self.public,
            aliases,
            properties: image.properties.clone(),
            source: Some(ImagesPostSource {
                kind: "image".into(),
                mode: "push".into(),
                fingerprint: image.fingerprint.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let (address, certificate) = reachable(app, &self.target.remote, target).await?;
        let secret = target.expect_image(&announced).await?;
        let request = ImageExportPost {
            target: address,
            certificate,
            secret,
            project: target.project().to_owned(),
            profiles: self.profile.clone(),
            ..Default::default()
        };
        let pending = client.push_image(&image.fingerprint, &request).await?;
        app.finish(pending, "Copying the image").await.map(drop)
    }

    fn aliases(&self, found: &Place<'_>) -> Vec<ImageAlias> {
        let own = self.alias.iter().map(|name| ImageAlias { name: name.clone(), ..Default::default() });
        let theirs = found.image().aliases.iter().filter(|alias| self.copy_aliases && !self.alias.contains(&alias.name)).cloned();
        own.chain(theirs).collect()
    }
}

/// What a daemon is told to fetch an image that is on another server.
pub(crate) async fn source(app: &App, image: &Target) -> Result<ImagesPostSource, CliError> {
    let name = image.required("the image")?;
    let source = ImagesPostSource { kind: "image".into(), mode: "pull".into(), ..Default::default() };
    if let Some(server) = app.image_server(image)? {
        let certificate = app.remotes().certificate(app.remotes().named(&image.remote)?.0)?;
        return Ok(ImagesPostSource {
            server: server.url().to_string(),
            protocol: server.protocol().to_string(),
            secret: app.remotes().secret(&image.remote)?,
            alias: name.to_owned(),
            certificate: certificate.map(|certificate| certificate.to_pem()).unwrap_or_default(),
            ..source
        });
    }
    let client = app.client(image)?;
    let fingerprint = resolve(client, name).await?;
    let (server, certificate) = reachable(app, &image.remote, client).await?;
    let public = client.image(&fingerprint).await?.value.public;
    let secret = if public { String::new() } else { client.image_secret(&fingerprint).await? };
    // A public alias can be followed; what is private is opened by its fingerprint and the secret.
    let followed = public && !fingerprint.starts_with(name);
    let (alias, fingerprint) = if followed { (name.to_owned(), String::new()) } else { (String::new(), fingerprint) };
    Ok(ImagesPostSource {
        server,
        protocol: "lxd".into(),
        certificate,
        alias,
        fingerprint,
        secret,
        project: client.project().to_owned(),
        ..source
    })
}

/// Where other daemons reach one, and its certificate.
async fn reachable(app: &App, remote: &str, client: &Client) -> Result<(String, String), CliError> {
    let (name, remote) = app.remotes().named(remote)?;
    let about = client.server().await?.value.environment;
    let server = match remote.addr.strip_prefix("https://") {
        Some(_) => remote.addr.clone(),
        None => match about.addresses.first() {
            Some(address) => format!("https://{address}"),
            None => return Err(CliError::NotReachable { name: name.to_owned() }),
        },
    };
    let pinned = app.remotes().certificate(name)?.map(|certificate| certificate.to_pem());
    Ok((server, if about.certificate.is_empty() { pinned.unwrap_or_default() } else { about.certificate }))
}

/// Carries an image: what one daemon hands out is what another takes, file or form.
async fn relay(app: &App, from: &Client, fingerprint: &str, to: &Client, public: bool) -> Result<String, CliError> {
    let ImageDownload { body, boundary, filename } = from.export_image(fingerprint).await?;
    let kind =
        boundary.map_or_else(|| "application/octet-stream".to_owned(), |boundary| format!("multipart/form-data; boundary={boundary}"));
    let (sender, receiver) = mpsc::sync_channel(4);
    let source = Source(Box::new(Carried { chunks: receiver.into(), left: Bytes::new() }));
    let (read, sent) = tokio::join!(carry(body, sender), to.upload_image_stream(&kind, &filename, public, source));
    let pending = sent?;
    read?;
    let done = app.finish(pending, "Copying the image").await?;
    let arrived = done.metadata_value("fingerprint").and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    if arrived != fingerprint {
        return Err(CliError::WrongFingerprint { expected: fingerprint.to_owned(), found: arrived });
    }
    Ok(arrived)
}

async fn carry(mut body: Download, sender: mpsc::SyncSender<Bytes>) -> Result<(), ClientError> {
    while let Some(chunk) = body.chunk().await? {
        let sender = sender.clone();
        // The other side may be slower; its thread must not hold up this one.
        let gone = tokio::task::spawn_blocking(move || sender.send(chunk).is_err()).await.unwrap_or(true);
        if gone {
            break;
        }
    }
    Ok(())
}

/// What was received and is to be sent.
struct Carried {
    chunks: std::sync::Mutex<mpsc::Receiver<Bytes>>,
    left: Bytes,
}

impl Read for Carried {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            let chunks = self.chunks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.left = chunks.recv().unwrap_or_default();
        }
        let count = self.left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.left.split_to(count));
        Ok(count)
    }
}
