//! `monitor`: events as they happen.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use coffer_api::{Event, EventKind, Lifecycle, Logging, Operation};

use crate::app::App;
use crate::error::CliError;
use crate::render::{clean, yaml};
use crate::target::Target;

/// Follow what happens on a server
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coffer monitor --type=lifecycle\n  coffer monitor --pretty --type=logging --loglevel=info\n  coffer monitor --format=json --since=1764108000000000"
)]
pub(crate) struct Monitor {
    /// Remote
    #[arg(value_name = "REMOTE:")]
    remote: Option<Target>,
    /// Kind of events: operation, lifecycle, logging; all unless said
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Lines for people; short for --format=pretty
    #[arg(long)]
    pretty: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Shape::Yaml)]
    format: Shape,
    /// Least level of log lines shown with --pretty: debug, info, warning, error
    #[arg(long, value_name = "LEVEL")]
    loglevel: Option<String>,
    /// First tell what came after the event with this number, as far as the server has it
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// Events of all projects
    #[arg(long)]
    all_projects: bool,
}

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Yaml,
    Json,
    Pretty,
}

impl Monitor {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let shape = if self.pretty { Shape::Pretty } else { self.format };
        let unknown = |name: &String| CliError::NoSuch { object: "the API".into(), what: "kind of events", name: name.clone() };
        let kinds: Result<Vec<_>, _> = self.kinds.iter().map(|name| EventKind::from_text(name).ok_or_else(|| unknown(name))).collect();
        let least = self.loglevel.as_deref().map_or(0, level);
        let client = app.client(&self.remote.unwrap_or_default())?;
        let mut events = client.events_since(&kinds?, self.all_projects, self.since).await?;
        while let Some(text) = events.next_text().await? {
            let shown = match shape {
                Shape::Json => format!("{}\n", clean(&String::from_utf8_lossy(&text))),
                Shape::Yaml => {
                    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|cause| CliError::Json { cause })?;
                    format!("{}\n\n", yaml(&value))
                }
                Shape::Pretty => {
                    let event: Event = serde_json::from_slice(&text).map_err(|cause| CliError::Json { cause })?;
                    match line(&event, least) {
                        Some(line) => line,
                        None => continue,
                    }
                }
            };
            app.print(&shown)?;
        }
        Ok(())
    }
}

fn level(name: &str) -> usize {
    let levels: [&[&str]; 4] = [&["debug", "dbug", "trace"], &["info"], &["warning", "warn"], &["error", "eror"]];
    levels.iter().position(|names| names.contains(&name)).unwrap_or(levels.len())
}

/// Writes an event on one line; `None` for log lines below the wanted level.
fn line(event: &Event, least: usize) -> Option<String> {
    let (severity, message, fields): (String, String, Vec<(String, String)>) = match EventKind::from_text(&event.kind) {
        Some(EventKind::Logging) => {
            let logged: Logging = serde_json::from_value(event.metadata.clone()).ok()?;
            if level(&logged.level) < least {
                return None;
            }
            (logged.level, logged.message, logged.context.into_iter().collect())
        }
        Some(EventKind::Lifecycle) => {
            let happened: Lifecycle = serde_json::from_value(event.metadata.clone()).ok()?;
            let context = happened.context.unwrap_or_default().into_iter().map(|(key, value)| (key, value.to_string()));
            ("info".into(), format!("Action: {}, Source: {}", happened.action, happened.source), context.collect())
        }
        Some(EventKind::Operation) => {
            let operation: Operation = serde_json::from_value(event.metadata.clone()).ok()?;
            let message = format!("ID: {}, Class: {}, Description: {}", operation.id, operation.class.as_str(), operation.description);
            ("info".into(), message, vec![("Status".into(), operation.status), ("Err".into(), operation.err)])
        }
        None => ("info".into(), event.kind.clone(), vec![("metadata".into(), event.metadata.to_string())]),
    };
    let mut out = format!("{:<5} [{}] {}", severity.to_uppercase(), event.timestamp, clean(&message));
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let value = clean(value);
        let _ = if value.contains(' ') { write!(out, " {}={value:?}", clean(key)) } else { write!(out, " {}={value}", clean(key)) };
    }
    if !event.project.is_empty() && event.project != "default" {
        let _ = write!(out, " project={}", clean(&event.project));
    }
    out.push('\n');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &str, least: &str, expected: Option<&str>) {
        let event: Event = serde_json::from_str(event).unwrap();
        assert_eq!(line(&event, level(least)).as_deref(), expected);
    }

    #[test]
    fn events_on_one_line() {
        let log = r#"{"type":"logging","timestamp":"2026-11-23T18:56:20Z","metadata":{"message":"made\u001b[1m","level":"info","context":{"a":"b c"}}}"#;
        check(log, "info", Some("INFO  [2026-11-23T18:56:20Z] made[1m a=\"b c\"\n"));
        check(log, "error", None);
        check(
            r#"{"type":"lifecycle","timestamp":"2026-11-23T18:56:20Z","project":"p","metadata":{"action":"instance-started","source":"/1.0/instances/c"}}"#,
            "debug",
            Some("INFO  [2026-11-23T18:56:20Z] Action: instance-started, Source: /1.0/instances/c project=p\n"),
        );
    }
}
