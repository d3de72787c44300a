//! Instances.

use coffer_api::{
    Instance, InstanceFull, InstancePost, InstancePut, InstanceRebuildPost, InstanceStatePut, InstanceWaitPost, InstancesPost, InstancesPut,
};
use hyper::Method;
use hyper::header::HeaderName;
use serde::de::DeserializeOwned;

use crate::{ApiPath, Client, ClientError, Download, Pending, Tagged, Upload};

impl Client {
    /// Lists instances as objects of the caller's choice; recursion 2 gives them state, snapshots and backups.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instances<T>(&self, recursion: u8, filter: &str, all_projects: bool) -> Result<Vec<T>, ClientError>
    where
        T: DeserializeOwned,
    {
        let mut path = ApiPath::new("/1.0/instances").query("recursion", &recursion.to_string());
        if !filter.is_empty() {
            path = path.query("filter", filter);
        }
        if all_projects {
            path = path.query("all-projects", "true");
        }
        self.get(path).await
    }

    /// Reads an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance(&self, name: &str) -> Result<Tagged<Instance>, ClientError> {
        self.get_tagged(instance_path(name)).await
    }

    /// Reads an instance with its state, snapshots and backups.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance_full(&self, name: &str) -> Result<InstanceFull, ClientError> {
        self.get(instance_path(name).query("recursion", "1")).await
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_instance(&self, instance: &InstancesPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, ApiPath::new("/1.0/instances"), Some(instance), "").await
    }

    /// Makes an instance of a backup; empty pool and name leave both to the backup.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn import_instance(&self, backup: Upload, pool: &str, name: &str) -> Result<Pending, ClientError> {
        let mut headers = vec![(hyper::header::CONTENT_TYPE, "application/octet-stream")];
        headers.extend((!pool.is_empty()).then_some((HeaderName::from_static("x-lxd-pool"), pool)));
        headers.extend((!name.is_empty()).then_some((HeaderName::from_static("x-lxd-name"), name)));
        Ok(Pending::new(self.clone(), self.upload(ApiPath::new("/1.0/instances"), &headers, backup).await?))
    }

    /// Replaces an instance's configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_instance(&self, name: &str, instance: &InstancePut, etag: &str) -> Result<Pending, ClientError> {
        self.begin(Method::PUT, instance_path(name), Some(instance), etag).await
    }

    /// Renames or moves an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn move_instance(&self, name: &str, request: &InstancePost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, instance_path(name), Some(request), "").await
    }

    /// Makes an instance's root anew.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rebuild_instance(&self, name: &str, request: &InstanceRebuildPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, instance_path(name).then("rebuild"), Some(request), "").await
    }

    /// Deletes an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_instance(&self, name: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::DELETE, instance_path(name), None, "").await
    }

    /// Starts, stops, restarts, freezes or unfreezes an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn change_state(&self, name: &str, state: &InstanceStatePut) -> Result<Pending, ClientError> {
        self.begin(Method::PUT, instance_path(name).then("state"), Some(state), "").await
    }

    /// Waits until an instance has done something.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn wait_instance(&self, name: &str, request: &InstanceWaitPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, instance_path(name).then("wait"), Some(request), "").await
    }

    /// Changes the state of all instances.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn change_all_states(&self, state: InstanceStatePut) -> Result<Pending, ClientError> {
        self.begin(Method::PUT, ApiPath::new("/1.0/instances"), Some(&InstancesPut { state: Some(state) }), "").await
    }

    /// Lists the URLs of an instance's log files.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance_logs(&self, name: &str) -> Result<Vec<String>, ClientError> {
        self.get(instance_path(name).then("logs")).await
    }

    /// Reads a log file of an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance_log(&self, name: &str, file: &str) -> Result<Download, ClientError> {
        self.download(instance_path(name).then("logs").segment(file)).await
    }
}

pub(crate) fn instance_path(name: &str) -> ApiPath {
    ApiPath::new("/1.0/instances").segment(name)
}
