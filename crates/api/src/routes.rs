//! The routes of the API as data: what the server serves, the document describes and the authorisation test walks.

use Access::{Admin, Anyone, Manage, Metrics, Operate, View};
use Kind::{Async, Raw, Sync, Websocket};
use Method::{Delete, Get, Head, Patch, Post, Put};

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Read.
    Get,
    /// Read the headers only.
    Head,
    /// Make, rename or act.
    Post,
    /// Replace.
    Put,
    /// Merge.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Get => "GET",
            Head => "HEAD",
            Post => "POST",
            Put => "PUT",
            Patch => "PATCH",
            Delete => "DELETE",
        }
    }
}

/// How a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// With the result.
    Sync,
    /// With an operation.
    Async,
    /// With bytes outside the envelope.
    Raw,
    /// With a protocol switch.
    Websocket,
}

/// The least a caller must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Also untrusted callers.
    Anyone,
    /// Also callers that may read the metrics and nothing else.
    Metrics,
    /// Read in the project.
    View,
    /// Use instances in the project.
    Operate,
    /// Change objects in the project.
    Manage,
    /// Change the server.
    Admin,
}

/// One method of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, variable segments in braces.
    pub path: &'static str,
    /// Unique name of the operation.
    pub id: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Name of the request body's schema; empty without a body or with a raw one.
    pub request: &'static str,
    /// Name of the answer's schema, `[X]` for a list of it; empty for none.
    pub response: &'static str,
    /// How it answers.
    pub kind: Kind,
    /// The least a caller must be allowed.
    pub access: Access,
}

#[expect(clippy::too_many_arguments, reason = "one argument a column of the table below")]
const fn route(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    request: &'static str,
    response: &'static str,
    kind: Kind,
    access: Access,
) -> Route {
    Route { method, path, id, summary, request, response, kind, access }
}

