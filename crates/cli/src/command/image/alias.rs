//! `image alias`.

use clap::Subcommand;
use coffer_api::{Image, ImageAlias, ImageAliasesEntry, ImageAliasesPost};

use super::place;
use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, render_list};
use crate::target::{Target, leading_remote};

/// Aliases of images
#[derive(Debug, Subcommand)]
pub(crate) enum Alias {
    /// Make an alias
    #[command(alias = "add")]
    Create {
        /// Alias
        #[arg(value_name = "[REMOTE:]ALIAS")]
        alias: Target,
        /// Fingerprint of the image
        fingerprint: String,
    },
    /// Delete an alias
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Alias
        #[arg(value_name = "[REMOTE:]ALIAS")]
        alias: Target,
    },
    /// List aliases
    #[command(visible_alias = "ls")]
    List {
        /// Parts of an alias or starts of a fingerprint; the first may be a remote followed by a colon
        #[arg(value_name = "[REMOTE:] FILTER")]
        filters: Vec<String>,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Rename an alias
    #[command(visible_alias = "mv")]
    Rename {
        /// Alias
        #[arg(value_name = "[REMOTE:]ALIAS")]
        alias: Target,
        /// New alias
        new_name: String,
    },
}

impl Alias {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Alias::Create { alias, fingerprint } => {
                let name = alias.required("the alias")?.to_owned();
                let request = ImageAliasesPost { name, target: fingerprint, ..Default::default() };
                Ok(app.client(&alias)?.create_image_alias(&request).await?)
            }
            Alias::Delete { alias } => Ok(app.client(&alias)?.delete_image_alias(alias.required("the alias")?).await?),
            Alias::Rename { alias, new_name } => {
                Ok(app.client(&alias)?.rename_image_alias(alias.required("the alias")?, &new_name).await?)
            }
            Alias::List { filters, format } => {
                let (target, filters) = leading_remote(&filters);
                let mut aliases = match app.image_server(&target)? {
                    Some(server) => place::all(&server).await?.into_iter().flat_map(aliases_of).collect(),
                    None => app.client(&target)?.image_aliases().await?,
                };
                let fits = |name: &str, target: &str| filters.iter().all(|filter| name.contains(filter) || target.starts_with(filter));
                aliases.retain(|alias| fits(&alias.name, &alias.target));
                aliases.sort_by(|a, b| a.name.cmp(&b.name));
                app.print(&render_list(format, &aliases, app.colour(), || {
                    let mut table = Table::new(["ALIAS", "FINGERPRINT", "TYPE", "DESCRIPTION"]);
                    for alias in &aliases {
                        let fingerprint: String = alias.target.chars().take(12).collect();
                        table.row([&alias.name, &fingerprint, &alias.kind.to_uppercase(), &alias.description]);
                    }
                    table.sorted()
                }))
            }
        }
    }
}

/// The aliases of an image as entries of their own.
fn aliases_of(image: Image) -> Vec<ImageAliasesEntry> {
    let Image { fingerprint, kind, aliases, .. } = image;
    let entry =
        |alias: ImageAlias| ImageAliasesEntry { name: alias.name, target: fingerprint.clone(), kind: kind.clone(), ..Default::default() };
    aliases.into_iter().map(entry).collect()
}
