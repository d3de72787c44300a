//! Snapshots and backups of instances.

use coffer_api::{InstanceBackupsPost, InstanceSnapshot, InstanceSnapshotPost, InstanceSnapshotPut, InstanceSnapshotsPost};
use hyper::Method;

use crate::instances::instance_path;
use crate::{ApiPath, Client, ClientError, Download, Pending, Tagged, WithFile};

impl Client {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn snapshot(&self, instance: &str, name: &str) -> Result<Tagged<InstanceSnapshot>, ClientError> {
        self.get_tagged(snapshot_path(instance, name)).await
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_snapshot(&self, instance: &str, request: &InstanceSnapshotsPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, instance_path(instance).then("snapshots"), Some(request), "").await
    }

    /// Changes when a snapshot is deleted by itself.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_snapshot(
        &self,
        instance: &str,
        name: &str,
        request: &InstanceSnapshotPut,
        etag: &str,
    ) -> Result<Pending, ClientError> {
        self.begin(Method::PUT, snapshot_path(instance, name), Some(request), etag).await
    }

    /// Renames a snapshot.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rename_snapshot(&self, instance: &str, name: &str, new_name: &str) -> Result<Pending, ClientError> {
        let request = InstanceSnapshotPost { name: new_name.to_owned(), ..Default::default() };
        self.begin(Method::POST, snapshot_path(instance, name), Some(&request), "").await
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_snapshot(&self, instance: &str, name: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::DELETE, snapshot_path(instance, name), None, "").await
    }

    /// Makes a backup.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_backup(&self, instance: &str, request: &InstanceBackupsPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, instance_path(instance).then("backups"), Some(request), "").await
    }

    /// Makes a backup in a file, where the server is on this host and can; `None` if the file cannot reach it.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn back_up_to(
        &self,
        instance: &str,
        request: &InstanceBackupsPost,
        file: &std::fs::File,
    ) -> Result<Option<WithFile>, ClientError> {
        let request = InstanceBackupsPost { local_file: true, ..request.clone() };
        self.begin_with_file(instance_path(instance).then("backups"), &request, file).await
    }

    /// Downloads a backup.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn export_backup(&self, instance: &str, name: &str) -> Result<Download, ClientError> {
        self.download(instance_path(instance).then("backups").segment(name).then("export")).await
    }

    /// Deletes a backup.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_backup(&self, instance: &str, name: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::DELETE, instance_path(instance).then("backups").segment(name), None, "").await
    }
}

fn snapshot_path(instance: &str, name: &str) -> ApiPath {
    instance_path(instance).then("snapshots").segment(name)
}
