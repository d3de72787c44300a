//! `/1.0/metadata/configuration`: every configuration key, made from the tables that validation reads.

use axum::Router;
use axum::routing::get;
use coffer_model::key::{Key, Support, Value};
use coffer_model::{DeviceKind, keys};
use serde_json::{Map, json};

use crate::app::App;
use crate::envelope::{self, Answer};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/1.0/metadata/configuration", get(configuration))
}

/// `GET /1.0/metadata/configuration`.
async fn configuration() -> Answer {
    envelope::sync(document())
}

fn document() -> serde_json::Value {
    let entities: [(&str, &[Key]); 3] = [("instance", keys::INSTANCE), ("server", keys::SERVER), ("project", keys::PROJECT)];
    let devices = DeviceKind::ALL.iter().map(|kind| (format!("device-{}", kind.name()), kind.table()));
    let storage = coffer_engine::storage_keys().into_iter().map(|(entity, _, table)| (entity, table));
    let entities = entities.into_iter().map(|(entity, table)| (entity.to_owned(), table)).chain(devices).chain(storage);
    let configs: Map<_, _> = entities.map(|(entity, table)| (entity, groups(table))).collect();
    json!({ "configs": configs })
}

/// Keys are grouped by their first word.
fn groups(table: &[Key]) -> serde_json::Value {
    let mut groups: Map<String, serde_json::Value> = Map::new();
    for row in table {
        let group = row.name.split_once('.').map_or("misc", |(first, _)| first);
        let keys = groups.entry(group).or_insert_with(|| json!({ "keys": [] }));
        if let Some(list) = keys["keys"].as_array_mut() {
            list.push(json!({ row.name: shown(row) }));
        }
    }
    groups.into()
}

fn shown(row: &Key) -> serde_json::Value {
    let kind = match row.value {
        Value::Bool => "bool",
        Value::Int(..) | Value::Id => "integer",
        Value::Size | Value::SizeOrPercent | Value::Cpus | Value::Numbers | Value::CpuAllowance | Value::ResourceLimit => "string",
        Value::Owner | Value::Mode | Value::Hex | Value::IoRate => "string",
        Value::Modules | Value::SystemCalls | Value::Filesystems | Value::FilesystemPrograms => "string",
        Value::IdMapEntries | Value::ApparmorRules => "string",
        Value::Choice(_) | Value::Expiry | Value::Schedule | Value::SnapshotPattern | Value::Line | Value::Text => "string",
        Value::BitRate | Value::Words | Value::HealthTcp | Value::HealthHttp | Value::Depends => "string",
    };
    let mut key = json!({
        "type": kind,
        "defaultdesc": row.default,
        "liveupdate": if row.live { "yes" } else { "no" },
        "shortdesc": row.doc,
        "longdesc": "",
    });
    if let Support::No(why) = row.support {
        key["condition"] = format!("not supported: {why}").into();
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there() {
        let document = document();
        let keys = document["configs"]["instance"]["limits"]["keys"].as_array().unwrap();
        assert!(keys.iter().any(|key| key["limits.memory"]["liveupdate"] == "yes"));
        assert!(document["configs"]["storage-volume"]["snapshots"]["keys"].as_array().unwrap().len() >= 3);
        assert!(document["configs"]["storage-btrfs"]["btrfs"].is_object());
        let count: usize =
            document["configs"]["instance"].as_object().unwrap().values().map(|group| group["keys"].as_array().unwrap().len()).sum();
        assert_eq!(count, keys::INSTANCE.len());
    }
}
