//! The formats in which lists are shown.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::{Table, yaml};

/// How a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table with lines.
    #[default]
    Table,
    /// Comma-separated values without a header.
    Csv,
    /// The objects of the API as JSON.
    Json,
    /// The objects of the API as YAML.
    Yaml,
    /// A table without lines.
    Compact,
}

/// Renders a list: `table` for formats with columns, `objects` for the others.
pub(crate) fn render_list<T: Serialize>(format: Format, objects: &[T], colour: bool, table: impl FnOnce() -> Table) -> String {
    match format {
        Format::Table => table().bordered(colour),
        Format::Compact => table().compact(colour),
        Format::Csv => table().csv(),
        Format::Json => json_line(&objects),
        Format::Yaml => yaml(&objects),
    }
}

/// Writes a value as one line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes a value as JSON indented by tabs.
pub(crate) fn json_tabbed<T: Serialize>(value: &T) -> String {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"\t"));
    // Writing to memory what was just read from JSON does not fail.
    let _ = value.serialize(&mut writer);
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}
