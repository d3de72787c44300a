//! `config template`: texts from which files of an instance are made when it starts.

use clap::Subcommand;

use crate::app::App;
use crate::editor::in_editor;
use crate::error::CliError;
use crate::render::{Format, Table, render_list};
use crate::target::Target;

/// File templates of an instance
#[derive(Debug, Subcommand)]
pub(crate) enum Template {
    /// List the templates
    #[command(visible_alias = "ls")]
    List {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show a template
    Show {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Template
        template: String,
    },
    /// Make an empty template, or one from standard input
    #[command(visible_alias = "add")]
    Create {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Template
        template: String,
    },
    /// Edit a template; text on standard input is taken as it is
    Edit {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Template
        template: String,
    },
    /// Delete a template
    #[command(visible_aliases = ["rm", "remove"])]
    Delete {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Template
        template: String,
    },
}

impl Template {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Template::List { instance, format } => {
                let names = app.client(&instance)?.instance_templates(named(&instance)?).await?;
                let text = render_list(format, &names, app.colour(), || {
                    let mut table = Table::new(["FILENAME"]);
                    names.iter().for_each(|name| table.row([name.clone()]));
                    table
                });
                app.print(&text)
            }
            Template::Show { instance, template } => {
                let text = app.client(&instance)?.instance_template(named(&instance)?, &template).await?;
                app.print(&String::from_utf8_lossy(&text))
            }
            Template::Create { instance, template } => {
                let text = app.piped_input()?.unwrap_or_default();
                Ok(app.client(&instance)?.put_instance_template(named(&instance)?, &template, text.into_bytes()).await?)
            }
            Template::Edit { instance, template } => edit(app, &instance, &template).await,
            Template::Delete { instance, template } => {
                Ok(app.client(&instance)?.delete_instance_template(named(&instance)?, &template).await?)
            }
        }
    }
}

async fn edit(app: &App, instance: &Target, template: &str) -> Result<(), CliError> {
    let (client, name) = (app.client(instance)?, named(instance)?);
    if let Some(text) = app.piped_input()? {
        return Ok(client.put_instance_template(name, template, text.into_bytes()).await?);
    }
    let now = client.instance_template(name, template).await?;
    let before = String::from_utf8_lossy(&now);
    let after = in_editor(&before)?;
    if after == before { Ok(()) } else { Ok(client.put_instance_template(name, template, after.into_bytes()).await?) }
}

fn named(instance: &Target) -> Result<&str, CliError> {
    instance.required("the instance's name")
}
