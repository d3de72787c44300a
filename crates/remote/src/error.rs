//! What can go wrong with a server of images.

use std::io;

use coffer_web::dial::DialError;
use coffer_web::multipart::FormError;
use coffer_web::tls::ClientConfigError;
use coffer_web::{FetchError, UrlError};

use crate::signature::SignatureError;

/// Why an image server was of no use.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// TLS is not set up here.
    #[error(transparent)]
    Tls(#[from] ClientConfigError),
    /// An address that is none, or a path that leads out of the server's tree.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// An answer is not what the protocol says.
    #[error("{url} is not what an image server answers")]
    Form {
        /// What was asked for.
        url: String,
        /// What is wrong.
        #[source]
        cause: serde_json::Error,
    },
    /// An answer lacks something.
    #[error("{url}: {what}")]
    Lacking {
        /// What was asked for.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// The server offers an older list than it did before.
    #[error(
        "{url} is of {now}, older than that of {before} which was seen before: somebody may be replaying old images; \
         if the server really went back, remove the cache in {cache}"
    )]
    Downgraded {
        /// What was asked for.
        url: String,
        /// Its date now.
        now: String,
        /// Its date before.
        before: String,
        /// Where the cache is.
        cache: String,
    },
    /// A list's signature is missing or wrong.
    #[error("{url} {cause}")]
    Signature {
        /// The list.
        url: String,
        /// What is wrong.
        cause: SignatureError,
    },
    /// A server of a kind that signs nothing, where only signed lists are accepted.
    #[error("image server {server} signs nothing (its protocol is {protocol}), and only signed images are accepted here")]
    SignsNothing {
        /// The server.
        server: String,
        /// How it is spoken to.
        protocol: &'static str,
    },
    /// A registry, where lists are asked for.
    #[error("registry {registry} lists no images: launch or copy one by its name, such as alpine:3.20")]
    NoList {
        /// The registry.
        registry: String,
    },
    /// There is no such image.
    #[error("image server {server} has no image {name} for {architecture}")]
    NoImage {
        /// The server.
        server: String,
        /// What was asked for.
        name: String,
        /// For which architecture.
        architecture: String,
    },
    /// More than one image fits.
    #[error("image server {server} has more than one image whose fingerprint begins with {name}; give more of it")]
    Ambiguous {
        /// The server.
        server: String,
        /// What was asked for.
        name: String,
    },
    /// A file is not what it should be.
    #[error("{url} has hash {found}, not {expected}: it was damaged or replaced on the way")]
    Hash {
        /// The file.
        url: String,
        /// Its SHA-256.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A file is longer or shorter than the server said.
    #[error("{url} has {found} bytes, not the {expected} that the server announced")]
    Size {
        /// The file.
        url: String,
        /// Bytes that came.
        found: u64,
        /// Bytes that should have come.
        expected: u64,
    },
    /// The form that a split image comes in is damaged.
    #[error("{url}: {cause}")]
    Damaged {
        /// What was asked for.
        url: String,
        /// What is wrong.
        #[source]
        cause: FormError,
    },
    /// Another daemon does not take the image that was sent.
    #[error("server {server} did not take the image: {why}")]
    NotTaken {
        /// The daemon.
        server: String,
        /// Its own words.
        why: String,
    },
    /// What came could not be stored.
    #[error(transparent)]
    Store(io::Error),
}

impl From<DialError> for RemoteError {
    fn from(error: DialError) -> Self {
        Self::Fetch(error.into())
    }
}
