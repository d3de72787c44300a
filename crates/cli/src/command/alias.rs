//! `alias`: the user's own words for commands.

use std::collections::BTreeMap;

use clap::Subcommand;

use crate::app::App;
use crate::editor::edit;
use crate::error::CliError;
use crate::render::{Format, Table, render_list, yaml};

/// Your own words for commands
///
/// What an alias stands for is put in its place, with the rest of the line behind it, or where @ARGS@ stands; @ARG1@, @ARG2@ …
/// are single words of the rest.
#[derive(Debug, Subcommand)]
pub(crate) enum Alias {
    /// Add an alias
    #[command(visible_alias = "create", after_help = "Example:\n  coffer alias add login 'exec @ARGS@ -- su -l'")]
    Add {
        /// Alias, of one word or more
        alias: String,
        /// What it stands for
        target: String,
    },
    /// Change all aliases in an editor
    Edit,
    /// List aliases
    #[command(visible_alias = "ls")]
    List {
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove an alias
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        /// Alias
        alias: String,
    },
    /// Rename an alias
    #[command(visible_alias = "mv")]
    Rename {
        /// Alias
        alias: String,
        /// New name
        name: String,
    },
    /// Show what an alias stands for
    Show {
        /// Alias
        alias: String,
    },
}

impl Alias {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let mut remotes = app.remotes().clone();
        let mut aliases = remotes.aliases();
        match self {
            Alias::Add { alias, target } => {
                free(&aliases, &alias)?;
                aliases.insert(alias, target);
                remotes.set_aliases(&aliases)
            }
            Alias::Edit => {
                let write = async |changed: BTreeMap<String, String>| app.remotes().clone().set_aliases(&changed);
                edit(app, &aliases, "Your aliases, each with what it stands for, such as\n  login: exec @ARGS@ -- su -l", write).await
            }
            Alias::List { format } => {
                let rows: Vec<BTreeMap<&str, &String>> =
                    aliases.iter().map(|(alias, target)| [("alias", alias), ("target", target)].into()).collect();
                app.print(&render_list(format, &rows, app.colour(), || {
                    let mut table = Table::new(["ALIAS", "TARGET"]);
                    for (alias, target) in &aliases {
                        table.row([alias.as_str(), target]);
                    }
                    table
                }))
            }
            Alias::Remove { alias } => {
                take(&mut aliases, &alias)?;
                remotes.set_aliases(&aliases)
            }
            Alias::Rename { alias, name } => {
                free(&aliases, &name)?;
                let target = take(&mut aliases, &alias)?;
                aliases.insert(name, target);
                remotes.set_aliases(&aliases)
            }
            Alias::Show { alias } => {
                let target = take(&mut aliases, &alias)?;
                app.print(&yaml(&BTreeMap::from([(alias, target)])))
            }
        }
    }
}

fn free(aliases: &BTreeMap<String, String>, alias: &str) -> Result<(), CliError> {
    if alias.trim().is_empty() {
        return Err(CliError::Missing { what: "the alias" });
    }
    if aliases.contains_key(alias) {
        return Err(CliError::AlreadyThere { object: "your configuration".into(), what: "alias", name: alias.to_owned() });
    }
    Ok(())
}

fn take(aliases: &mut BTreeMap<String, String>, alias: &str) -> Result<String, CliError> {
    let missing = || CliError::NoSuch { object: "your configuration".into(), what: "alias", name: alias.to_owned() };
    aliases.remove(alias).ok_or_else(missing)
}
