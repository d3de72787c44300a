//! `warning`: what an administrator should look at.

use clap::Subcommand;

use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, chosen, long_time, render_list, yaml};
use crate::target::Target;

/// Warnings: what an administrator should look at
#[derive(Debug, Subcommand)]
pub(crate) enum Warning {
    /// Mark a warning as seen
    #[command(visible_alias = "ack")]
    Acknowledge {
        /// Warning
        #[arg(value_name = "[REMOTE:]UUID")]
        warning: Target,
    },
    /// Delete a warning, or all
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Warning
        #[arg(value_name = "[REMOTE:]UUID", required_unless_present = "all")]
        warning: Option<Target>,
        /// All warnings
        #[arg(short, long)]
        all: bool,
    },
    /// List warnings that are new
    #[command(
        visible_alias = "ls",
        after_help = "Columns:\n  c count     L location  s status    u UUID\n  l last seen p project   S severity  t type"
    )]
    List {
        /// Columns
        #[arg(short, long, value_name = "COLUMNS", default_value = "utsScpl")]
        columns: String,
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
        /// Also those that were seen or are over
        #[arg(short, long)]
        all: bool,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show a warning
    Show {
        /// Warning
        #[arg(value_name = "[REMOTE:]UUID")]
        warning: Target,
    },
}

impl Warning {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Warning::Acknowledge { warning } => {
                Ok(app.client(&warning)?.update_warning(warning.required("the warning")?, "acknowledged").await?)
            }
            Warning::Delete { warning, .. } => {
                let target = warning.unwrap_or_default();
                let client = app.client(&target)?;
                if !target.name.is_empty() {
                    return Ok(client.delete_warning(&target.name).await?);
                }
                for warning in client.warnings().await? {
                    client.delete_warning(&warning.uuid).await?;
                }
                Ok(())
            }
            Warning::Show { warning } => app.print(&yaml(&app.client(&warning)?.warning(warning.required("the warning")?).await?.value)),
            Warning::List { remote, all, format, columns } => {
                const COLUMNS: &[(char, &str)] = &[
                    ('u', "UUID"),
                    ('t', "TYPE"),
                    ('s', "STATUS"),
                    ('S', "SEVERITY"),
                    ('c', "COUNT"),
                    ('p', "PROJECT"),
                    ('l', "LAST SEEN"),
                    ('L', "LOCATION"),
                ];
                let places = chosen(COLUMNS, &columns)?;
                let mut warnings = app.client(&remote.unwrap_or_default())?.warnings().await?;
                warnings.retain(|warning| all || warning.status == "new");
                app.print(&render_list(format, &warnings, app.colour(), || {
                    let mut table = Table::new(places.iter().map(|place| COLUMNS[*place].1));
                    for warning in &warnings {
                        let cells = [
                            warning.uuid.clone(),
                            warning.kind.clone(),
                            warning.status.to_uppercase(),
                            warning.severity.to_uppercase(),
                            warning.count.to_string(),
                            warning.project.clone(),
                            long_time(warning.last_seen_at),
                            warning.location.clone(),
                        ];
                        table.row(places.iter().map(|place| cells[*place].clone()));
                    }
                    table
                }))
            }
        }
    }
}
