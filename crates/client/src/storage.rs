//! Storage pools.

use coffer_api::{ResourcesStoragePool, StoragePool, StoragePoolPut, StoragePoolsPost};
use hyper::Method;

use crate::{ApiPath, Client, ClientError, Tagged};

impl Client {
    /// Lists storage pools.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_pools(&self) -> Result<Vec<StoragePool>, ClientError> {
        self.get(ApiPath::new("/1.0/storage-pools").query("recursion", "1")).await
    }

    /// Reads a storage pool.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_pool(&self, name: &str) -> Result<Tagged<StoragePool>, ClientError> {
        self.get_tagged(pool_path(name)).await
    }

    /// Reads the room in a storage pool.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn storage_pool_resources(&self, name: &str) -> Result<ResourcesStoragePool, ClientError> {
        self.get(pool_path(name).then("resources")).await
    }

    /// Makes a storage pool.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_storage_pool(&self, pool: &StoragePoolsPost) -> Result<(), ClientError> {
        self.begin(Method::POST, ApiPath::new("/1.0/storage-pools"), Some(pool), "").await?.wait().await.map(drop)
    }

    /// Replaces a storage pool's configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_storage_pool(&self, name: &str, pool: &StoragePoolPut, etag: &str) -> Result<(), ClientError> {
        self.begin(Method::PUT, pool_path(name), Some(pool), etag).await?.wait().await.map(drop)
    }

    /// Deletes a storage pool.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_storage_pool(&self, name: &str) -> Result<(), ClientError> {
        self.begin::<()>(Method::DELETE, pool_path(name), None, "").await?.wait().await.map(drop)
    }
}

pub(crate) fn pool_path(name: &str) -> ApiPath {
    ApiPath::new("/1.0/storage-pools").segment(name)
}
