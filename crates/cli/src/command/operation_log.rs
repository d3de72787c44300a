//! `operation log`: what operations did.

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, minute, render_list};
use crate::target::Target;

/// What is searched for.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Remote
    #[arg(value_name = "REMOTE:")]
    remote: Option<Target>,
    /// Of this instance
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// Asked for by this user, or certificate's fingerprint
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// In this state: running, success, failure, cancelled
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Begun since then: 30m, 2h, 7d, 2026-11-23, 2026-11-23T18:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Begun before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many, the newest first
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Of all projects
    #[arg(long)]
    all_projects: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

impl Log {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let now = ZonedDateTime::now();
        let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, &now)).transpose();
        let mut filters = vec![("limit", self.limit.to_string())];
        let given = [("since", moment(&self.since)?), ("until", moment(&self.until)?)];
        filters.extend(given.into_iter().filter_map(|(key, time)| Some((key, time?.to_string()))));
        let given = [("instance", self.instance), ("user", self.user), ("status", self.status)];
        filters.extend(given.into_iter().filter_map(|(key, value)| Some((key, value?))));
        if self.all_projects {
            filters.push(("all-projects", "true".to_owned()));
        }
        let entries = app.client(&self.remote.unwrap_or_default())?.operation_log(&filters).await?;
        app.print(&render_list(self.format, &entries, app.colour(), || {
            let mut head = vec!["CREATED", "TOOK", "DESCRIPTION", "RESOURCES", "STATUS", "USER", "ERROR"];
            if self.all_projects {
                head.insert(0, "PROJECT");
            }
            let mut table = Table::new(head);
            for entry in &entries {
                let mut row = vec![
                    minute(entry.created_at),
                    took(entry),
                    entry.description.clone(),
                    resources(entry),
                    entry.status.to_uppercase(),
                    entry.requestor.as_ref().map(|who| who.username.clone()).unwrap_or_default(),
                    entry.err.clone(),
                ];
                if self.all_projects {
                    row.insert(0, entry.project.clone());
                }
                table.row(row.iter().map(String::as_str));
            }
            table
        }))
    }
}

/// How long an operation took; empty while it works.
fn took(entry: &coffer_api::OperationLogEntry) -> String {
    let (Some(begun), Some(ended)) = (entry.created_at.get(), entry.ended_at.get()) else { return String::new() };
    let took = ended.duration_since(begun);
    match took.as_millis() {
        milliseconds @ ..10_000 => format!("{milliseconds} ms"),
        milliseconds => format!("{} s", milliseconds / 1000),
    }
}

/// The things' last names, each once: an instance is listed by two kinds.
fn resources(entry: &coffer_api::OperationLogEntry) -> String {
    let mut names: Vec<&str> = Vec::new();
    for url in entry.resources.iter().flat_map(|kinds| kinds.values().flatten()) {
        let name = url.strip_prefix("/1.0/").and_then(|rest| rest.split_once('/')).map_or(url.as_str(), |(_, name)| name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// Reads a moment: how long ago, a day, or RFC 3339.
fn moment(text: &str, now: &ZonedDateTime) -> Result<Timestamp, CliError> {
    let wrong = || CliError::NotOfForm { name: text.to_owned(), form: "2h, 7d, 2026-11-23 or 2026-11-23T18:00:00Z" };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return date.to_zoned_datetime(now.time_zone().clone()).map(|time| time.timestamp()).map_err(|_| wrong());
    }
    let ago: Span = text.parse().map_err(|_| wrong())?;
    if ago.is_negative() {
        return Err(wrong());
    }
    now.with_time_zone(TimeZone::UTC).checked_sub(ago).map(|time| time.timestamp()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        let now: ZonedDateTime = "2026-11-23T18:00:00+02:00[+02:00]".parse().unwrap();
        assert_eq!(moment(text, &now).ok().map(|time| time.to_string()).as_deref(), expect, "{text}");
    }

    #[test]
    fn moments() {
        check("2h", Some("2026-11-23T14:00:00Z"));
        check("7d", Some("2026-11-16T16:00:00Z"));
        check("30m", Some("2026-11-23T15:30:00Z"));
        check("2026-11-23", Some("2026-11-22T22:00:00Z"));
        check("2026-11-23T18:00:00Z", Some("2026-11-23T18:00:00Z"));
        for text in ["", "yesterday", "-2h", "2x"] {
            check(text, None);
        }
    }
}
