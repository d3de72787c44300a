//! The server itself.

use coffer_api::{FsckFinding, RecoverPost, RecoverResult, Resources, Server, ServerPut};
use hyper::Method;

use crate::{ApiPath, Client, ClientError, Tagged};

impl Client {
    /// Reads what the server is and can do.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn server(&self) -> Result<Tagged<Server>, ClientError> {
        self.get_tagged(ApiPath::new("/1.0")).await
    }

    /// Replaces the server configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_server(&self, server: &ServerPut, etag: &str) -> Result<(), ClientError> {
        self.change(Method::PUT, ApiPath::new("/1.0"), Some(server), etag).await.map(drop)
    }

    /// Merges into the server configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn patch_server(&self, server: &ServerPut) -> Result<(), ClientError> {
        self.change(Method::PATCH, ApiPath::new("/1.0"), Some(server), "").await.map(drop)
    }

    /// Reads what the host has.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn resources(&self) -> Result<Resources, ClientError> {
        self.get(ApiPath::new("/1.0/resources")).await
    }

    /// Finds volumes that are in no record.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn find_unknown(&self, request: &RecoverPost) -> Result<RecoverResult, ClientError> {
        self.ask(ApiPath::new("/internal/recover/validate"), Some(request)).await
    }

    /// Takes in volumes that are in no record.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn take_in(&self, request: &RecoverPost) -> Result<(), ClientError> {
        self.change(Method::POST, ApiPath::new("/internal/recover/import"), Some(request), "").await.map(drop)
    }

    /// Compares the server's store, disk and kernel; with `repair` mends what can be mended.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn fsck(&self, repair: bool) -> Result<Vec<FsckFinding>, ClientError> {
        let path = ApiPath::new("/internal/fsck");
        if repair { self.ask::<(), _>(path, None).await } else { self.get(path).await }
    }

    /// Waits until the daemon serves.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn ready(&self) -> Result<(), ClientError> {
        // The daemon keeps the question until it serves; who asks sets the real limit by ending the call.
        let path = ApiPath::new("/internal/ready").query("timeout", "3600");
        self.get::<Option<serde_json::Value>>(path).await.map(drop)
    }

    /// Stops the instances and the daemon; `force` does not wait for running operations.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn shutdown(&self, force: bool) -> Result<(), ClientError> {
        let mut path = ApiPath::new("/internal/shutdown");
        if force {
            path = path.query("force", "true");
        }
        self.change::<()>(Method::PUT, path, None, "").await.map(drop)
    }
}
