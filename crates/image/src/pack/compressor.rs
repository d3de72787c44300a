//! What a new archive is compressed with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::format::{Compression, Format};

/// What a new archive is compressed with, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressor {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// How hard it tries, in the algorithm's own numbers.
    pub level: u8,
}

/// An algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Nothing is compressed.
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The older format of xz's family.
    Lzma,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// The words for the algorithms, the lowest and highest level, and the one that their programs take unless told.
const WORDS: &[(&str, Algorithm, u8, u8, u8)] = &[
    ("none", Algorithm::None, 0, 0, 0),
    ("gzip", Algorithm::Gzip, 1, 9, 6),
    ("pigz", Algorithm::Gzip, 1, 9, 6),
    ("bzip2", Algorithm::Bzip2, 1, 9, 9),
    ("lzma", Algorithm::Lzma, 0, 9, 6),
    ("xz", Algorithm::Xz, 0, 9, 6),
    ("zstd", Algorithm::Zstd, 1, 19, 3),
    ("pzstd", Algorithm::Zstd, 1, 19, 3),
];

/// A text that names no compressor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compression {0:?} is not supported: use none, gzip, bzip2, lzma, xz or zstd, perhaps with a level as in \"zstd -19\"")]
pub struct UnknownCompressor(String);

impl Compressor {
    /// The compression that a reader of the archive finds.
    #[must_use]
    pub fn compression(self) -> Compression {
        match self.algorithm {
            Algorithm::None => Compression::None,
            Algorithm::Gzip => Compression::Gzip,
            Algorithm::Bzip2 => Compression::Bzip2,
            Algorithm::Lzma => Compression::Lzma,
            Algorithm::Xz => Compression::Xz,
            Algorithm::Zstd => Compression::Zstd,
        }
    }

    /// The ending of an archive's file name, with its dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        Format::Tar(self.compression()).extension()
    }
}

impl FromStr for Compressor {
    type Err = UnknownCompressor;

    /// Reads a word, perhaps followed by a level: `gzip`, `zstd -19`. Nothing else of a program's options means anything here.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownCompressor(text.chars().take(100).collect());
        let mut words = text.split_ascii_whitespace();
        let word = words.next().ok_or_else(unknown)?;
        let (_, algorithm, low, high, usual) = WORDS.iter().find(|row| row.0 == word).ok_or_else(unknown)?;
        let level = match words.next() {
            None => *usual,
            Some(level) => {
                let digits =
                    level.strip_prefix('-').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(unknown)?;
                digits.parse().ok().filter(|level| (low..=high).contains(&level)).ok_or_else(unknown)?
            }
        };
        if words.next().is_some() { Err(unknown()) } else { Ok(Self { algorithm: *algorithm, level }) }
    }
}

impl fmt::Display for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = WORDS.iter().find(|row| row.1 == self.algorithm);
        let (word, usual) = row.map_or(("none", 0), |row| (row.0, row.4));
        if self.level == usual { f.write_str(word) } else { write!(f, "{word} -{}", self.level) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(text.parse::<Compressor>().ok().map(|compressor| compressor.to_string()).as_deref(), expect, "{text:?}");
    }

    #[test]
    fn words_and_levels() {
        check("gzip", Some("gzip"));
        check("pigz -9", Some("gzip -9"));
        check(" zstd  -19 ", Some("zstd -19"));
        check("xz -6", Some("xz"));
        check("none", Some("none"));
        check("lzma -0", Some("lzma -0"));
    }

    #[test]
    fn nothing_else_passes() {
        let hostile = ["bash -c 'touch /tmp/p'", "zstd -o /etc/x", "--use-compress-program=sh", "gzip --suffix=.x", "gzip -6 -9"];
        let others = ["", "squashfs", "lz4", "GZIP", "gzip -10", "gzip 6", "none -1", "zstd -22", "gzip -", "gzip\0"];
        hostile.into_iter().chain(others).for_each(|text| check(text, None));
    }
}
