//! The manual's page of configuration keys.

use std::fmt::Write;

use coffer_model::key::{Class, Key, Support, Value};
use coffer_model::{DeviceKind, keys};

const HEAD: &str = "\
# Configuration keys

This page is written by `cargo xtask gen` from the tables that the daemon itself checks against (`crates/model/src/keys.rs` and the files below `keys/`; for storage `crates/storage/src/config.rs`).

*Live* says whether a change takes effect on a running instance; otherwise it does at the next start. *Restricted* names what a
restricted project must allow for the key to be set there.
";

/// The tables, in the order a reader wants.
fn tables() -> Vec<(String, &'static [Key])> {
    let devices = DeviceKind::ALL.iter().map(|kind| (format!("Devices: {}", kind.name()), kind.table()));
    std::iter::once(("Instances and profiles".to_owned(), keys::INSTANCE))
        .chain(devices)
        .chain(coffer_storage::config::tables().into_iter().map(|(_, title, table)| (title, table)))
        .chain([("Server".to_owned(), keys::SERVER), ("Projects".to_owned(), keys::PROJECT)])
        .collect()
}

/// Writes the page.
#[must_use]
pub fn page() -> String {
    let mut text = HEAD.to_owned();
    for (title, table) in tables() {
        let _ = writeln!(text, "\n## {title}\n\n| key | value | default | live | restricted | |\n|---|---|---|---|---|---|");
        for key in table.iter().filter(|key| key.support == Support::Yes) {
            let live = if key.live { "yes" } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {live} | {} | {} |",
                key.name,
                value(key.value),
                default(key.default),
                class(key.class),
                cell(key.doc)
            );
        }
        refused(table, &mut text);
    }
    text
}

/// Keys that are known and refused stand in a table of their own: a reader who looks for one finds the reason.
fn refused(table: &[Key], text: &mut String) {
    let rows: Vec<_> =
        table.iter().filter_map(|key| if let Support::No(why) = key.support { Some((key.name, why)) } else { None }).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nRefused, each with its reason:\n\n| key | why |\n|---|---|");
    for (name, why) in rows {
        let _ = writeln!(text, "| `{name}` | {} |", cell(why));
    }
}

fn value(value: Value) -> String {
    match value {
        Value::Bool => "boolean".into(),
        Value::Int(least, most) if most == i64::MAX => format!("number from {least}"),
        Value::Int(least, most) => format!("number, {least} to {most}"),
        Value::Size => "size".into(),
        Value::SizeOrPercent => "size or percentage".into(),
        Value::Cpus => "number or set of CPUs".into(),
        Value::Numbers => "set of numbers".into(),
        Value::CpuAllowance => "percentage or time per period".into(),
        Value::ResourceLimit => "`N`, `SOFT:HARD` or `unlimited`".into(),
        Value::Modules => "names of kernel modules, separated by commas".into(),
        Value::SystemCalls => "names of system calls".into(),
        Value::Filesystems => "names of file systems, separated by commas".into(),
        Value::FilesystemPrograms => "`FILESYSTEM=PROGRAM`, separated by commas".into(),
        Value::IdMapEntries => "lines of kind, host ids, ids inside".into(),
        Value::ApparmorRules => "rules of an AppArmor profile, a line each".into(),
        Value::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Value::Id => "user or group id".into(),
        Value::Owner => "`UID:GID`".into(),
        Value::Mode => "octal permission bits".into(),
        Value::Hex => "four hexadecimal digits".into(),
        Value::IoRate => "size or `Niops`".into(),
        Value::BitRate => "bits a second, such as `10Mbit`".into(),
        Value::Expiry => "a time to keep".into(),
        Value::Schedule => "a schedule".into(),
        Value::SnapshotPattern => "a pattern for names".into(),
        Value::Words => "a command line".into(),
        Value::HealthTcp => "port, or address and port".into(),
        Value::HealthHttp => "URL".into(),
        Value::Depends => "names of instances, each with `:running`, `:healthy` or `:ready` if wanted".into(),
        Value::Line => "one line".into(),
        Value::Text => "text".into(),
    }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Free => "",
        Class::LowLevel => "`lowlevel`",
        Class::Nesting => "`nesting`",
        Class::Privilege => "`privilege`",
        Class::Interception => "`interception`",
    }
}

fn default(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// A text as a table's cell takes it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_on_the_page_once() {
        let page = page();
        for (title, table) in tables() {
            let start = page.find(&format!("## {title}\n")).unwrap();
            let section = &page[start + 3..];
            let section = &section[..section.find("\n## ").unwrap_or(section.len())];
            for key in table {
                assert_eq!(section.matches(&format!("| `{}` |", key.name)).count(), 1, "{title}: {}", key.name);
            }
        }
    }
}
