//! `list`: instances in a table.

use std::collections::BTreeMap;

use clap::Args;
use coffer_api::{InstanceFull, StatusCode, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::list_columns::{Column, health, parse_columns};
use super::list_filter::Filter;
use crate::app::App;
use crate::error::CliError;
use crate::object::{Config, Devices};
use crate::render::{Format, Table, natural_cmp, render_list};
use crate::target::leading_remote;

/// The columns that are shown if nothing else is said.
const USUAL: &str = "ns46tS";

/// List instances
///
/// A filter is a word (names that begin with it, or match it as a regular expression) or key=value (a configuration key,
/// whose parts may be shortened, or one of type, status, architecture, location, ipv4, ipv6). All filters must hold.
#[derive(Debug, Args)]
#[command(after_help = "\
Columns:
  4 IPv4 address      D disk usage           l last used        P profiles
  6 IPv6 address      e project              L location         s state
  a architecture      f image, short         m memory usage     S snapshots
  b storage pool      F image                M memory usage %   t type
  c created           d description          n name             u CPU usage
  h health            N processes            p PID
A column may also be [config:|devices:]key[:name][:maxWidth].

Examples:
  coffer list -c ns4,image.os:OS,devices:eth0.network:NET
  coffer list web status=running u.role=db")]
pub(crate) struct List {
    /// Filters; the first may be a remote followed by a colon
    #[arg(value_name = "[REMOTE:] FILTER")]
    filters: Vec<String>,
    /// Columns; those that are shown otherwise have the health too, where that is checked
    #[arg(short, long, value_name = "COLUMNS", default_value = USUAL)]
    columns: String,
    /// Only what is quick to tell: -c nsacPt
    #[arg(long, conflicts_with = "columns")]
    fast: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Instances of all projects
    #[arg(long)]
    all_projects: bool,
}

/// What the table needs of an instance; the rest is skipped unread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) status_code: StatusCode,
    pub(super) architecture: String,
    pub(super) created_at: Timestamp,
    pub(super) last_used_at: Timestamp,
    pub(super) description: String,
    pub(super) ephemeral: bool,
    pub(super) profiles: Option<Vec<String>>,
    pub(super) project: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) location: String,
    expanded_config: Option<Box<RawValue>>,
    expanded_devices: Option<Box<RawValue>>,
    pub(super) state: Option<EntryState>,
    pub(super) snapshots: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EntryState {
    pub(super) pid: i64,
    pub(super) processes: i64,
    pub(super) disk: Option<BTreeMap<String, coffer_api::InstanceStateDisk>>,
    pub(super) memory: coffer_api::InstanceStateMemory,
    pub(super) cpu: coffer_api::InstanceStateCpu,
    pub(super) network: Option<BTreeMap<String, EntryNetwork>>,
    pub(super) health: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EntryNetwork {
    pub(super) addresses: Option<Vec<coffer_api::InstanceStateNetworkAddress>>,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

impl Entry {
    /// Reads the configuration with profiles applied.
    pub(super) fn config(&self) -> Config {
        read_lazily(self.expanded_config.as_deref())
    }

    /// Reads the devices with profiles applied.
    pub(super) fn devices(&self) -> Devices {
        read_lazily(self.expanded_devices.as_deref())
    }

    /// Tells whether processes of the instance exist.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.status_code, StatusCode::STOPPED | StatusCode::ERROR)
    }

    /// Lists addresses of one family that others can reach, with their interface.
    pub(super) fn addresses(&self, family: &str) -> Vec<(&str, &str)> {
        let networks = self.state.iter().filter_map(|state| state.network.as_ref()).flatten();
        let mut found = Vec::new();
        for (name, network) in networks.filter(|(_, network)| network.kind != "loopback") {
            let addresses = network.addresses.iter().flatten();
            let reachable = addresses.filter(|address| address.family == family && !matches!(address.scope.as_str(), "link" | "local"));
            found.extend(reachable.map(|address| (address.address.as_str(), name.as_str())));
        }
        found
    }
}

fn read_lazily<T: Default + serde::de::DeserializeOwned>(raw: Option<&RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

impl List {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let (target, filters) = leading_remote(&self.filters);
        let client = app.client(&target)?;
        let filter = Filter::parse(filters)?;
        if matches!(self.format, Format::Json | Format::Yaml) {
            let mut all: Vec<InstanceFull> = client.instances(2, "", self.all_projects).await?;
            if !filter.is_empty() {
                // The filter reads the short form; both forms come from the same object.
                all.retain(|instance| serde_json::to_string(instance).is_ok_and(|text| filter.keeps_text(&text)));
            }
            all.sort_by(|a, b| natural_cmp(&a.name, &b.name));
            return app.print(&render_list(self.format, &all, false, Table::default));
        }
        let columns = if self.fast { "nsacPt" } else { &self.columns };
        let columns = if self.all_projects && !columns.contains('e') { format!("e{columns}") } else { columns.to_owned() };
        let columns = parse_columns(&columns)?;
        let recursion = if filter.needs_state() || columns.iter().any(Column::needs_state) { 2 } else { 1 };
        let entries: Vec<Entry> = client.instances(recursion, "", self.all_projects).await?;
        let shown: Vec<&Entry> = entries.iter().filter(|entry| filter.keeps(entry)).collect();
        let mut columns = columns;
        // For people only: scripts count columns.
        if self.columns == USUAL && self.format == Format::Table && shown.iter().any(|entry| !health(entry).is_empty()) {
            columns.extend(parse_columns("h")?);
        }
        let table = table(&columns, shown.into_iter());
        app.print(&render_list::<()>(self.format, &[], app.colour(), || table))
    }
}

fn table<'a>(columns: &[Column], entries: impl Iterator<Item = &'a Entry>) -> Table {
    let mut table = Table::new(columns.iter().map(Column::header));
    for entry in entries {
        table.row(columns.iter().map(|column| column.cell(entry)));
    }
    table.sorted()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const SAMPLE: &str = r#"[
        {"name":"web10","status":"Running","status_code":103,"architecture":"x86_64","type":"container","ephemeral":true,
         "profiles":["default","web"],"created_at":"2026-11-23T16:48:09Z","project":"default",
         "expanded_config":{"image.os":"Debian","limits.memory":"1GiB","user.role":"db","volatile.base_image":"14961bac81eec168ab99"},
         "expanded_devices":{"root":{"path":"/","pool":"fast","type":"disk"},"eth0":{"network":"br0","type":"nic"}},
         "state":{"pid":12,"processes":6,"memory":{"usage":536870912},"cpu":{"usage":4000000000},"disk":{"root":{"usage":2328}},
          "network":{"eth0":{"type":"broadcast","addresses":[
             {"family":"inet","address":"10.0.0.9","netmask":"24","scope":"global"},
             {"family":"inet","address":"10.0.0.10","netmask":"24","scope":"global"},
             {"family":"inet6","address":"fe80::1","netmask":"64","scope":"link"}]},
            "lo":{"type":"loopback","addresses":[{"family":"inet","address":"127.0.0.1","netmask":"8","scope":"local"}]}}},
         "snapshots":[{},{}]},
        {"name":"web2","status":"Stopped","status_code":102,"type":"container","profiles":null,"expanded_config":null,
         "state":null,"snapshots":null}]"#;

    #[track_caller]
    fn check(columns: &str, filters: &str, expected: &Expect) {
        let entries: Vec<Entry> = serde_json::from_str(SAMPLE).unwrap();
        let filters: Vec<String> = filters.split_whitespace().map(str::to_owned).collect();
        let filter = Filter::parse(&filters).unwrap();
        let columns = parse_columns(columns).unwrap();
        expected.assert_eq(&table(&columns, entries.iter().filter(|entry| filter.keeps(entry))).bordered(false));
    }

    #[test]
    fn the_usual_columns() {
        check(
            "ns46tS",
            "",
            &expect![[r#"
                +-------+---------+------------------+------+-----------------------+-----------+
                | NAME  |  STATE  |       IPV4       | IPV6 |         TYPE          | SNAPSHOTS |
                +-------+---------+------------------+------+-----------------------+-----------+
                | web2  | STOPPED |                  |      | CONTAINER             | 0         |
                +-------+---------+------------------+------+-----------------------+-----------+
                | web10 | RUNNING | 10.0.0.9 (eth0)  |      | CONTAINER (EPHEMERAL) | 2         |
                |       |         | 10.0.0.10 (eth0) |      |                       |           |
                +-------+---------+------------------+------+-----------------------+-----------+
            "#]],
        );
    }

    #[test]
    fn other_columns_and_filters() {
        check(
            "nP,mMDNpu,bf,image.os:OS,devices:eth0.network:NET:2",
            "web u.role=db status=running ipv4=10.0.0.0/24",
            &expect![[r#"
                +-------+----------+--------------+---------------+------------+-----------+-----+-----------+--------------+--------------+--------+-----+
                | NAME  | PROFILES | MEMORY USAGE | MEMORY USAGE% | DISK USAGE | PROCESSES | PID | CPU USAGE | STORAGE POOL |  BASE IMAGE  |   OS   | NET |
                +-------+----------+--------------+---------------+------------+-----------+-----+-----------+--------------+--------------+--------+-----+
                | web10 | default  | 512.00MiB    | 50.0%         | 2.33kB     | 6         | 12  | 4s        | fast         | 14961bac81ee | Debian | br  |
                |       | web      |              |               |            |           |     |           |              |              |        |     |
                +-------+----------+--------------+---------------+------------+-----------+-----+-----------+--------------+--------------+--------+-----+
            "#]],
        );
    }
}
