//! Warnings.

use coffer_api::{Warning, WarningPut};
use hyper::Method;

use crate::{ApiPath, Client, ClientError, Tagged};

impl Client {
    /// Lists warnings.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn warnings(&self) -> Result<Vec<Warning>, ClientError> {
        self.get(ApiPath::new("/1.0/warnings").query("recursion", "1")).await
    }

    /// Reads a warning.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn warning(&self, uuid: &str) -> Result<Tagged<Warning>, ClientError> {
        self.get_tagged(warning_path(uuid)).await
    }

    /// Changes the status of a warning.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_warning(&self, uuid: &str, status: &str) -> Result<(), ClientError> {
        self.change(Method::PUT, warning_path(uuid), Some(&WarningPut { status: status.to_owned() }), "").await.map(drop)
    }

    /// Deletes a warning.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_warning(&self, uuid: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, warning_path(uuid), None, "").await.map(drop)
    }
}

fn warning_path(uuid: &str) -> ApiPath {
    ApiPath::new("/1.0/warnings").segment(uuid)
}
