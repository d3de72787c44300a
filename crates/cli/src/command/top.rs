//! `top`: what running instances use, refreshed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::Args;
use coffer_api::{InstanceStateCpu, InstanceStateDisk, InstanceStateMemory, StatusCode};
use coffer_client::Client;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, binary_size, chosen, natural_cmp, render_list};
use crate::target::Target;
use crate::terminal;

const COLUMNS: [(char, &str); 8] =
    [('e', "PROJECT"), ('n', "NAME"), ('p', "CPU%"), ('u', "CPU TIME"), ('m', "MEMORY"), ('w', "SWAP"), ('d', "DISK"), ('N', "PROCESSES")];

/// Show what running instances use, the busiest first
///
/// On a terminal the table is drawn anew every few seconds until Ctrl-C. Elsewhere, and in other formats, it is shown once:
/// CPU% is then that of the time between two looks, as far apart as --refresh says. 100 % is one processor.
#[derive(Debug, Args)]
#[command(after_help = "\
Columns:
  d root disk usage   m memory usage   p CPU usage in %   w swap usage
  e project           n name           u CPU time
  N processes

Examples:
  coffer top
  coffer top --all-projects -c enpm --refresh 5
  coffer top -f json --refresh 1")]
pub(crate) struct Top {
    /// Remote
    #[arg(value_name = "REMOTE:")]
    remote: Option<Target>,
    /// Columns
    #[arg(short, long, value_name = "COLUMNS", default_value = "npumdN")]
    columns: String,
    /// Format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    refresh: u64,
    /// Instances of all projects
    #[arg(long)]
    all_projects: bool,
}

/// What is read of an instance; the rest is skipped unread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: String,
    project: String,
    status_code: StatusCode,
    state: Option<EntryState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EntryState {
    processes: i64,
    cpu: InstanceStateCpu,
    memory: InstanceStateMemory,
    disk: Option<BTreeMap<String, InstanceStateDisk>>,
}

/// What all instances had used at a moment.
struct Look {
    at: Instant,
    entries: Vec<Entry>,
}

/// What an instance uses.
#[derive(Debug, Serialize)]
struct Usage {
    project: String,
    name: String,
    /// Share of one processor's time since the look before; none at the first look.
    cpu_percent: Option<f64>,
    cpu_seconds: f64,
    memory_bytes: i64,
    swap_bytes: i64,
    /// None where the pool keeps no count.
    disk_bytes: Option<i64>,
    processes: i64,
}

impl Top {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.remote.clone().unwrap_or_default())?;
        let letters = if self.all_projects && !self.columns.contains('e') { format!("e{}", self.columns) } else { self.columns.clone() };
        let columns = chosen(&COLUMNS, &letters)?;
        let pause = Duration::from_secs(self.refresh);
        let follows = self.format == Format::Table && terminal::is_interactive();
        let mut before = self.look(client).await?;
        if follows {
            app.print(&screen(&table(&columns, &usages(None, &before)).bordered(app.colour()), terminal::size().1))?;
        }
        loop {
            tokio::time::sleep(pause).await;
            let now = self.look(client).await?;
            let usages = usages(Some(&before), &now);
            if !follows {
                return app.print(&render_list(self.format, &usages, app.colour(), || table(&columns, &usages)));
            }
            app.print(&screen(&table(&columns, &usages).bordered(app.colour()), terminal::size().1))?;
            before = now;
        }
    }

    async fn look(&self, client: &Client) -> Result<Look, CliError> {
        let entries = client.instances(2, "", self.all_projects).await?;
        Ok(Look { at: Instant::now(), entries })
    }
}

