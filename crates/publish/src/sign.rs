//! The key that a publisher signs lists with: a file that only its owner reads.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use coffer_remote::PublicKey;
use coffer_remote::signature::{message, write};
use coffer_web::base64;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::error::PublishError;

/// A key that signs lists.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

impl SigningKey {
    /// Reads a key, or makes one in a file that is not there yet. The file holds PKCS #8 in base64.
    ///
    /// # Errors
    /// [`PublishError::File`], [`PublishError::Key`], [`PublishError::MakeKey`].
    pub fn load_or_make(file: &Path) -> Result<Self, PublishError> {
        if file.exists() {
            return Self::load(file);
        }
        let failed = |cause| PublishError::File { file: file.to_owned(), cause };
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| PublishError::MakeKey)?;
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
        writeln!(out, "{}", base64::encode(document.as_ref())).and_then(|()| out.sync_all()).map_err(failed)?;
        Self::load(file)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`PublishError::File`], [`PublishError::Key`].
    pub fn load(file: &Path) -> Result<Self, PublishError> {
        let text = fs::read_to_string(file).map_err(|cause| PublishError::File { file: file.to_owned(), cause })?;
        let pair = base64::decode(text.trim()).and_then(|bytes| Ed25519KeyPair::from_pkcs8(&bytes).ok());
        pair.map(Self).ok_or_else(|| PublishError::Key { file: file.to_owned() })
    }

    /// Its public half, which clients are told.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into().expect("a public key of Ed25519 has 32 bytes");
        PublicKey::from_bytes(bytes)
    }

    /// The signature file of a list.
    #[must_use]
    pub fn sign(&self, path: &str, body: &[u8]) -> Vec<u8> {
        write(self.public(), self.0.sign(&message(path, body)).as_ref())
    }
}