/// Every route of the server, grouped by path. `/1.0/containers` answers as `/1.0/instances` and is not repeated here.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route(Get, "/", "api_get", "List the API versions", "", "[string]", Sync, Anyone),
    route(Get, "/1.0", "server_get", "Get the server and what it can do", "", "Server", Sync, Anyone),
    route(Put, "/1.0", "server_put", "Replace the server configuration", "ServerPut", "", Sync, Admin),
    route(Patch, "/1.0", "server_patch", "Merge into the server configuration", "ServerPut", "", Sync, Admin),
    route(Get, "/1.0/resources", "resources_get", "Get what the host has", "", "Resources", Sync, View),
    route(Get, "/1.0/metrics", "metrics_get", "Get the metrics as OpenMetrics text; of all projects unless one is named", "", "", Raw, Metrics),
    route(Get, "/1.0/events", "events_get", "Follow events", "", "Event", Websocket, View),
    route(Get, "/1.0/metadata/configuration", "metadata_configuration_get", "List every configuration key", "", "", Sync, Anyone),
    route(Get, "/1.0/openapi", "openapi_get", "Get this document", "", "", Raw, Anyone),

    route(Get, "/1.0/instances", "instances_get", "List instances", "", "[InstanceFull]", Sync, View),
    route(Post, "/1.0/instances", "instances_post", "Make an instance", "InstancesPost", "", Async, Manage),
    route(Put, "/1.0/instances", "instances_put", "Change the state of all instances", "InstancesPut", "", Async, Operate),
    route(Get, "/1.0/instances/{name}", "instance_get", "Get an instance", "", "InstanceFull", Sync, View),
    route(Put, "/1.0/instances/{name}", "instance_put", "Replace an instance's configuration or restore a snapshot", "InstancePut", "", Async, Manage),
    route(Patch, "/1.0/instances/{name}", "instance_patch", "Merge into an instance's configuration", "InstancePut", "", Sync, Manage),
    route(Post, "/1.0/instances/{name}", "instance_post", "Rename or move an instance", "InstancePost", "", Async, Manage),
    route(Delete, "/1.0/instances/{name}", "instance_delete", "Delete an instance", "", "", Async, Manage),
    route(Post, "/1.0/instances/{name}/rebuild", "instance_rebuild_post", "Make an instance's root anew from an image, or empty", "InstanceRebuildPost", "", Async, Manage),
    route(Get, "/1.0/instances/{name}/state", "instance_state_get", "Get what an instance does and uses", "", "InstanceState", Sync, View),
    route(Put, "/1.0/instances/{name}/state", "instance_state_put", "Start, stop, restart, freeze or unfreeze an instance", "InstanceStatePut", "", Async, Operate),
    route(Post, "/1.0/instances/{name}/wait", "instance_wait_post", "Wait until an instance has done something", "InstanceWaitPost", "", Async, Operate),
    route(Post, "/1.0/instances/{name}/exec", "instance_exec_post", "Run a command in an instance", "InstanceExecPost", "", Async, Operate),
    route(Get, "/1.0/instances/{name}/console", "instance_console_get", "Get what an instance wrote to its console", "", "", Raw, View),
    route(Post, "/1.0/instances/{name}/console", "instance_console_post", "Attach to an instance's console", "InstanceConsolePost", "", Async, Operate),
    route(Delete, "/1.0/instances/{name}/console", "instance_console_delete", "Clear an instance's console log", "", "", Sync, Operate),
    route(Get, "/1.0/instances/{name}/logs", "instance_logs_get", "List an instance's log files", "", "[string]", Sync, View),
    route(Get, "/1.0/instances/{name}/logs/{file}", "instance_log_get", "Get a log file of an instance", "", "", Raw, View),
    route(Get, "/1.0/instances/{name}/logs/exec-output", "instance_exec_outputs_get", "List the recorded output of commands", "", "[string]", Sync, View),
    route(Get, "/1.0/instances/{name}/logs/exec-output/{file}", "instance_exec_output_get", "Get the recorded output of a command", "", "", Raw, View),
    route(Delete, "/1.0/instances/{name}/logs/exec-output/{file}", "instance_exec_output_delete", "Delete the recorded output of a command", "", "", Sync, Operate),
    route(Delete, "/1.0/instances/{name}/logs/{file}", "instance_log_delete", "Delete a log file of an instance", "", "", Sync, Operate),
    route(Get, "/1.0/instances/{name}/files", "instance_files_get", "Get what lies at a path in an instance: content, names or a link's target", "", "", Raw, Operate),
    route(Head, "/1.0/instances/{name}/files", "instance_files_head", "Get whose a file in an instance is and when it was written", "", "", Raw, Operate),
    route(Post, "/1.0/instances/{name}/files", "instance_files_post", "Make or write a file, directory or link in an instance", "", "", Sync, Operate),
    route(Delete, "/1.0/instances/{name}/files", "instance_files_delete", "Delete a file or an empty directory in an instance", "", "", Sync, Operate),
    route(Get, "/1.0/instances/{name}/sftp", "instance_sftp_get", "Connect to an instance's files by SFTP", "", "", Websocket, Operate),
    route(Get, "/1.0/instances/{name}/snapshots", "instance_snapshots_get", "List an instance's snapshots", "", "[InstanceSnapshot]", Sync, View),
    route(Post, "/1.0/instances/{name}/snapshots", "instance_snapshots_post", "Take a snapshot of an instance", "InstanceSnapshotsPost", "", Async, Manage),
    route(Get, "/1.0/instances/{name}/snapshots/{snapshot}", "instance_snapshot_get", "Get a snapshot of an instance", "", "InstanceSnapshot", Sync, View),
    route(Put, "/1.0/instances/{name}/snapshots/{snapshot}", "instance_snapshot_put", "Say when a snapshot is deleted by itself", "InstanceSnapshotPut", "", Async, Manage),
    route(Patch, "/1.0/instances/{name}/snapshots/{snapshot}", "instance_snapshot_patch", "Say when a snapshot is deleted by itself", "InstanceSnapshotPut", "", Async, Manage),
    route(Post, "/1.0/instances/{name}/snapshots/{snapshot}", "instance_snapshot_post", "Rename a snapshot", "InstanceSnapshotPost", "", Async, Manage),
    route(Delete, "/1.0/instances/{name}/snapshots/{snapshot}", "instance_snapshot_delete", "Delete a snapshot", "", "", Async, Manage),
    route(Get, "/1.0/instances/{name}/backups", "instance_backups_get", "List an instance's backups", "", "[InstanceBackup]", Sync, View),
    route(Post, "/1.0/instances/{name}/backups", "instance_backups_post", "Back up an instance", "InstanceBackupsPost", "", Async, Manage),
    route(Get, "/1.0/instances/{name}/backups/{backup}", "instance_backup_get", "Get a backup of an instance", "", "InstanceBackup", Sync, View),
    route(Post, "/1.0/instances/{name}/backups/{backup}", "instance_backup_post", "Rename a backup of an instance", "InstanceBackupPost", "", Async, Manage),
    route(Delete, "/1.0/instances/{name}/backups/{backup}", "instance_backup_delete", "Delete a backup of an instance", "", "", Async, Manage),
    route(Get, "/1.0/instances/{name}/backups/{backup}/export", "instance_backup_export_get", "Download a backup of an instance", "", "", Raw, Manage),
    route(Get, "/1.0/instances/{name}/metadata", "instance_metadata_get", "Get the metadata an instance's image brought", "", "ImageMetadata", Sync, View),
    route(Put, "/1.0/instances/{name}/metadata", "instance_metadata_put", "Replace an instance's metadata", "ImageMetadata", "", Sync, Manage),
    route(Patch, "/1.0/instances/{name}/metadata", "instance_metadata_patch", "Merge into an instance's metadata", "ImageMetadata", "", Sync, Manage),
    route(Get, "/1.0/instances/{name}/metadata/templates", "instance_templates_get", "List an instance's templates, or get one", "", "[string]", Sync, View),
    route(Post, "/1.0/instances/{name}/metadata/templates", "instance_templates_post", "Write a template of an instance", "", "", Sync, Manage),
    route(Delete, "/1.0/instances/{name}/metadata/templates", "instance_templates_delete", "Delete a template of an instance", "", "", Sync, Manage),

    route(Get, "/1.0/images", "images_get", "List images", "", "[Image]", Sync, Anyone),
    route(Post, "/1.0/images", "images_post", "Upload, copy or publish an image", "ImagesPost", "", Async, Anyone),
    route(Get, "/1.0/images/{fingerprint}", "image_get", "Get an image", "", "Image", Sync, Anyone),
    route(Put, "/1.0/images/{fingerprint}", "image_put", "Replace an image's properties", "ImagePut", "", Sync, Manage),
    route(Patch, "/1.0/images/{fingerprint}", "image_patch", "Merge into an image's properties", "ImagePut", "", Sync, Manage),
    route(Delete, "/1.0/images/{fingerprint}", "image_delete", "Delete an image", "", "", Async, Manage),
    route(Get, "/1.0/images/{fingerprint}/export", "image_export_get", "Download an image", "", "", Raw, Anyone),
    route(Post, "/1.0/images/{fingerprint}/export", "image_export_post", "Send an image to another server", "ImageExportPost", "", Async, Manage),
    route(Post, "/1.0/images/{fingerprint}/secret", "image_secret_post", "Make a secret for one download", "", "", Async, Manage),
    route(Post, "/1.0/images/{fingerprint}/refresh", "image_refresh_post", "Fetch an image anew", "", "", Async, Manage),
    route(Get, "/1.0/images/aliases", "image_aliases_get", "List image aliases", "", "[ImageAliasesEntry]", Sync, View),
    route(Post, "/1.0/images/aliases", "image_aliases_post", "Make an image alias", "ImageAliasesPost", "", Sync, Manage),
    route(Get, "/1.0/images/aliases/{name}", "image_alias_get", "Get an image alias", "", "ImageAliasesEntry", Sync, Anyone),
    route(Put, "/1.0/images/aliases/{name}", "image_alias_put", "Replace an image alias", "ImageAliasesEntryPut", "", Sync, Manage),
    route(Patch, "/1.0/images/aliases/{name}", "image_alias_patch", "Merge into an image alias", "ImageAliasesEntryPut", "", Sync, Manage),
    route(Post, "/1.0/images/aliases/{name}", "image_alias_post", "Rename an image alias", "ImageAliasesEntryPost", "", Sync, Manage),
    route(Delete, "/1.0/images/aliases/{name}", "image_alias_delete", "Delete an image alias", "", "", Sync, Manage),

    route(Get, "/1.0/profiles", "profiles_get", "List profiles", "", "[Profile]", Sync, View),
    route(Post, "/1.0/profiles", "profiles_post", "Make a profile", "ProfilesPost", "", Sync, Manage),
    route(Get, "/1.0/profiles/{name}", "profile_get", "Get a profile", "", "Profile", Sync, View),
    route(Put, "/1.0/profiles/{name}", "profile_put", "Replace a profile", "ProfilePut", "", Sync, Manage),
    route(Patch, "/1.0/profiles/{name}", "profile_patch", "Merge into a profile", "ProfilePut", "", Sync, Manage),
    route(Post, "/1.0/profiles/{name}", "profile_post", "Rename a profile", "ProfilePost", "", Sync, Manage),
    route(Delete, "/1.0/profiles/{name}", "profile_delete", "Delete a profile", "", "", Sync, Manage),

    route(Get, "/1.0/networks", "networks_get", "List networks", "", "[Network]", Sync, View),
    route(Post, "/1.0/networks", "networks_post", "Make a network", "NetworksPost", "", Sync, Manage),
    route(Get, "/1.0/networks/{name}", "network_get", "Get a network", "", "Network", Sync, View),
    route(Put, "/1.0/networks/{name}", "network_put", "Replace a network's configuration", "NetworkPut", "", Sync, Manage),
    route(Patch, "/1.0/networks/{name}", "network_patch", "Merge into a network's configuration", "NetworkPut", "", Sync, Manage),
    route(Post, "/1.0/networks/{name}", "network_post", "Rename a network", "NetworkPost", "", Sync, Manage),
    route(Delete, "/1.0/networks/{name}", "network_delete", "Delete a network", "", "", Sync, Manage),
    route(Get, "/1.0/networks/{name}/state", "network_state_get", "Get what a network's interface looks like", "", "NetworkState", Sync, View),
    route(Get, "/1.0/networks/{name}/leases", "network_leases_get", "List the addresses a network gave away", "", "[NetworkLease]", Sync, View),

    route(Get, "/1.0/storage-pools", "storage_pools_get", "List storage pools", "", "[StoragePool]", Sync, View),
    route(Post, "/1.0/storage-pools", "storage_pools_post", "Make a storage pool", "StoragePoolsPost", "", Sync, Admin),
    route(Get, "/1.0/storage-pools/{pool}", "storage_pool_get", "Get a storage pool", "", "StoragePool", Sync, View),
    route(Put, "/1.0/storage-pools/{pool}", "storage_pool_put", "Replace a storage pool's configuration", "StoragePoolPut", "", Sync, Admin),
    route(Patch, "/1.0/storage-pools/{pool}", "storage_pool_patch", "Merge into a storage pool's configuration", "StoragePoolPut", "", Sync, Admin),
    route(Delete, "/1.0/storage-pools/{pool}", "storage_pool_delete", "Delete a storage pool", "", "", Sync, Admin),
    route(Get, "/1.0/storage-pools/{pool}/resources", "storage_pool_resources_get", "Get the room in a storage pool", "", "ResourcesStoragePool", Sync, View),
    route(Get, "/1.0/storage-pools/{pool}/volumes", "storage_volumes_get", "List the volumes of a storage pool", "", "[StorageVolume]", Sync, View),
    route(Post, "/1.0/storage-pools/{pool}/volumes", "storage_volumes_post", "Make a volume", "StorageVolumesPost", "", Sync, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}", "storage_volumes_type_get", "List the volumes of one type", "", "[StorageVolume]", Sync, View),
    route(Post, "/1.0/storage-pools/{pool}/volumes/{type}", "storage_volumes_type_post", "Make a volume; a copy or an uploaded backup answers with an operation", "StorageVolumesPost", "", Sync, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}", "storage_volume_get", "Get a volume", "", "StorageVolume", Sync, View),
    route(Put, "/1.0/storage-pools/{pool}/volumes/{type}/{name}", "storage_volume_put", "Replace a volume's configuration or restore a snapshot", "StorageVolumePut", "", Sync, Manage),
    route(Patch, "/1.0/storage-pools/{pool}/volumes/{type}/{name}", "storage_volume_patch", "Merge into a volume's configuration", "StorageVolumePut", "", Sync, Manage),
    route(Post, "/1.0/storage-pools/{pool}/volumes/{type}/{name}", "storage_volume_post", "Rename a volume; a move answers with an operation", "StorageVolumePost", "", Sync, Manage),
    route(Delete, "/1.0/storage-pools/{pool}/volumes/{type}/{name}", "storage_volume_delete", "Delete a volume", "", "", Sync, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/state", "storage_volume_state_get", "Get the room that a volume takes", "", "StorageVolumeState", Sync, View),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots", "storage_volume_snapshots_get", "List a volume's snapshots", "", "[StorageVolumeSnapshot]", Sync, View),
    route(Post, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots", "storage_volume_snapshots_post", "Take a snapshot of a volume", "StorageVolumeSnapshotsPost", "", Async, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots/{snapshot}", "storage_volume_snapshot_get", "Get a snapshot of a volume", "", "StorageVolumeSnapshot", Sync, View),
    route(Put, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots/{snapshot}", "storage_volume_snapshot_put", "Replace a snapshot's description and expiry", "StorageVolumeSnapshotPut", "", Sync, Manage),
    route(Patch, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots/{snapshot}", "storage_volume_snapshot_patch", "Merge into a snapshot's description and expiry", "StorageVolumeSnapshotPut", "", Sync, Manage),
    route(Post, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots/{snapshot}", "storage_volume_snapshot_post", "Rename a snapshot of a volume", "StorageVolumeSnapshotPost", "", Async, Manage),
    route(Delete, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots/{snapshot}", "storage_volume_snapshot_delete", "Delete a snapshot of a volume", "", "", Async, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups", "storage_volume_backups_get", "List a volume's backups", "", "[StorageVolumeBackup]", Sync, View),
    route(Post, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups", "storage_volume_backups_post", "Back up a volume", "StorageVolumeBackupsPost", "", Async, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups/{backup}", "storage_volume_backup_get", "Get a backup of a volume", "", "StorageVolumeBackup", Sync, View),
    route(Post, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups/{backup}", "storage_volume_backup_post", "Rename a backup of a volume", "StorageVolumeBackupPost", "", Async, Manage),
    route(Delete, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups/{backup}", "storage_volume_backup_delete", "Delete a backup of a volume", "", "", Async, Manage),
    route(Get, "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups/{backup}/export", "storage_volume_backup_export_get", "Download a backup of a volume", "", "", Raw, Manage),

    route(Get, "/1.0/projects", "projects_get", "List projects", "", "[Project]", Sync, View),
    route(Post, "/1.0/projects", "projects_post", "Make a project", "ProjectsPost", "", Sync, Admin),
    route(Get, "/1.0/projects/{name}", "project_get", "Get a project", "", "Project", Sync, View),
    route(Get, "/1.0/projects/{name}/state", "project_state_get", "Get what a project uses", "", "ProjectState", Sync, View),
    route(Put, "/1.0/projects/{name}", "project_put", "Replace a project's configuration", "ProjectPut", "", Sync, Admin),
    route(Patch, "/1.0/projects/{name}", "project_patch", "Merge into a project's configuration", "ProjectPut", "", Sync, Admin),
    route(Post, "/1.0/projects/{name}", "project_post", "Rename a project", "ProjectPost", "", Async, Admin),
    route(Delete, "/1.0/projects/{name}", "project_delete", "Delete a project", "", "", Sync, Admin),

    route(Get, "/1.0/operations", "operations_get", "List operations by status", "", "[Operation]", Sync, View),
    route(Get, "/1.0/operations/log", "operations_log_get", "Search what operations did", "", "[OperationLogEntry]", Sync, View),
    route(Get, "/1.0/operations/{id}", "operation_get", "Get an operation", "", "Operation", Sync, View),
    route(Delete, "/1.0/operations/{id}", "operation_delete", "Cancel an operation", "", "", Sync, Operate),
    route(Get, "/1.0/operations/{id}/wait", "operation_wait_get", "Wait for an operation", "", "Operation", Sync, Anyone),
    route(Get, "/1.0/operations/{id}/websocket", "operation_websocket_get", "Connect to an operation", "", "", Websocket, Anyone),
    route(Get, "/1.0/operations/{id}/pipes", "operation_pipes_get", "Hand over pipes to an operation", "", "", Websocket, Anyone),

    route(Get, "/1.0/certificates", "certificates_get", "List trusted certificates", "", "[Certificate]", Sync, Admin),
    route(Post, "/1.0/certificates", "certificates_post", "Trust a certificate, or make a token", "CertificatesPost", "", Sync, Anyone),
    route(Get, "/1.0/certificates/{fingerprint}", "certificate_get", "Get a trusted certificate", "", "Certificate", Sync, Admin),
    route(Put, "/1.0/certificates/{fingerprint}", "certificate_put", "Replace a certificate's properties", "CertificatePut", "", Sync, Admin),
    route(Patch, "/1.0/certificates/{fingerprint}", "certificate_patch", "Merge into a certificate's properties", "CertificatePut", "", Sync, Admin),
    route(Delete, "/1.0/certificates/{fingerprint}", "certificate_delete", "Trust a certificate no more", "", "", Sync, Admin),
    route(Get, "/1.0/cluster", "cluster_get", "Get the cluster", "", "Cluster", Sync, View),
    route(Get, "/1.0/warnings", "warnings_get", "List warnings", "", "[Warning]", Sync, Admin),
    route(Get, "/1.0/warnings/{uuid}", "warning_get", "Get a warning", "", "Warning", Sync, Admin),
    route(Put, "/1.0/warnings/{uuid}", "warning_put", "Mark a warning as seen, or as not seen", "WarningPut", "", Sync, Admin),
    route(Patch, "/1.0/warnings/{uuid}", "warning_patch", "Mark a warning as seen, or as not seen", "WarningPut", "", Sync, Admin),
    route(Delete, "/1.0/warnings/{uuid}", "warning_delete", "Delete a warning", "", "", Sync, Admin),

    route(Get, "/internal/ready", "internal_ready_get", "Wait until the daemon serves", "", "", Sync, Admin),
    route(Post, "/internal/recover/validate", "internal_recover_validate_post", "Find volumes that are in no record", "RecoverPost", "RecoverResult", Sync, Admin),
    route(Post, "/internal/recover/import", "internal_recover_import_post", "Take in volumes that are in no record", "RecoverPost", "", Sync, Admin),
    route(Get, "/internal/fsck", "internal_fsck_get", "Compare store, disk and kernel", "", "[FsckFinding]", Sync, Admin),
    route(Post, "/internal/fsck", "internal_fsck_post", "Compare store, disk and kernel, and mend what can be mended", "", "[FsckFinding]", Sync, Admin),
    route(Put, "/internal/shutdown", "internal_shutdown_put", "Stop the instances and the daemon", "", "", Sync, Admin),
];

/// Finds the routes of a path template.
pub fn of_path(path: &str) -> impl Iterator<Item = &'static Route> {
    let path = path.to_owned();
    ROUTES.iter().filter(move |route| route.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_route_and_each_id_stands_once() {
        let pairs: BTreeSet<_> = ROUTES.iter().map(|route| (route.path, route.method.as_str())).collect();
        let ids: BTreeSet<_> = ROUTES.iter().map(|route| route.id).collect();
        assert_eq!((pairs.len(), ids.len()), (ROUTES.len(), ROUTES.len()));
    }

    #[test]
    fn instance_patch_answers_at_once() {
        let patch = of_path("/1.0/instances/{name}").find(|route| route.method == Patch).unwrap();
        assert_eq!(patch.kind, Sync);
    }
}
