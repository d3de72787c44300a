//! `operation`: work in the background.

use clap::Subcommand;

use super::operation_log::Log;
use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, minute, render_list, yaml, yes_no};
use crate::target::Target;

/// Operations: work that goes on in the background
#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Cancel an operation
    #[command(visible_aliases = ["cancel", "rm"], alias = "remove")]
    Delete {
        /// Operation
        #[arg(value_name = "[REMOTE:]OPERATION")]
        operation: Target,
    },
    /// List operations
    #[command(visible_alias = "ls")]
    List {
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
        /// Operations of all projects
        #[arg(long)]
        all_projects: bool,
    },
    /// Search what operations did: who, what, when, and how it ended
    #[command(
        after_help = "Examples:\n  coffer operation log --instance web --since 2h\n  coffer operation log --status failure --all-projects"
    )]
    Log(Log),
    /// Show an operation
    Show {
        /// Operation
        #[arg(value_name = "[REMOTE:]OPERATION")]
        operation: Target,
    },
}

impl Operation {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Operation::Delete { operation } => {
                app.client(&operation)?.delete_operation(operation.required("the operation")?).await?;
                app.note(&format!("Operation {} deleted", operation.name))
            }
            Operation::Log(log) => log.run(app).await,
            Operation::Show { operation } => {
                let mut read = app.client(&operation)?.operation(operation.required("the operation")?).await?;
                // Go knows no difference between an empty map and none, and so shows none as empty.
                read.metadata.get_or_insert_default();
                read.resources.get_or_insert_default();
                app.print(&yaml(&read))
            }
            Operation::List { remote, format, all_projects } => {
                let client = app.client(&remote.unwrap_or_default())?;
                let by_status = if all_projects {
                    let path = coffer_client::ApiPath::new("/1.0/operations").query("recursion", "1").query("all-projects", "true");
                    client.get(path).await?
                } else {
                    client.operations().await?
                };
                let operations: Vec<coffer_api::Operation> = by_status.into_values().flatten().collect();
                app.print(&render_list(format, &operations, app.colour(), || {
                    let mut table = Table::new(["ID", "TYPE", "DESCRIPTION", "STATUS", "CANCELABLE", "CREATED"]);
                    for operation in &operations {
                        table.row([
                            operation.id.as_str(),
                            &operation.class.as_str().to_uppercase(),
                            &operation.description,
                            &operation.status.to_uppercase(),
                            yes_no(operation.may_cancel),
                            &minute(operation.created_at),
                        ]);
                    }
                    table.sorted()
                }))
            }
        }
    }
}
