//! The OpenAPI document, made of the route table and the wire types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::routes::{Kind, Method, ROUTES, Route};
use crate::*;

/// Makes the OpenAPI 3 document of the whole API.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({ "parameters": path_parameters(route.path) }));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Coffer",
            "version": "1.0",
            "description": "System containers. The API is LXD's, version 1.0.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas(), "responses": { "Error": error_response() } },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "tags": [tag(route.path)],
        "x-access": format!("{:?}", route.access).to_ascii_lowercase(),
        "responses": responses(route),
    });
    if !route.request.is_empty() {
        operation["requestBody"] = json!({ "required": true, "content": json_content(reference(route.request)) });
    }
    let query = query_parameters(route);
    if !query.is_empty() {
        operation["parameters"] = Value::Array(query);
    }
    operation
}

fn responses(route: &Route) -> Value {
    let mut responses = match route.kind {
        Kind::Sync => json!({ "200": { "description": "Done", "content": json_content(envelope("sync", reference(route.response))) } }),
        Kind::Async => json!({ "202": {
            "description": "An operation carries it out",
            "headers": { "Location": { "description": "URL of the operation", "schema": { "type": "string" } } },
            "content": json_content(envelope("async", reference("Operation"))),
        } }),
        Kind::Raw => json!({ "200": { "description": "The content", "content": { "application/octet-stream": {} } } }),
        Kind::Websocket => json!({ "101": { "description": "A websocket" } }),
    };
    responses["default"] = json!({ "$ref": "#/components/responses/Error" });
    responses
}

fn error_response() -> Value {
    json!({ "description": "Refused", "content": json_content(envelope("error", json!({ "type": "null" }))) })
}

fn envelope(kind: &str, metadata: Value) -> Value {
    json!({
        "type": "object",
        "required": ["type", "status", "status_code", "operation", "error_code", "error", "metadata"],
        "properties": {
            "type": { "type": "string", "const": kind },
            "status": { "type": "string" },
            "status_code": { "type": "integer" },
            "operation": { "type": "string" },
            "error_code": { "type": "integer" },
            "error": { "type": "string" },
            "metadata": metadata,
        },
    })
}

fn json_content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn reference(name: &str) -> Value {
    if name.is_empty() {
        return json!({ "description": "Empty" });
    }
    if let Some(item) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({ "type": "array", "items": reference(item) });
    }
    if name == "string" { json!({ "type": "string" }) } else { json!({ "$ref": format!("#/components/schemas/{name}") }) }
}

fn tag(path: &str) -> &str {
    path.split('/').nth(2).unwrap_or("server")
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect()
}

fn query_parameters(route: &Route) -> Vec<Value> {
    let text =
        |name: &str, description: &str| json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } });
    let mut found = Vec::new();
    if !route.path.starts_with("/internal") && route.path != "/" {
        found.push(text("project", "Project; empty means default"));
    }
    if route.method == Method::Get && route.response.starts_with('[') {
        found.push(text("recursion", "0 lists URLs, 1 objects, 2 (instances) objects with state, snapshots and backups"));
        found.push(text("filter", "Expression such as `status eq Running and config.user.role eq web`"));
    }
    match route.id {
        "instances_get" | "events_get" | "operations_get" | "operations_log_get" => {
            found.push(text("all-projects", "`true` for every project"))
        }
        "operation_wait_get" => found.push(text("timeout", "Seconds; -1 or absent waits for ever")),
        _ => {}
    }
    match route.id {
        "events_get" => {
            found.push(text("type", "Comma-separated kinds: operation, lifecycle, logging"));
            found.push(text(
                "since",
                "Number of the last event that is known: what came after is told first, with an event of type `gap` if some is lost",
            ));
        }
        "operations_log_get" => {
            found.push(text("instance", "Name of an instance that was concerned"));
            found.push(text("user", "User name or certificate fingerprint of who asked"));
            found.push(text("status", "running, success, failure or cancelled"));
            found.push(text("since", "RFC 3339: begun then or later"));
            found.push(text("until", "RFC 3339: begun before then"));
            found.push(text("limit", "How many, the newest first; 1000 unless said"));
        }
        "operation_wait_get" | "operation_websocket_get" => found.push(text("secret", "Secret from the operation's metadata")),
        _ => {}
    }
    found
}

fn schemas() -> BTreeMap<String, RefOr<Schema>> {
    let mut all = BTreeMap::new();
    macro_rules! add {
        ($($name:ident),* $(,)?) => { $( add::<$name>(&mut all); )* };
    }
    add! {
        Server, ServerPut, ServerUntrusted, Resources, Event, EventGap, Lifecycle, Logging, Operation, OperationLogEntry, Preseed,
        Instance, InstanceFull, InstancePut, InstancePost, InstanceRebuildPost, InstancesPost, InstancesPut, InstanceState, InstanceStatePut,
        InstanceWaitPost,
        InstanceExecPost, InstanceConsolePost, InstanceSnapshot, InstanceSnapshotPost, InstanceSnapshotPut, InstanceSnapshotsPost,
        InstanceBackup, InstanceBackupPost, InstanceBackupsPost,
        Image, ImagePut, ImagesPost, ImageAliasesEntry, ImageAliasesEntryPost, ImageAliasesEntryPut, ImageAliasesPost, ImageExportPost,
        ImageMetadata, Profile, ProfilePost, ProfilePut, ProfilesPost, Project, ProjectPost, ProjectPut, ProjectsPost, ProjectState,
        Network, NetworkPost, NetworkPut, NetworksPost, NetworkLease, NetworkState,
        StoragePool, StoragePoolPut, StoragePoolsPost, ResourcesStoragePool, StorageVolume, StorageVolumePut, StorageVolumePost,
        StorageVolumeBackup, StorageVolumeBackupPost, StorageVolumeBackupsPost,
        StorageVolumesPost, StorageVolumeState, StorageVolumeSnapshot, StorageVolumeSnapshotPost, StorageVolumeSnapshotPut,
        StorageVolumeSnapshotsPost, Certificate, CertificatePut, CertificatesPost, CertificateAddToken, Cluster, ClusterPut,
        ClusterMember, Warning, WarningPut, RecoverPost, RecoverVolume, RecoverResult, FsckFinding,
    }
    all
}

fn add<T: ToSchema + PartialSchema>(all: &mut BTreeMap<String, RefOr<Schema>>) {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    all.extend(parts);
    all.insert(T::name().into_owned(), T::schema());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.push(target.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_its_target() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn schemas_use_the_names_of_the_wire() {
        let document = openapi();
        let exec = &document["components"]["schemas"]["InstanceExecPost"]["properties"];
        assert!(exec.get("wait-for-websocket").is_some() && exec.get("record-output").is_some());
        assert_eq!(document["components"]["schemas"]["Timestamp"]["format"], "date-time");
    }

    #[test]
    fn every_route_is_described() {
        let document = openapi();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.id);
        }
    }
}
