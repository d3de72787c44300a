//! Images and their aliases.

use std::collections::BTreeMap;

use crate::Timestamp;

wire! {
    /// An image.
    pub struct Image {
        /// Whether a copy of a remote image is kept up to date.
        pub auto_update: bool,
        /// What it is: `os`, `release`, `description` …
        pub properties: BTreeMap<String, String>,
        /// Whether untrusted clients may read it.
        pub public: bool,
        /// When it is deleted by itself; the epoch means never.
        pub expires_at: Timestamp,
        /// Profiles for instances made of it.
        pub profiles: Vec<String>,
        /// Its aliases.
        pub aliases: Vec<ImageAlias>,
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Whether it was fetched only to make an instance.
        pub cached: bool,
        /// Name of the uploaded file.
        pub filename: String,
        /// SHA-256 of its bytes, lower-case hex.
        pub fingerprint: String,
        /// Bytes, as uploaded.
        pub size: i64,
        /// Where a copied image came from.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub update_source: Option<ImageSource>,
        /// `container` or `virtual-machine`.
        #[serde(rename = "type")]
        pub kind: String,
        /// When its author made it.
        pub created_at: Timestamp,
        /// When an instance was last made of it.
        pub last_used_at: Timestamp,
        /// When it came to this server.
        pub uploaded_at: Timestamp,
        /// Where it came from, beyond what LXD tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub origin: Option<ImageOrigin>,
    }

    /// Where an image came from, when and for whom; other servers than this one do not tell.
    pub struct ImageOrigin {
        /// URL of the server; empty for what a client sent.
        pub server: String,
        /// `lxd` or `simplestreams`; empty for what a client sent.
        pub protocol: String,
        /// Alias that was asked for; empty where the fingerprint was.
        pub alias: String,
        /// Who asked for it.
        pub asked_by: String,
        /// When it was fetched or sent.
        pub fetched_at: Timestamp,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/images/{fingerprint}`.
    pub struct ImagePut {
        /// Whether a copy of a remote image is kept up to date.
        pub auto_update: bool,
        /// What it is: `os`, `release`, `description` …
        pub properties: BTreeMap<String, String>,
        /// Whether untrusted clients may read it.
        pub public: bool,
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Profiles for instances made of it; null leaves them alone.
        pub profiles: Option<Vec<String>>,
    }

    /// An alias as an image lists it.
    pub struct ImageAlias {
        /// The alias.
        pub name: String,
        /// What it means.
        pub description: String,
    }

    /// Where a copied image came from.
    pub struct ImageSource {
        /// Alias it is followed by.
        pub alias: String,
        /// Certificate of the server, PEM.
        pub certificate: String,
        /// `lxd` or `simplestreams`.
        pub protocol: String,
        /// URL of the server.
        pub server: String,
        /// `container` or `virtual-machine`.
        pub image_type: String,
    }

    /// `POST /1.0/images` without an upload.
    pub struct ImagesPost {
        /// Whether a copy of a remote image is kept up to date.
        pub auto_update: bool,
        /// Properties over those of the source.
        pub properties: BTreeMap<String, String>,
        /// Whether untrusted clients may read it.
        pub public: bool,
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Profiles for instances made of it; null means the default.
        pub profiles: Option<Vec<String>>,
        /// Name of the file.
        pub filename: String,
        /// Where it comes from.
        pub source: Option<ImagesPostSource>,
        /// Compressor for a published instance; empty means the server's default.
        pub compression_algorithm: String,
        /// Aliases it gets.
        pub aliases: Vec<ImageAlias>,
    }

    /// Where a new image comes from.
    pub struct ImagesPostSource {
        /// Alias at the remote server.
        pub alias: String,
        /// Certificate of the remote server, PEM.
        pub certificate: String,
        /// `lxd` or `simplestreams`.
        pub protocol: String,
        /// URL of the remote server.
        pub server: String,
        /// `container` or `virtual-machine`.
        pub image_type: String,
        /// `pull` or `push`.
        pub mode: String,
        /// `image`, `instance`, `snapshot`, `url` …
        #[serde(rename = "type")]
        pub kind: String,
        /// URL of a file to fetch.
        pub url: String,
        /// Instance or snapshot to publish.
        pub name: String,
        /// Fingerprint at the remote server.
        pub fingerprint: String,
        /// Secret that opens a private image.
        pub secret: String,
        /// Project of the source.
        pub project: String,
        /// For an instance or snapshot: makes an image that depends on nothing but the files. Not in LXD.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reproducible: Option<ImageReproducible>,
    }

    /// How an image is made that depends on nothing but its files: the same ones give the same fingerprint, whenever that is done.
    ///
    /// Times later than `epoch` become `epoch`, also the image's own date of creation; holes in files become zeros. Where that image
    /// is there already, the operation ends with its fingerprint.
    pub struct ImageReproducible {
        /// Seconds since the Unix epoch, from 1 on.
        pub epoch: i64,
        /// Makes two files of it, the metadata and an archive of the root file system, instead of one.
        pub split: bool,
    }

    /// An alias.
    pub struct ImageAliasesEntry {
        /// What it means.
        pub description: String,
        /// Fingerprint of the image.
        pub target: String,
        /// The alias.
        pub name: String,
        /// `container` or `virtual-machine`.
        #[serde(rename = "type")]
        pub kind: String,
    }

    /// `POST /1.0/images/aliases`.
    pub struct ImageAliasesPost {
        /// What it means.
        pub description: String,
        /// Fingerprint of the image, or the start of one.
        pub target: String,
        /// The alias.
        pub name: String,
        /// `container` or `virtual-machine`.
        #[serde(rename = "type")]
        pub kind: String,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/images/aliases/{name}`.
    pub struct ImageAliasesEntryPut {
        /// What it means.
        pub description: String,
        /// Fingerprint of the image, or the start of one.
        pub target: String,
    }

    /// `POST /1.0/images/aliases/{name}`: rename.
    pub struct ImageAliasesEntryPost {
        /// New alias.
        pub name: String,
    }

    /// `POST /1.0/images/{fingerprint}/export`: push to another server.
    pub struct ImageExportPost {
        /// URL of the target.
        pub target: String,
        /// Secret the target gave.
        pub secret: String,
        /// Certificate of the target, PEM.
        pub certificate: String,
        /// Aliases it gets there.
        pub aliases: Vec<ImageAlias>,
        /// Project at the target.
        pub project: String,
        /// Profiles at the target.
        pub profiles: Vec<String>,
    }

    /// `metadata.yaml` of an image or instance.
    pub struct ImageMetadata {
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Seconds since the Unix epoch.
        pub creation_date: i64,
        /// Seconds since the Unix epoch; 0 means never.
        pub expiry_date: i64,
        /// What it is: `os`, `release`, `description` …
        pub properties: BTreeMap<String, String>,
        /// Files made from templates, by path inside the instance.
        pub templates: Option<BTreeMap<String, ImageMetadataTemplate>>,
    }

    /// A file made from a template.
    pub struct ImageMetadataTemplate {
        /// When it is made: `create`, `copy`, `start`.
        pub when: Vec<String>,
        /// Whether an existing file is left alone.
        pub create_only: bool,
        /// Name of the template.
        pub template: String,
        /// Values for the template.
        pub properties: BTreeMap<String, String>,
    }
}

impl Image {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> ImagePut {
        ImagePut {
            auto_update: self.auto_update,
            properties: self.properties.clone(),
            public: self.public,
            expires_at: self.expires_at,
            profiles: Some(self.profiles.clone()),
        }
    }
}
