//! `storage volume list`.

use clap::Args;
use coffer_api::StorageVolume;

use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, binary_size, chosen, render_list};
use crate::target::Target;

/// List the volumes of a pool
///
/// A filter is key=value, or the start of a name. All filters must hold.
#[derive(Debug, Args)]
#[command(
    after_help = "Columns:\n  c content type  L location  t type     U usage on disk\n  d description   n name      u used by\n  e project\n\nExamples:\n  coffer storage volume list default type=custom\n  coffer storage volume list default web -c nU"
)]
pub(crate) struct List {
    /// Pool
    #[arg(value_name = "[REMOTE:]POOL")]
    pool: Target,
    /// Filters
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Columns
    #[arg(short, long, value_name = "COLUMNS", default_value = "tndcu")]
    columns: String,
    /// Format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Volumes of all projects
    #[arg(long)]
    all_projects: bool,
}

/// The columns.
const COLUMNS: &[(char, &str)] = &[
    ('t', "TYPE"),
    ('n', "NAME"),
    ('d', "DESCRIPTION"),
    ('c', "CONTENT-TYPE"),
    ('u', "USED BY"),
    ('e', "PROJECT"),
    ('L', "LOCATION"),
    ('U', "USAGE"),
];

impl List {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let columns = if self.all_projects && !self.columns.contains('e') { format!("e{}", self.columns) } else { self.columns.clone() };
        let places = chosen(COLUMNS, &columns)?;
        let pool = self.pool.required("the pool's name")?;
        let client = app.client(&self.pool)?;
        let (properties, starts): (Vec<&String>, Vec<&String>) = self.filters.iter().partition(|filter| filter.contains('='));
        let mut volumes = client.storage_volumes(pool, &asked(&properties), self.all_projects).await?;
        volumes.retain(|volume| starts.iter().all(|start| volume.name.starts_with(start.as_str())));
        volumes.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        let mut rows = Vec::new();
        for volume in &volumes {
            let usage = if columns.contains('U') { usage(app, &self.pool, volume).await? } else { String::new() };
            rows.push(cells(volume, usage));
        }
        app.print(&render_list(self.format, &volumes, app.colour(), || {
            let mut table = Table::new(places.iter().map(|place| COLUMNS[*place].1));
            for row in &rows {
                table.row(places.iter().map(|place| row[*place].as_str()));
            }
            table
        }))
    }
}

/// The filter in the server's words.
fn asked(properties: &[&String]) -> String {
    let each = properties.iter().filter_map(|filter| filter.split_once('='));
    each.map(|(key, value)| format!("{key} eq {value:?}")).collect::<Vec<_>>().join(" and ")
}

fn cells(volume: &StorageVolume, usage: String) -> [String; COLUMNS.len()] {
    let kind = if volume.name.contains('/') { format!("{} (snapshot)", volume.kind) } else { volume.kind.clone() };
    let users = volume.used_by.len().to_string();
    let (name, description) = (volume.name.clone(), volume.description.clone());
    [kind, name, description, volume.content_type.clone(), users, volume.project.clone(), volume.location.clone(), usage]
}

/// What a volume takes on disk; empty where the pool cannot tell, and of snapshots.
async fn usage(app: &App, pool: &Target, volume: &StorageVolume) -> Result<String, CliError> {
    if volume.name.contains('/') {
        return Ok(String::new());
    }
    let client = app.client(pool)?.with_project(&volume.project);
    let state = client.storage_volume_state(pool.required("the pool's name")?, &volume.kind, &volume.name).await?;
    Ok(state.usage.map(|usage| binary_size(i64::try_from(usage.used).unwrap_or(i64::MAX))).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_asked_of_the_server() {
        let (one, two) = ("type=custom".to_owned(), "config.user.note=a b".to_owned());
        assert_eq!(asked(&[&one, &two]), r#"type eq "custom" and config.user.note eq "a b""#);
        assert_eq!(asked(&[]), "");
    }
}
