//! Signatures of lists: a file beside each list, `LIST.sig`, says whose list it is.
//!
//! A list names its images by their hashes, so whoever signed the list signed the images. The signature is Ed25519 over the
//! list's path and its bytes, so that a list cannot be passed off as another. Clients that know nothing of it read the same tree.

use std::fmt;
use std::str::FromStr;

use coffer_web::base64;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// What is put behind a list's path to name its signature.
pub const SUFFIX: &str = ".sig";

/// The largest signature file that is read, in bytes.
pub const LIMIT: usize = 4096;

/// The form that this page describes.
const FORMAT: &str = "coffer-signature:1";

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key for signatures of image lists: it must be 32 bytes in base64, as `coffer simplestreams sign` prints it")]
pub struct PublicKeyError(String);

impl PublicKey {
    /// Takes the key's bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = base64::decode(text.trim()).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| PublicKeyError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose lists are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signers {
    /// Keys that are believed. A signature by another key is as good as none.
    pub keys: Vec<PublicKey>,
    /// Whether a list without a signature by one of the keys is refused.
    pub required: bool,
}

impl Signers {
    /// Says whether signatures matter at all.
    #[must_use]
    pub fn care(&self) -> bool {
        self.required || !self.keys.is_empty()
    }
}

/// What is wrong with a list's signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("is not signed, and only signed lists are accepted here")]
    Missing,
    /// The file is no signature.
    #[error("has a signature file that is none")]
    Form,
    /// Somebody else signed.
    #[error("is signed by key {0}, which is not one that is trusted here")]
    Stranger(PublicKey),
    /// The list is not what was signed.
    #[error("does not fit its signature by key {0}: it was changed on the way, or is being changed; try again later")]
    Wrong(PublicKey),
}

/// A signature file.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: String,
    key: String,
    signature: String,
}

/// What is signed of a list.
#[must_use]
pub fn message(path: &str, body: &[u8]) -> Vec<u8> {
    [FORMAT.as_bytes(), b"\n", path.as_bytes(), b"\n", body].concat()
}

/// Writes the signature file for a signature over a [`message`].
#[must_use]
pub fn write(key: PublicKey, signature: &[u8]) -> Vec<u8> {
    let document = Document { format: FORMAT.into(), key: key.to_string(), signature: base64::encode(signature) };
    let mut text = serde_json::to_vec(&document).expect("texts are JSON");
    text.push(b'\n');
    text
}

/// Checks a list against its signature file; `None` is that there is no such file. Answers who signed, if it is somebody trusted.
///
/// # Errors
/// See [`SignatureError`].
pub fn check(path: &str, body: &[u8], file: Option<&[u8]>, signers: &Signers) -> Result<Option<PublicKey>, SignatureError> {
    let unsigned = |error| if signers.required { Err(error) } else { Ok(None) };
    let Some(file) = file else { return unsigned(SignatureError::Missing) };
    let Some((key, signature)) = read(file) else { return Err(SignatureError::Form) };
    if !signers.keys.contains(&key) {
        return unsigned(SignatureError::Stranger(key));
    }
    let verified = UnparsedPublicKey::new(&ED25519, &key.0).verify(&message(path, body), &signature);
    verified.map(|()| Some(key)).map_err(|_| SignatureError::Wrong(key))
}

/// Whose signature a file claims to be.
#[must_use]
pub fn claimed(file: &[u8]) -> Option<PublicKey> {
    read(file).map(|(key, _)| key)
}

fn read(file: &[u8]) -> Option<(PublicKey, Vec<u8>)> {
    let document: Document = serde_json::from_slice(file).ok()?;
    let signature = base64::decode(&document.signature)?;
    (document.format == FORMAT).then_some((document.key.parse().ok()?, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = PublicKey::from_bytes(pair.public_key().as_ref().try_into().unwrap());
        (pair, key)
    }

    fn sign(seed: u8, path: &str, body: &[u8]) -> Vec<u8> {
        let (pair, key) = pair(seed);
        write(key, pair.sign(&message(path, body)).as_ref())
    }

    #[track_caller]
    fn verdict(file: Option<&[u8]>, trusted: &[u8], required: bool) -> String {
        let signers = Signers { keys: trusted.iter().map(|seed| pair(*seed).1).collect(), required };
        match check("a.json", b"{}", file, &signers) {
            Ok(Some(key)) => format!("by {}", &key.to_string()[..4]),
            Ok(None) => "unsigned".into(),
            Err(error) => error.to_string().split([':', ',']).next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn whose_lists_are_believed() {
        let own = sign(1, "a.json", b"{}");
        let name = |seed| format!("by {}", &pair(seed).1.to_string()[..4]);
        assert_eq!(verdict(Some(&own), &[1], true), name(1));
        assert_eq!(verdict(Some(&own), &[2, 1], false), name(1));
        assert_eq!(verdict(Some(&own), &[2], false), "unsigned");
        assert_eq!(verdict(Some(&own), &[2], true), format!("is signed by key {}", pair(1).1));
        assert_eq!(verdict(None, &[1], false), "unsigned");
        assert_eq!(verdict(None, &[1], true), "is not signed");
        for wrong in [sign(1, "b.json", b"{}"), sign(1, "a.json", b"{ }")] {
            assert_eq!(verdict(Some(&wrong), &[1], false), format!("does not fit its signature by key {}", pair(1).1));
        }
        assert_eq!(verdict(Some(b"nonsense"), &[1], false), "has a signature file that is none");
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let (_, key) = pair(7);
        assert_eq!(key.to_string().parse(), Ok(key));
        for wrong in ["", "abc", "AAAA"] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
