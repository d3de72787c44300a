//! Hashes by which steps and their results are known.

use std::fmt;
use std::io::{self, Read};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The hash of texts, each told apart from the next.
    #[must_use]
    pub fn of(texts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Self::finish(hash)
    }

    /// The hash of everything that sources give, one after the other, as `sha256sum` says it.
    ///
    /// # Errors
    /// What reading says.
    pub fn of_content(sources: &mut [&mut dyn Read]) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        for source in sources {
            loop {
                match source.read(&mut piece) {
                    Ok(0) => break,
                    Ok(count) => hash.update(&piece[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self::finish(hash))
    }

    /// Takes a hash that was written down.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        plain.then(|| Self(text.to_owned()))
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its start, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    fn finish(hash: Sha256) -> Self {
        Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart_and_content_is_not() {
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let content = Digest::of_content(&mut [&mut &b"ab"[..], &mut &b"c"[..]]).unwrap();
        assert_eq!(content.as_str(), abc);
        assert_eq!(Digest::parse(abc), Some(content));
        assert_eq!(Digest::parse(&abc.to_uppercase()), None);
    }
}
