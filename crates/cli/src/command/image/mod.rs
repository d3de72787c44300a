//! `image`: images.

mod alias;
mod build;
mod export;
mod import;
mod info;
mod list;
mod place;
mod serve;
pub(crate) mod transfer;

use clap::Subcommand;
use coffer_api::ImagePut;
use coffer_client::{Client, ClientError};

use crate::app::App;
use crate::editor;
use crate::error::CliError;
use crate::render::{clean_lines, yaml};
use crate::target::Target;

/// Images, from which instances are made
///
/// An image is named by an alias, by its fingerprint, or by the start of its fingerprint.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    #[command(subcommand)]
    Alias(alias::Alias),
    Build(Box<build::Build>),
    #[command(visible_alias = "cp")]
    Copy(transfer::Copy),
    /// Delete images
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Images
        #[arg(value_name = "[REMOTE:]IMAGE", required = true)]
        images: Vec<Target>,
    },
    /// Edit the properties of an image; YAML on standard input is taken as it is
    Edit {
        /// Image
        #[arg(value_name = "[REMOTE:]IMAGE")]
        image: Target,
    },
    Export(export::Export),
    /// Print one property of an image
    GetProperty {
        /// Image
        #[arg(value_name = "[REMOTE:]IMAGE")]
        image: Target,
        /// Property
        key: String,
    },
    Import(import::Import),
    /// Show facts about an image
    Info {
        /// Image
        #[arg(value_name = "[REMOTE:]IMAGE")]
        image: Target,
        /// Look for a virtual machine's
        #[arg(long)]
        vm: bool,
    },
    List(list::List),
    /// Fetch images anew from where they came
    Refresh {
        /// Images
        #[arg(value_name = "[REMOTE:]IMAGE", required = true)]
        images: Vec<Target>,
    },
    Serve(serve::Serve),
    /// Set a property of an image
    SetProperty {
        /// Image
        #[arg(value_name = "[REMOTE:]IMAGE")]
        image: Target,
        /// Property
        key: String,
        /// Value
        value: String,
    },
    /// Show the properties of an image
    Show {
        /// Image
        #[arg(value_name = "[REMOTE:]IMAGE")]
        image: Target,
        /// Look for a virtual machine's
        #[arg(long)]
        vm: bool,
    },
    /// Unset a property of an image
    UnsetProperty {
        /// Image
        #[arg(value_name = "[REMOTE:]IMAGE")]
        image: Target,
        /// Property
        key: String,
    },
}

/// Refuses to look for the image of a virtual machine.
fn refuse_vm(wanted: bool) -> Result<(), CliError> {
    if wanted { Err(CliError::Unsupported { what: "an image of a virtual machine" }) } else { Ok(()) }
}

impl Image {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Image::Alias(command) => command.run(app).await,
            Image::Build(command) => command.run(app).await,
            Image::Copy(command) => command.run(app).await,
            Image::Delete { images } => {
                for image in images {
                    let (client, fingerprint) = find(app, &image).await?;
                    app.finish(client.delete_image(&fingerprint).await?, "").await?;
                }
                Ok(())
            }
            Image::Refresh { images } => {
                for image in images {
                    let (client, fingerprint) = find(app, &image).await?;
                    let done = app.finish(client.refresh_image(&fingerprint).await?, "Refreshing the image").await?;
                    let refreshed = done.metadata_value("refreshed").and_then(|value| value.as_bool()).unwrap_or(false);
                    app.note(if refreshed { "Image refreshed successfully!" } else { "Image already up to date." })?;
                }
                Ok(())
            }
            Image::Edit { image } => {
                let (client, fingerprint) = find(app, &image).await?;
                let read = client.image(&fingerprint).await?;
                let help = "The properties of an image, as YAML.";
                editor::edit(app, &read.value.writable(), help, async |put: ImagePut| {
                    Ok(client.update_image(&fingerprint, &put, &read.etag).await?)
                })
                .await
            }
            Image::Export(command) => command.run(app).await,
            Image::Import(command) => command.run(app).await,
            Image::List(command) => command.run(app).await,
            Image::Serve(command) => command.run(app).await,
            Image::Info { vm: true, .. } | Image::Show { vm: true, .. } => refuse_vm(true),
            Image::Info { image, .. } => app.print(&info::text(place::find(app, &image).await?.image())),
            Image::Show { image, .. } => app.print(&yaml(&place::find(app, &image).await?.image().writable())),
            Image::GetProperty { image, key } => {
                let value = place::find(app, &image).await?.image().properties.get(&key).cloned();
                let value = value.ok_or_else(|| CliError::NoSuch { object: image.name, what: "property", name: key })?;
                app.print(&format!("{}\n", clean_lines(&value)))
            }
            Image::SetProperty { image, key, value } => {
                change(app, &image, |put| {
                    put.properties.insert(key, value);
                    Ok(())
                })
                .await
            }
            Image::UnsetProperty { image, key } => {
                let missing = CliError::NoSuch { object: image.name.clone(), what: "property", name: key.clone() };
                change(app, &image, |put| put.properties.remove(&key).map(drop).ok_or(missing)).await
            }
        }
    }
}

async fn change(app: &App, image: &Target, change: impl FnOnce(&mut ImagePut) -> Result<(), CliError>) -> Result<(), CliError> {
    let (client, fingerprint) = find(app, image).await?;
    let read = client.image(&fingerprint).await?;
    let mut put = read.value.writable();
    change(&mut put)?;
    Ok(client.update_image(&fingerprint, &put, &read.etag).await?)
}

/// Finds the server and the fingerprint, or the start of one, of an image.
async fn find<'a>(app: &'a App, image: &Target) -> Result<(&'a Client, String), CliError> {
    let client = match app.client(image) {
        Err(CliError::ImagesOnly { name }) => return Err(CliError::ReadOnly { name }),
        other => other?,
    };
    let name = image.required("the image")?;
    let fingerprint = by_alias(client, name).await?.unwrap_or_else(|| name.to_owned());
    Ok((client, fingerprint))
}

async fn by_alias(client: &Client, name: &str) -> Result<Option<String>, ClientError> {
    match client.image_alias(name).await {
        Ok(alias) => Ok(Some(alias.value.target)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finds the full fingerprint of an image by alias or the start of a fingerprint.
pub(super) async fn resolve(client: &Client, name: &str) -> Result<String, CliError> {
    if let Some(fingerprint) = by_alias(client, name).await? {
        return Ok(fingerprint);
    }
    Ok(client.image(name).await?.value.fingerprint)
}
