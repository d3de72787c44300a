//! `REPOSITORY[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

use crate::image::is_hash;

/// The longest repository name, in bytes.
const LONGEST: usize = 255;

/// Which image of a registry is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The repository: `library/alpine`.
    pub repository: String,
    /// The tag; `latest` where none is given.
    pub tag: String,
    /// The manifest's or index's SHA-256, where it is to be that one.
    pub digest: Option<String>,
}

/// A text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no image of a registry: it must be REPOSITORY[:TAG][@sha256:DIGEST] in lower case, such as alpine:3.20")]
pub struct ReferenceError(String);

impl Reference {
    /// What the registry is asked for.
    pub(super) fn wanted(&self) -> String {
        self.digest.as_ref().map_or_else(|| self.tag.clone(), |digest| format!("sha256:{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = || ReferenceError(text.chars().take(200).collect());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.strip_prefix("sha256:").filter(|digest| is_hash(digest)).ok_or_else(wrong)?;
                (rest, Some(digest.to_owned()))
            }
            None => (text, None),
        };
        let (repository, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        if repository.len() > LONGEST || !repository.split('/').all(is_component) || !is_tag(tag) {
            return Err(wrong());
        }
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned(), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@sha256:{digest}"))
    }
}

/// Lower-case letters and digits, with separators between them: one dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    let separators = bytes.split(|byte| alphanumeric(*byte)).all(|between| match between {
        b"" | b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|byte| *byte == b'-'),
    });
    ends && separators
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(word);
    first && text.len() <= 128 && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<Reference>().map_or_else(|_| "refused".to_owned(), |reference| reference.to_string());
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn references() {
        let hash = "a".repeat(64);
        check("alpine", "alpine:latest");
        check("alpine:3.20", "alpine:3.20");
        check("a/b-c/d_e__f.g:V1", "a/b-c/d_e__f.g:V1");
        check(&format!("alpine@sha256:{hash}"), &format!("alpine:latest@sha256:{hash}"));
        for wrong in [
            "",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "../a",
            "a/../b",
            "a:",
            "a:b/c",
            "a:-x",
            "a___b",
            "a..b",
            "a@sha256:b",
            "a@md5:x",
            "a b",
            "a?b",
            "a%2f",
        ] {
            check(wrong, "refused");
        }
        check(&"a".repeat(256), "refused");
    }
}
