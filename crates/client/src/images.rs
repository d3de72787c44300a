//! Images and their aliases.

use coffer_api::{
    Image, ImageAliasesEntry, ImageAliasesEntryPost, ImageAliasesEntryPut, ImageAliasesPost, ImageExportPost, ImagePut, ImagesPost,
};
use hyper::Method;
use serde::Serialize;

use crate::{Answer, ApiPath, Client, ClientError, Pending, Tagged};

impl Client {
    /// Lists images.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn images(&self, filter: &str) -> Result<Vec<Image>, ClientError> {
        let mut path = ApiPath::new("/1.0/images").query("recursion", "1");
        if !filter.is_empty() {
            path = path.query("filter", filter);
        }
        self.get(path).await
    }

    /// Reads an image by its fingerprint or the start of one.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn image(&self, fingerprint: &str) -> Result<Tagged<Image>, ClientError> {
        self.get_tagged(image_path(fingerprint)).await
    }

    /// Copies or publishes an image.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_image(&self, request: &ImagesPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, ApiPath::new("/1.0/images"), Some(request), "").await
    }

    /// Replaces an image's properties.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_image(&self, fingerprint: &str, image: &ImagePut, etag: &str) -> Result<(), ClientError> {
        self.change(Method::PUT, image_path(fingerprint), Some(image), etag).await.map(drop)
    }

    /// Deletes an image.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_image(&self, fingerprint: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::DELETE, image_path(fingerprint), None, "").await
    }

    /// Fetches an image anew from where it came.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn refresh_image(&self, fingerprint: &str) -> Result<Pending, ClientError> {
        self.begin::<()>(Method::POST, image_path(fingerprint).then("refresh"), None, "").await
    }

    /// Announces an image that another server will send; answers the secret that lets it in.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn expect_image(&self, request: &ImagesPost) -> Result<String, ClientError> {
        self.secret_of(ApiPath::new("/1.0/images"), Some(request)).await
    }

    /// Has the server send an image to another one that expects it.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn push_image(&self, fingerprint: &str, request: &ImageExportPost) -> Result<Pending, ClientError> {
        self.begin(Method::POST, image_path(fingerprint).then("export"), Some(request), "").await
    }

    /// Makes a secret with which an image that is not public can be fetched once.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn image_secret(&self, fingerprint: &str) -> Result<String, ClientError> {
        self.secret_of::<()>(image_path(fingerprint).then("secret"), None).await
    }

    /// Asks for an operation that stands for a secret.
    async fn secret_of<B: Serialize>(&self, path: ApiPath, body: Option<&B>) -> Result<String, ClientError> {
        let asked = path.to_string();
        let answer = self.change(Method::POST, path, body, "").await?;
        let secret = match &answer {
            Answer::Accepted(operation) => operation.metadata_value("secret").and_then(|secret| secret.as_str()),
            Answer::Done => None,
        };
        secret.map(str::to_owned).ok_or(ClientError::Lacking { path: asked, what: "the secret" })
    }

    /// Lists aliases.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn image_aliases(&self) -> Result<Vec<ImageAliasesEntry>, ClientError> {
        self.get(ApiPath::new("/1.0/images/aliases").query("recursion", "1")).await
    }

    /// Reads an alias.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn image_alias(&self, name: &str) -> Result<Tagged<ImageAliasesEntry>, ClientError> {
        self.get_tagged(alias_path(name)).await
    }

    /// Makes an alias.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_image_alias(&self, alias: &ImageAliasesPost) -> Result<(), ClientError> {
        self.change(Method::POST, ApiPath::new("/1.0/images/aliases"), Some(alias), "").await.map(drop)
    }

    /// Points an alias elsewhere.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_image_alias(&self, name: &str, alias: &ImageAliasesEntryPut) -> Result<(), ClientError> {
        self.change(Method::PUT, alias_path(name), Some(alias), "").await.map(drop)
    }

    /// Renames an alias.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn rename_image_alias(&self, name: &str, new_name: &str) -> Result<(), ClientError> {
        let request = ImageAliasesEntryPost { name: new_name.to_owned() };
        self.change(Method::POST, alias_path(name), Some(&request), "").await.map(drop)
    }

    /// Deletes an alias.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_image_alias(&self, name: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, alias_path(name), None, "").await.map(drop)
    }
}

pub(crate) fn image_path(fingerprint: &str) -> ApiPath {
    ApiPath::new("/1.0/images").segment(fingerprint)
}

fn alias_path(name: &str) -> ApiPath {
    ApiPath::new("/1.0/images/aliases").segment(name)
}
