//! What can go wrong with a tree of images.

use std::io;
use std::path::PathBuf;

use coffer_image::UnpackError;
use coffer_image::unpack::FailureKind;

/// Why a tree was not changed, read or served.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The tree's directory, or something in it, could not be used.
    #[error("using {path} of the tree {}", tree.display())]
    Tree {
        /// The tree.
        tree: PathBuf,
        /// What in it.
        path: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A list in the tree is not one of ours or anybody's.
    #[error("{path} of the tree {} is no list of images", tree.display())]
    List {
        /// The tree.
        tree: PathBuf,
        /// The list.
        path: String,
        /// What is wrong.
        #[source]
        cause: serde_json::Error,
    },
    /// A file of the new image could not be read.
    #[error("reading the file {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A file of the new image is no image.
    #[error("the file {} can't be published{}", file.display(), if *of_this_host { ": reading images in a process that is locked in takes root" } else { "" })]
    Image {
        /// The file.
        file: PathBuf,
        /// Whether it is this host that can't, not the image.
        of_this_host: bool,
        /// What is wrong.
        #[source]
        cause: UnpackError,
    },
    /// A root file system of a kind that no client looks for.
    #[error("the root file system {} is neither a squashfs nor a tar archive", file.display())]
    RootFormat {
        /// The file.
        file: PathBuf,
    },
    /// The image does not say what it is of.
    #[error("the image's metadata has no property {property:?}, of which its product's name is made")]
    Nameless {
        /// What is missing.
        property: &'static str,
    },
    /// A name that can't stand in a list.
    #[error("{name:?} can't be {what}: letters, digits, '-', '_', '.' and, in an alias, '/' can stand in one")]
    Name {
        /// The name.
        name: String,
        /// `an alias` or `part of a product's name`.
        what: &'static str,
    },
    /// The image is there.
    #[error("image {fingerprint} is in the tree already")]
    AlreadyThere {
        /// Its fingerprint.
        fingerprint: String,
    },
    /// Another product has that alias.
    #[error("alias {alias} belongs to product {product} already")]
    AliasTaken {
        /// The alias.
        alias: String,
        /// Whose it is.
        product: String,
    },
    /// Nothing of that name.
    #[error("the tree {} has no image {name}", tree.display())]
    NoImage {
        /// The tree.
        tree: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// Several images fit.
    #[error("more than one image of the tree {} has a fingerprint that begins with {name}; give more of it", tree.display())]
    Ambiguous {
        /// The tree.
        tree: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// The tree is signed, and a change would make the signature wrong.
    #[error("the tree {} is signed: give the key with --key, so that its lists can be signed anew", tree.display())]
    Signed {
        /// The tree.
        tree: PathBuf,
    },
    /// A file that holds no signing key.
    #[error("the file {} holds no signing key", file.display())]
    Key {
        /// The file.
        file: PathBuf,
    },
    /// No key could be made.
    #[error("making a signing key")]
    MakeKey,
    /// What is wrong with a tree, one line each.
    #[error("the tree {} is not as it should be:\n{}", tree.display(), wrong.join("\n"))]
    Wrong {
        /// The tree.
        tree: PathBuf,
        /// What is wrong.
        wrong: Vec<String>,
    },
    /// Serving in the clear to everybody.
    #[error("{address} is not a loopback address: give --certificate and --key-file to serve over HTTPS there")]
    InTheClear {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// Nothing can be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The certificate can't be used.
    #[error(transparent)]
    Certificate(#[from] coffer_web::tls::ServedCertificateError),
}

impl PublishError {
    pub(crate) fn image(file: &std::path::Path, cause: UnpackError) -> Self {
        Self::Image { file: file.to_owned(), of_this_host: cause.kind() == FailureKind::System, cause }
    }
}
