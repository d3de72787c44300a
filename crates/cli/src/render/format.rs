//! The formats in which lists are shown.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::text::hidden;
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
    let mut text = escape_hidden(serde_json::to_string(value).unwrap_or_default());
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
    escape_hidden(String::from_utf8_lossy(&bytes).into_owned())
}

/// Escapes what JSON allows as it is but a terminal might obey; only texts can hold it, so the value stays the same.
fn escape_hidden(text: String) -> String {
    let obeyed = |c: char| hidden(c) && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) { escaped.push_str(&format!("\\u{:04x}", u32::from(c))) } else { escaped.push(c) }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_cannot_steer_a_terminal_and_stays_the_same_value() {
        let text = "a\u{1b}]0;x\u{9b}2J\u{202e}é\n";
        let line = json_line(&[text]);
        assert_eq!(line, "[\"a\\u001b]0;x\\u009b2J\\u202eé\\n\"]\n");
        assert_eq!(serde_json::from_str::<Vec<String>>(&line).unwrap(), [text]);
        assert_eq!(json_tabbed(&serde_json::json!({ "a": 1 })), "{\n\t\"a\": 1\n}\n");
    }
}
