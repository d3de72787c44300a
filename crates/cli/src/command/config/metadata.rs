//! `config metadata`: what an instance keeps of its image.

use clap::Subcommand;
use coffer_api::ImageMetadata;

use crate::app::App;
use crate::error::CliError;
use crate::render::yaml;
use crate::target::Target;

/// Image metadata kept with an instance
#[derive(Debug, Subcommand)]
pub(crate) enum Metadata {
    /// Show the metadata
    Show {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
    },
    /// Edit the metadata; YAML on standard input is taken as it is
    Edit {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
    },
}

const HELP: &str = "\
Metadata of an instance, as YAML.

Its templates are written into the instance when it starts:

templates:
  /etc/hosts:
    when: [create, copy, rename]
    create_only: false
    template: hosts.tpl
    properties: {}";

impl Metadata {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Metadata::Show { instance } => {
                let mut read = app.client(&instance)?.instance_metadata(instance.required("the instance's name")?).await?.value;
                read.templates.get_or_insert_default();
                app.print(&yaml(&read))
            }
            Metadata::Edit { instance } => {
                let client = app.client(&instance)?;
                let name = instance.required("the instance's name")?;
                let mut read = client.instance_metadata(name).await?;
                read.value.templates.get_or_insert_default();
                let apply = async |new: ImageMetadata| Ok(client.update_instance_metadata(name, &new, &read.etag).await?);
                crate::editor::edit(app, &read.value, HELP, apply).await
            }
        }
    }
}