/// What the running instances use now, the busiest first.
fn usages(before: Option<&Look>, now: &Look) -> Vec<Usage> {
    let used = |look: &Look, entry: &Entry| {
        let same = look.entries.iter().find(|other| (&other.project, &other.name) == (&entry.project, &entry.name));
        same.and_then(|other| other.state.as_ref()).map(|state| state.cpu.usage)
    };
    let running = now.entries.iter().filter(|entry| !matches!(entry.status_code, StatusCode::STOPPED | StatusCode::ERROR));
    let mut all: Vec<Usage> = running
        .filter_map(|entry| {
            let state = entry.state.as_ref()?;
            let cpu_percent = before.and_then(|before| {
                // One that was started anew meanwhile counts from nothing.
                let spent = state.cpu.usage - used(before, entry).filter(|then| *then <= state.cpu.usage).unwrap_or(0);
                let passed = now.at.duration_since(before.at).as_secs_f64();
                (passed > 0.0).then(|| seconds(spent) / passed * 100.0)
            });
            Some(Usage {
                project: entry.project.clone(),
                name: entry.name.clone(),
                cpu_percent,
                cpu_seconds: seconds(state.cpu.usage),
                memory_bytes: state.memory.usage,
                swap_bytes: state.memory.swap_usage,
                disk_bytes: state.disk.as_ref().and_then(|disks| disks.get("root")).map(|root| root.usage),
                processes: state.processes,
            })
        })
        .collect();
    all.sort_by(|a, b| {
        let busier = b.cpu_percent.unwrap_or(0.0).total_cmp(&a.cpu_percent.unwrap_or(0.0));
        busier.then(b.memory_bytes.cmp(&a.memory_bytes)).then_with(|| natural_cmp(&a.name, &b.name))
    });
    all
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn table(columns: &[usize], usages: &[Usage]) -> Table {
    let mut table = Table::new(columns.iter().map(|&column| COLUMNS[column].1));
    for usage in usages {
        table.row(columns.iter().map(|&column| match COLUMNS[column].0 {
            'e' => usage.project.clone(),
            'n' => usage.name.clone(),
            'p' => usage.cpu_percent.map_or(String::new(), |percent| format!("{percent:.1}")),
            'u' => format!("{:.2}s", usage.cpu_seconds),
            'm' => binary_size(usage.memory_bytes),
            'w' => binary_size(usage.swap_bytes),
            'd' => usage.disk_bytes.map_or(String::new(), binary_size),
            _ => usage.processes.to_string(),
        }));
    }
    table
}

/// A picture of so many rows over the one before: from the terminal's upper left corner, without a flash.
fn screen(text: &str, rows: u16) -> String {
    let room = usize::from(rows).checked_sub(1).filter(|room| *room > 0).unwrap_or(usize::MAX);
    let mut out = String::from("\x1b[H");
    for line in text.lines().take(room) {
        let _ = writeln!(out, "{line}\x1b[K");
    }
    out.push_str("\x1b[J");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, at: Instant) -> Look {
        Look { at, entries: serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn the_busiest_first_and_those_that_run() {
        let at = Instant::now();
        let before = look(
            r#"[{"name":"a","project":"default","status_code":103,"state":{"cpu":{"usage":1000000000}}},
                {"name":"anew","project":"default","status_code":103,"state":{"cpu":{"usage":9000000000}}}]"#,
            at,
        );
        let now = look(
            r#"[{"name":"a","project":"default","status_code":103,"state":{"cpu":{"usage":1500000000},"processes":3,
                 "memory":{"usage":1048576},"disk":{"root":{"usage":2048},"data":{"usage":1}}}},
                {"name":"anew","project":"default","status_code":103,"state":{"cpu":{"usage":2000000000},"processes":1}},
                {"name":"off","project":"default","status_code":102,"state":{"cpu":{"usage":0}}}]"#,
            at + Duration::from_secs(2),
        );
        let shown = usages(Some(&before), &now);
        let percent: Vec<_> = shown.iter().map(|usage| (usage.name.as_str(), usage.cpu_percent)).collect();
        assert_eq!(percent, [("anew", Some(100.0)), ("a", Some(25.0))]);
        let columns = chosen(&COLUMNS, "npumdN").unwrap();
        assert_eq!(table(&columns, &shown).csv(), "anew,100.0,2.00s,0B,,1\na,25.0,1.50s,1.00MiB,2.00KiB,3\n");
        assert_eq!(usages(None, &now)[0].cpu_percent, None);
    }

    #[test]
    fn a_picture_fits_the_terminal() {
        assert_eq!(screen("a\nb\nc\n", 3), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(screen("a\n", 0), "\x1b[Ha\x1b[K\n\x1b[J");
    }
}
