//! `publish`.

use clap::Args;
use coffer_api::{ImageAlias, ImagesPost, ImagesPostSource, InstanceStatePut, StatusCode, Timestamp};

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
    /// When the image is deleted by itself, RFC 3339
    #[arg(long, value_name = "TIME")]
    expire: Option<Timestamp>,
    /// Stop a running instance meanwhile
    #[arg(short, long)]
    force: bool,
    /// Let untrusted clients read it
    #[arg(long)]
    public: bool,
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
            aliases: self.alias.into_iter().map(|name| ImageAlias { name, description: String::new() }).collect(),
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
        app.note(&format!("Instance published with fingerprint: {}", crate::render::clean(&fingerprint)))
    }
}
