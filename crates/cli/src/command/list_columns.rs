//! The columns of `list`.

use super::list::Entry;
use crate::error::CliError;
use crate::render::{Cell, Style, binary_size, decimal_size, minute, parse_size};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    /// One with a letter.
    Letter(char),
    /// A configuration key.
    Config { key: String, header: String, width: Option<usize> },
    /// A key of a device.
    Device { device: String, key: String, header: String, width: Option<usize> },
}

/// Letters, their headers, and whether the instance's state must be asked for.
const LETTERS: [(char, &str, bool); 23] = [
    ('4', "IPV4", true),
    ('6', "IPV6", true),
    ('a', "ARCHITECTURE", false),
    ('b', "STORAGE POOL", false),
    ('c', "CREATED AT", false),
    ('d', "DESCRIPTION", false),
    ('D', "DISK USAGE", true),
    ('e', "PROJECT", false),
    ('f', "BASE IMAGE", false),
    ('F', "BASE IMAGE", false),
    ('h', "HEALTH", true),
    ('l', "LAST USED AT", false),
    ('L', "LOCATION", false),
    ('m', "MEMORY USAGE", true),
    ('M', "MEMORY USAGE%", true),
    ('n', "NAME", false),
    ('N', "PROCESSES", true),
    ('p', "PID", true),
    ('P', "PROFILES", false),
    ('s', "STATE", false),
    ('S', "SNAPSHOTS", true),
    ('t', "TYPE", false),
    ('u', "CPU USAGE", true),
];

fn letter(column: char) -> Option<(char, &'static str, bool)> {
    LETTERS.iter().copied().find(|(letter, _, _)| *letter == column)
}

/// Reads columns: letters, and keys between commas.
pub(super) fn parse_columns(columns: &str) -> Result<Vec<Column>, CliError> {
    let mut parsed = Vec::new();
    for part in columns.split(',') {
        if part.contains(['.', ':']) {
            parsed.push(custom(part)?);
            continue;
        }
        for column in part.chars() {
            let known = letter(column).ok_or_else(|| CliError::UnknownColumn { column, columns: part.to_owned() })?;
            parsed.push(Column::Letter(known.0));
        }
    }
    Ok(parsed)
}

/// Reads `[config:|devices:]key[:name][:maxWidth]`.
fn custom(text: &str) -> Result<Column, CliError> {
    let bad = || CliError::BadColumn { column: text.to_owned() };
    let mut parts: Vec<&str> = text.split(':').collect();
    let of_device = match parts[0] {
        "config" | "devices" if parts.len() > 1 => parts.remove(0) == "devices",
        _ => false,
    };
    let [key, rest @ ..] = parts.as_slice() else { return Err(bad()) };
    let (name, width) = match rest {
        [] => ("", -1),
        [name] => (*name, -1),
        [name, width] => (*name, width.parse::<i64>().map_err(|_| bad())?),
        _ => return Err(bad()),
    };
    if key.is_empty() || width < -1 {
        return Err(bad());
    }
    let header = if name.is_empty() { key.replace('.', " ").to_uppercase() } else { name.to_owned() };
    let width = match width {
        -1 => None,
        0 => Some(header.chars().count()),
        width => usize::try_from(width).ok(),
    };
    if !of_device {
        return Ok(Column::Config { key: (*key).to_owned(), header, width });
    }
    let (device, key) = key.split_once('.').ok_or_else(bad)?;
    Ok(Column::Device { device: device.to_owned(), key: key.to_owned(), header, width })
}

impl Column {
    pub(super) fn needs_state(&self) -> bool {
        matches!(self, Column::Letter(column) if letter(*column).is_some_and(|(_, _, state)| state))
    }

    pub(super) fn header(&self) -> String {
        match self {
            Column::Letter(column) => letter(*column).map_or(String::new(), |(_, header, _)| header.to_owned()),
            Column::Config { header, .. } | Column::Device { header, .. } => header.clone(),
        }
    }

    pub(super) fn cell(&self, entry: &Entry) -> Cell {
        match self {
            Column::Letter('s') => Cell::from(entry.status.to_uppercase()).styled(state_style(&entry.status)),
            Column::Letter('h') => Cell::from(health(entry).to_owned()).styled(health_style(health(entry))),
            Column::Letter(column) => Cell::from(letter_text(*column, entry)),
            Column::Config { key, width, .. } => Cell::from(cut(entry.config().remove(key), *width)),
            Column::Device { device, key, width, .. } => {
                Cell::from(cut(entry.devices().remove(device).and_then(|mut device| device.remove(key)), *width))
            }
        }
    }
}

