//! `image list`.

use clap::Args;
use coffer_api::Image;
use coffer_base::Architecture;

use super::place;
use crate::app::App;
use crate::error::CliError;
use crate::render::{Cell, Format, Table, long_time, mebibytes, render_list};
use crate::target::leading_remote;

/// List images
///
/// A filter is key=value (a property), an architecture, a part of an alias or the start of a fingerprint. All filters must hold.
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "\
Columns:
  l shortest alias    p public         s size
  L all aliases       d description    u upload date
  f fingerprint       a architecture   t type
  F whole fingerprint"
)]
pub(crate) struct List {
    /// Filters; the first may be a remote followed by a colon
    #[arg(value_name = "[REMOTE:] FILTER")]
    filters: Vec<String>,
    /// Columns
    #[arg(short, long, default_value = "lfpdatsu")]
    columns: String,
    /// Format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

impl List {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let (target, filters) = leading_remote(&self.filters);
        let columns: Vec<char> = self.columns.chars().filter(|column| *column != ',').collect();
        if let Some(column) = columns.iter().find(|column| header(**column).is_none()) {
            return Err(CliError::UnknownColumn { column: *column, columns: self.columns });
        }
        let mut images = match app.image_server(&target)? {
            Some(server) => place::all(&server).await?,
            None => app.client(&target)?.images("").await?,
        };
        images.retain(|image| filters.iter().all(|filter| fits(image, filter)));
        app.print(&render_list(self.format, &images, app.colour(), || table(&columns, &images)))
    }
}

fn table(columns: &[char], images: &[Image]) -> Table {
    let mut table = Table::new(columns.iter().filter_map(|column| header(*column)));
    for image in images {
        table.row(columns.iter().map(|column| cell(*column, image)));
    }
    table.sorted()
}

fn header(column: char) -> Option<&'static str> {
    Some(match column {
        'l' => "ALIAS",
        'L' => "ALIASES",
        'f' | 'F' => "FINGERPRINT",
        'p' => "PUBLIC",
        'd' => "DESCRIPTION",
        'a' => "ARCHITECTURE",
        's' => "SIZE",
        'u' => "UPLOAD DATE",
        't' => "TYPE",
        _ => return None,
    })
}

fn cell(column: char, image: &Image) -> Cell {
    match column {
        'l' => shortest_alias(image).into(),
        'L' => image.aliases.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>().join("\n").into(),
        'f' => image.fingerprint.chars().take(12).collect::<String>().into(),
        'F' => image.fingerprint.as_str().into(),
        'p' => if image.public { "yes" } else { "no" }.into(),
        'd' => image.properties.get("description").map_or("", String::as_str).into(),
        'a' => image.architecture.as_str().into(),
        's' => mebibytes(image.size).into(),
        'u' => long_time(image.uploaded_at).into(),
        't' => image.kind.to_uppercase().into(),
        _ => Cell::default(),
    }
}

fn shortest_alias(image: &Image) -> String {
    let shortest = image.aliases.iter().map(|alias| alias.name.as_str()).min_by_key(|name| name.len()).unwrap_or_default();
    match image.aliases.len() {
        0 | 1 => shortest.to_owned(),
        several => format!("{shortest} ({} more)", several - 1),
    }
}

fn fits(image: &Image, filter: &str) -> bool {
    match filter.split_once('=') {
        Some((key, value)) => {
            let found = match key {
                "architecture" => Some(image.architecture.as_str()),
                "type" => Some(image.kind.as_str()),
                _ => None,
            };
            let property = image.properties.get(key).map(String::as_str);
            [found, property].into_iter().flatten().any(|found| found.eq_ignore_ascii_case(value))
        }
        None => {
            let in_alias = image.aliases.iter().any(|alias| alias.name.contains(filter));
            let its_architecture = filter.parse::<Architecture>().is_ok_and(|wanted| image.architecture == wanted.as_str());
            in_alias || its_architecture || image.fingerprint.starts_with(filter)
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn images_in_a_table() {
        let images: Vec<Image> = serde_json::from_str(
            r#"[{"aliases":[{"name":"debian/12"},{"name":"deb"}],"fingerprint":"29881c4266fcd3c98d52ec56","architecture":"x86_64",
            "properties":{"description":"Debian bookworm","os":"Debian"},"type":"container","size":71094556}]"#,
        )
        .unwrap();
        assert!(fits(&images[0], "os=debian") && fits(&images[0], "bian") && fits(&images[0], "2988") && !fits(&images[0], "os=x"));
        expect![[r"
            +--------------+--------------+--------+-----------------+--------------+-----------+---------+
            |    ALIAS     | FINGERPRINT  | PUBLIC |   DESCRIPTION   | ARCHITECTURE |   TYPE    |  SIZE   |
            +--------------+--------------+--------+-----------------+--------------+-----------+---------+
            | deb (1 more) | 29881c4266fc | no     | Debian bookworm | x86_64       | CONTAINER | 67.80MB |
            +--------------+--------------+--------+-----------------+--------------+-----------+---------+
        "]]
        .assert_eq(&table(&['l', 'f', 'p', 'd', 'a', 't', 's'], &images).bordered(false));
    }
}
