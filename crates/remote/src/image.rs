//! An image as a server elsewhere describes it.

use std::collections::BTreeMap;

use coffer_base::Architecture;

/// An image as a server elsewhere describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteImage {
    /// SHA-256 of its file or files: 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Names that it goes by there.
    pub aliases: Vec<String>,
    /// Its architecture.
    pub architecture: Architecture,
    /// What it is an image of.
    pub kind: ImageKind,
    /// Bytes of its file or files; 0 where the server does not say.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// When it expires, in seconds since 1970; `None` is never.
    pub expires_at: Option<i64>,
    /// What it says of itself.
    pub properties: BTreeMap<String, String>,
    /// The name of its file; not to be trusted as a path.
    pub filename: String,
    /// Where its bytes are; empty where it is fetched as a whole.
    pub files: Vec<RemoteFile>,
    /// What makes its second file out of another image's.
    pub deltas: Vec<Delta>,
}

/// The difference of two images' root file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The fingerprint of the image whose root file system it begins with.
    pub base: String,
    /// The difference, as VCDIFF.
    pub file: RemoteFile,
}

/// What an image is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageKind {
    /// A container.
    Container,
    /// A virtual machine.
    VirtualMachine,
}

impl ImageKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::VirtualMachine => "virtual-machine",
        }
    }
}

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path below the server's address, as the server named it.
    pub path: String,
    /// Its SHA-256, where the server says it.
    pub sha256: Option<String>,
    /// Its bytes; 0 where the server does not say.
    pub size: u64,
}

/// Says whether a text is a fingerprint or hash: 64 lower-case hexadecimal digits and nothing else.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
