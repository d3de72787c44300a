//! Storage volumes.

use coffer_api::{
    StorageVolume, StorageVolumeBackupsPost, StorageVolumePost, StorageVolumePut, StorageVolumeSnapshot, StorageVolumeSnapshotPost,
    StorageVolumeSnapshotsPost, StorageVolumeState, StorageVolumesPost,
};
use hyper::Method;
use hyper::header::HeaderName;

use crate::storage::pool_path;
use crate::{ApiPath, Client, ClientError, Download, Pending, Tagged, Upload, WithFile};

impl Client {
    /// Lists the volumes of a pool.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_volumes(&self, pool: &str, filter: &str, all_projects: bool) -> Result<Vec<StorageVolume>, ClientError> {
        let mut path = pool_path(pool).then("volumes").query("recursion", "1");
        if !filter.is_empty() {
            path = path.query("filter", filter);
        }
        if all_projects {
            path = path.query("all-projects", "true");
        }
        self.get(path).await
    }

    /// Reads a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_volume(&self, pool: &str, kind: &str, name: &str) -> Result<Tagged<StorageVolume>, ClientError> {
        self.get_tagged(volume_path(pool, kind, name)).await
    }

    /// Reads the use of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_volume_state(&self, pool: &str, kind: &str, name: &str) -> Result<StorageVolumeState, ClientError> {
        self.get(volume_path(pool, kind, name).then("state")).await
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_storage_volume(&self, pool: &str, volume: &StorageVolumesPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, pool_path(pool).then("volumes").segment(&volume.kind), Some(volume), "").await
    }

    /// Replaces a volume's configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_storage_volume(
        &self,
        pool: &str,
        kind: &str,
        name: &str,
        volume: &StorageVolumePut,
        etag: &str,
    ) -> Result<Pending, ClientError> {
        self.begin(Method::PUT, volume_path(pool, kind, name), Some(volume), etag).await
    }

    /// Renames or moves a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn move_storage_volume(
        &self,
        pool: &str,
        kind: &str,
        name: &str,
        request: &StorageVolumePost,
    ) -> Result<Pending, ClientError> {
        self.begin(Method::POST, volume_path(pool, kind, name), Some(request), "").await
    }

    /// Deletes a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_storage_volume(&self, pool: &str, kind: &str, name: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::DELETE, volume_path(pool, kind, name), None, "").await
    }

    /// Takes a snapshot of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_storage_volume_snapshot(
        &self,
        pool: &str,
        name: &str,
        request: &StorageVolumeSnapshotsPost,
    ) -> Result<Pending, ClientError> {
        self.begin(Method::POST, volume_path(pool, "custom", name).then("snapshots"), Some(request), "").await
    }

    /// Lists the snapshots of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_volume_snapshots(&self, pool: &str, name: &str) -> Result<Vec<StorageVolumeSnapshot>, ClientError> {
        self.get(volume_path(pool, "custom", name).then("snapshots").query("recursion", "1")).await
    }

    /// Reads a snapshot of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_volume_snapshot(
        &self,
        pool: &str,
        name: &str,
        snapshot: &str,
    ) -> Result<Tagged<StorageVolumeSnapshot>, ClientError> {
        self.get_tagged(volume_path(pool, "custom", name).then("snapshots").segment(snapshot)).await
    }

    /// Renames a snapshot of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rename_storage_volume_snapshot(
        &self,
        pool: &str,
        name: &str,
        snapshot: &str,
        new_name: &str,
    ) -> Result<Pending, ClientError> {
        let path = volume_path(pool, "custom", name).then("snapshots").segment(snapshot);
        let request = StorageVolumeSnapshotPost { name: new_name.to_owned() };
        self.begin(Method::POST, path, Some(&request), "").await
    }

    /// Deletes a snapshot of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_storage_volume_snapshot(&self, pool: &str, name: &str, snapshot: &str) -> Result<Pending, ClientError> {
        let path = volume_path(pool, "custom", name).then("snapshots").segment(snapshot);
        self.begin::<()>(Method::DELETE, path, None, "").await
    }

    /// Makes a backup of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_storage_volume_backup(
        &self,
        pool: &str,
        name: &str,
        request: &StorageVolumeBackupsPost,
    ) -> Result<Pending, ClientError> {
        self.begin(Method::POST, volume_path(pool, "custom", name).then("backups"), Some(request), "").await
    }

    /// Makes a backup of a volume in a file, where the server is on this host and can; `None` if the file cannot reach it.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn back_up_storage_volume_to(
        &self,
        pool: &str,
        name: &str,
        request: &StorageVolumeBackupsPost,
        file: &std::fs::File,
    ) -> Result<Option<WithFile>, ClientError> {
        let request = StorageVolumeBackupsPost { local_file: true, ..request.clone() };
        self.begin_with_file(volume_path(pool, "custom", name).then("backups"), &request, file).await
    }

    /// Downloads a backup of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn export_storage_volume_backup(&self, pool: &str, name: &str, backup: &str) -> Result<Download, ClientError> {
        self.download(volume_path(pool, "custom", name).then("backups").segment(backup).then("export")).await
    }

    /// Deletes a backup of a volume.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_storage_volume_backup(&self, pool: &str, name: &str, backup: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::DELETE, volume_path(pool, "custom", name).then("backups").segment(backup), None, "").await
    }

    /// Makes a volume of a file: `kind` is `backup` or `iso`; an empty name is the one in the backup.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn import_storage_volume(&self, pool: &str, name: &str, kind: &str, file: Upload) -> Result<Pending, ClientError> {
        let mut headers = vec![(hyper::header::CONTENT_TYPE, "application/octet-stream")];
        headers.extend((!name.is_empty()).then_some((HeaderName::from_static("x-lxd-name"), name)));
        headers.extend((kind != "backup").then_some((HeaderName::from_static("x-lxd-type"), kind)));
        let path = pool_path(pool).then("volumes").then("custom");
        Ok(Pending::new(self.clone(), self.upload(path, &headers, file).await?))
    }
}

fn volume_path(pool: &str, kind: &str, name: &str) -> ApiPath {
    pool_path(pool).then("volumes").segment(kind).segment(name)
}
