//! `publish`.

use clap::Args;
use coffer_api::{
    ImageAlias, ImageAliasesEntryPut, ImageAliasesPost, ImagesPost, ImagesPostSource, InstanceStatePut, StatusCode, Timestamp,
};
use coffer_client::Client;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::pairs;
use crate::target::Target;

/// Make an image of an instance or a snapshot
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Instance, or instance/snapshot
    #[arg(value_name = "[REMOTE:]INSTANCE[/SNAPSHOT]")]
    instance: Target,
    /// Perhaps REMOTE:, and properties as key=value
    #[arg(value_name = "KEY=VALUE")]
    properties: Vec<String>,
    /// Alias for the image; may be given several times
    #[arg(long)]
    alias: Vec<String>,
    /// Compressor: gzip, zstd, none ...
    #[arg(long, default_value = "", hide_default_value = true)]
    compression: String,
    /// When the image should no longer be used, RFC 3339
    #[arg(long, value_name = "TIME")]
    expire: Option<Timestamp>,
    /// Stop a running instance meanwhile
    #[arg(short, long)]
    force: bool,
    /// Let untrusted clients read it
    #[arg(long)]
    public: bool,
    /// Take aliases from the images that have them, which are deleted if they have no other
    #[arg(long)]
    reuse: bool,
}

impl Publish {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.instance)?;
        let name = self.instance.required("the instance's name")?;
        let (instance, snapshot) = self.instance.split();
        let mut restart = false;
        if snapshot.is_none() && self.force {
            restart = client.instance(instance).await?.value.status_code != StatusCode::STOPPED;
        }
        if restart {
            let stop = InstanceStatePut { action: "stop".into(), timeout: -1, force: true, stateful: false };
            app.finish(client.change_state(instance, &stop).await?, "").await?;
        }
        let properties: Vec<String> = self.properties.iter().filter(|argument| !argument.ends_with(':')).cloned().collect();
        let kind = if snapshot.is_some() { "snapshot" } else { "instance" };
        let request = ImagesPost {
            properties: pairs(&properties)?,
            public: self.public,
            expires_at: self.expire.unwrap_or_default(),
            source: Some(ImagesPostSource { kind: kind.into(), name: name.to_owned(), ..Default::default() }),
            compression_algorithm: self.compression,
            aliases: self
                .alias
                .iter()
                .filter(|_| !self.reuse)
                .map(|name| ImageAlias { name: name.clone(), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        let done = match client.create_image(&request).await {
            Ok(pending) => app.finish(pending, "Publishing instance").await,
            Err(error) => Err(error.into()),
        };
        if restart {
            let start = InstanceStatePut { action: "start".into(), timeout: -1, ..Default::default() };
            app.finish(client.change_state(instance, &start).await?, "").await?;
        }
        let fingerprint = done?.metadata_text("fingerprint").unwrap_or_default().to_owned();
        if self.reuse {
            take_over(app, client, &self.alias, &fingerprint).await?;
        }
        app.note(&format!("Instance published with fingerprint: {}", crate::render::clean(&fingerprint)))
    }
}

/// Gives a new image aliases that others may have, and deletes those that are left without one.
async fn take_over(app: &App, client: &Client, aliases: &[String], fingerprint: &str) -> Result<(), CliError> {
    let mut old = Vec::new();
    for name in aliases {
        match client.image_alias(name).await {
            Ok(read) => {
                let alias = ImageAliasesEntryPut { description: read.value.description, target: fingerprint.to_owned() };
                client.update_image_alias(name, &alias).await?;
                old.push(read.value.target);
            }
            Err(error) if error.is_not_found() => {
                let alias = ImageAliasesPost { target: fingerprint.to_owned(), name: name.clone(), ..Default::default() };
                client.create_image_alias(&alias).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    old.sort();
    old.dedup();
    for image in old.iter().filter(|image| *image != fingerprint) {
        if client.image(image).await?.value.aliases.is_empty() {
            app.finish(client.delete_image(image).await?, "").await?;
        }
    }
    Ok(())
}
