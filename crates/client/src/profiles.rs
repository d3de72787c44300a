//! Profiles.

use coffer_api::{Profile, ProfilePost, ProfilePut, ProfilesPost};
use hyper::Method;

use crate::{ApiPath, Client, ClientError, Tagged};

impl Client {
    /// Lists profiles.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn profiles(&self) -> Result<Vec<Profile>, ClientError> {
        self.get(ApiPath::new("/1.0/profiles").query("recursion", "1")).await
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn profile(&self, name: &str) -> Result<Tagged<Profile>, ClientError> {
        self.get_tagged(profile_path(name)).await
    }

    /// Makes a profile.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_profile(&self, profile: &ProfilesPost) -> Result<(), ClientError> {
        self.change(Method::POST, ApiPath::new("/1.0/profiles"), Some(profile), "").await.map(drop)
    }

    /// Replaces a profile.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_profile(&self, name: &str, profile: &ProfilePut, etag: &str) -> Result<(), ClientError> {
        self.begin(Method::PUT, profile_path(name), Some(profile), etag).await?.wait().await.map(drop)
    }

    /// Renames a profile.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rename_profile(&self, name: &str, new_name: &str) -> Result<(), ClientError> {
        self.change(Method::POST, profile_path(name), Some(&ProfilePost { name: new_name.to_owned() }), "").await.map(drop)
    }

    /// Deletes a profile.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_profile(&self, name: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, profile_path(name), None, "").await.map(drop)
    }
}

fn profile_path(name: &str) -> ApiPath {
    ApiPath::new("/1.0/profiles").segment(name)
}
