//! What an instance keeps of its image: metadata and templates.

use coffer_api::ImageMetadata;
use hyper::Method;
use hyper::header::CONTENT_TYPE;

use crate::instances::instance_path;
use crate::{ApiPath, Client, ClientError, Part, Tagged, Upload};

impl Client {
    /// Reads the metadata an instance's image brought.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance_metadata(&self, name: &str) -> Result<Tagged<ImageMetadata>, ClientError> {
        self.get_tagged(instance_path(name).then("metadata")).await
    }

    /// Replaces an instance's metadata.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_instance_metadata(&self, name: &str, metadata: &ImageMetadata, etag: &str) -> Result<(), ClientError> {
        self.change(Method::PUT, instance_path(name).then("metadata"), Some(metadata), etag).await.map(drop)
    }

    /// Lists an instance's templates by name.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance_templates(&self, name: &str) -> Result<Vec<String>, ClientError> {
        self.get(instance_path(name).then("metadata").then("templates")).await
    }

    /// Reads the text of a template.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn instance_template(&self, name: &str, template: &str) -> Result<Vec<u8>, ClientError> {
        self.download(template_path(name, template)).await?.bytes().await
    }

    /// Writes a template.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn put_instance_template(&self, name: &str, template: &str, text: Vec<u8>) -> Result<(), ClientError> {
        let headers = [(CONTENT_TYPE, "application/octet-stream")];
        self.upload(template_path(name, template), &headers, Upload::new(vec![Part::Bytes(text.into())])).await.map(drop)
    }

    /// Deletes a template.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_instance_template(&self, name: &str, template: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, template_path(name, template), None, "").await.map(drop)
    }
}

fn template_path(instance: &str, template: &str) -> ApiPath {
    instance_path(instance).then("metadata").then("templates").query("path", template)
}