fn cut(text: Option<String>, width: Option<usize>) -> String {
    let text = text.unwrap_or_default();
    width.map_or(text.clone(), |width| text.chars().take(width).collect())
}

fn state_style(status: &str) -> Style {
    match status {
        "Running" | "Ready" => Style::Good,
        "Error" => Style::Bad,
        "Stopped" => Style::Plain,
        _ => Style::Busy,
    }
}

/// How the instance is, where its health is checked.
pub(super) fn health(entry: &Entry) -> &str {
    entry.state.as_ref().map_or("", |state| &state.health)
}

fn health_style(health: &str) -> Style {
    match health {
        "healthy" => Style::Good,
        "unhealthy" => Style::Bad,
        "" => Style::Plain,
        _ => Style::Busy,
    }
}

fn letter_text(column: char, entry: &Entry) -> String {
    let active = entry.state.as_ref().filter(|_| entry.is_active());
    match column {
        '4' => addresses(entry, "inet"),
        '6' => addresses(entry, "inet6"),
        'a' => entry.architecture.clone(),
        'b' => root_pool(entry),
        'c' => minute(entry.created_at),
        'd' => entry.description.clone(),
        'D' => disk_usage(entry),
        'e' => entry.project.clone(),
        'f' => base_image(entry).chars().take(12).collect(),
        'F' => base_image(entry),
        'l' => minute(entry.last_used_at),
        'L' => entry.location.clone(),
        'm' => active.filter(|state| state.memory.usage > 0).map_or(String::new(), |state| binary_size(state.memory.usage)),
        'M' => memory_share(entry),
        'n' => entry.name.clone(),
        'N' => active.map_or(String::new(), |state| state.processes.to_string()),
        'p' => active.filter(|state| state.pid > 0).map_or(String::new(), |state| state.pid.to_string()),
        'P' => entry.profiles.as_ref().map_or(String::new(), |profiles| profiles.join("\n")),
        'S' => entry.snapshots.as_ref().map_or(0, Vec::len).to_string(),
        't' => {
            let kind = if entry.kind.is_empty() { "container" } else { &entry.kind };
            let ephemeral = if entry.ephemeral { " (EPHEMERAL)" } else { "" };
            format!("{}{ephemeral}", kind.to_uppercase())
        }
        'u' => active.filter(|state| state.cpu.usage > 0).map_or(String::new(), |state| format!("{}s", state.cpu.usage / 1_000_000_000)),
        _ => String::new(),
    }
}

fn addresses(entry: &Entry, family: &str) -> String {
    if !entry.is_active() {
        return String::new();
    }
    let mut lines: Vec<_> = entry.addresses(family).iter().map(|(address, interface)| format!("{address} ({interface})")).collect();
    lines.sort_by(|a, b| b.cmp(a));
    lines.join("\n")
}

fn root_pool(entry: &Entry) -> String {
    let devices = entry.devices();
    let root = devices.values().find(|device| {
        let is = |key: &str, value: &str| device.get(key).is_some_and(|found| found == value);
        is("type", "disk") && is("path", "/")
    });
    root.and_then(|device| device.get("pool")).cloned().unwrap_or_default()
}

fn disk_usage(entry: &Entry) -> String {
    let disks = entry.state.as_ref().and_then(|state| state.disk.as_ref());
    let usage = disks.and_then(|disks| disks.get("root")).map_or(0, |disk| disk.usage);
    if usage > 0 { decimal_size(usage) } else { String::new() }
}

fn base_image(entry: &Entry) -> String {
    entry.config().remove("volatile.base_image").unwrap_or_default()
}

fn memory_share(entry: &Entry) -> String {
    let usage = entry.state.as_ref().filter(|_| entry.is_active()).map_or(0, |state| state.memory.usage);
    let limit = entry.config().get("limits.memory").and_then(|limit| parse_size(limit)).unwrap_or(0);
    if usage == 0 || limit == 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let share = usage as f64 / limit as f64 * 100.0;
    format!("{share:.1}%")
}
