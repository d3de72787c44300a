//! Networks.

use coffer_api::{Network, NetworkLease, NetworkPost, NetworkPut, NetworkState, NetworksPost};
use hyper::Method;

use crate::{ApiPath, Client, ClientError, Tagged};

impl Client {
    /// Lists networks.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn networks(&self) -> Result<Vec<Network>, ClientError> {
        self.get(ApiPath::new("/1.0/networks").query("recursion", "1")).await
    }

    /// Reads a network.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn network(&self, name: &str) -> Result<Tagged<Network>, ClientError> {
        self.get_tagged(network_path(name)).await
    }

    /// Reads what a network's interface looks like.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn network_state(&self, name: &str) -> Result<NetworkState, ClientError> {
        self.get(network_path(name).then("state")).await
    }

    /// Lists the addresses a network gave away.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn network_leases(&self, name: &str) -> Result<Vec<NetworkLease>, ClientError> {
        self.get(network_path(name).then("leases")).await
    }

    /// Makes a network.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_network(&self, network: &NetworksPost) -> Result<(), ClientError> {
        self.change(Method::POST, ApiPath::new("/1.0/networks"), Some(network), "").await.map(drop)
    }

    /// Replaces a network's configuration.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_network(&self, name: &str, network: &NetworkPut, etag: &str) -> Result<(), ClientError> {
        self.begin(Method::PUT, network_path(name), Some(network), etag).await?.wait().await.map(drop)
    }

    /// Renames a network.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rename_network(&self, name: &str, new_name: &str) -> Result<(), ClientError> {
        self.change(Method::POST, network_path(name), Some(&NetworkPost { name: new_name.to_owned() }), "").await.map(drop)
    }

    /// Deletes a network.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_network(&self, name: &str) -> Result<(), ClientError> {
        self.begin::<()>(Method::DELETE, network_path(name), None, "").await?.wait().await.map(drop)
    }
}

fn network_path(name: &str) -> ApiPath {
    ApiPath::new("/1.0/networks").segment(name)
}
