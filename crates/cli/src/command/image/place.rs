//! Images wherever they are: on a daemon, or on a server that only hands them out.

use std::collections::BTreeMap;

use coffer_api::{Image, ImageAlias, Timestamp};
use coffer_base::Architecture;
use coffer_client::Client;
use coffer_remote::{RemoteImage, Server, Wanted};

use super::resolve;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Where an image is, and what it says of itself.
pub(super) enum Place<'a> {
    /// On a daemon.
    Daemon {
        /// Its client.
        client: &'a Client,
        /// The image.
        image: Box<Image>,
    },
    /// On a server that only hands images out.
    Server {
        /// The image, as a daemon would show it.
        image: Box<Image>,
    },
}

impl Place<'_> {
    /// The image.
    pub(super) fn image(&self) -> &Image {
        match self {
            Place::Daemon { image, .. } | Place::Server { image } => image,
        }
    }
}

/// Finds an image by alias or the start of a fingerprint.
pub(super) async fn find<'a>(app: &'a App, target: &Target) -> Result<Place<'a>, CliError> {
    let name = target.required("the image")?;
    if let Some(server) = app.image_server(target)? {
        let image = server.find(name, host(), &Wanted::default()).await?;
        return Ok(Place::Server { image: Box::new(shown(&image)) });
    }
    let client = app.client(target)?;
    let fingerprint = resolve(client, name).await?;
    Ok(Place::Daemon { client, image: Box::new(client.image(&fingerprint).await?.value) })
}

/// All images of a server that only hands them out.
pub(super) async fn all(server: &Server) -> Result<Vec<Image>, CliError> {
    Ok(server.catalogue(&Wanted::default()).await?.images().iter().map(shown).collect())
}

fn host() -> Architecture {
    Architecture::of_kernel().unwrap_or(Architecture::X86_64)
}

/// An image as a daemon would show it.
fn shown(image: &RemoteImage) -> Image {
    let properties: BTreeMap<String, String> = image.properties.clone();
    Image {
        properties,
        public: true,
        expires_at: image.expires_at.map_or(Timestamp::EPOCH, Timestamp::from_unix_seconds),
        aliases: image.aliases.iter().map(|name| ImageAlias { name: name.clone(), description: name.clone() }).collect(),
        architecture: image.architecture.to_string(),
        filename: image.filename.clone(),
        fingerprint: image.fingerprint.clone(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        kind: image.kind.as_str().to_owned(),
        created_at: Timestamp::from_unix_seconds(image.created_at),
        uploaded_at: Timestamp::from_unix_seconds(image.created_at),
        ..Default::default()
    }
}
