//! Reading recipes: our own YAML, the common parts of distrobuilder's, a useful part of Dockerfiles.
//!
//! What is not understood is refused by name and line, never passed over.

mod distrobuilder;
mod dockerfile;
mod native;
mod packages;
mod script;
mod usual;
mod words;
mod yaml;

use std::collections::BTreeMap;

use crate::context::{Context, ContextError};
use crate::recipe::Recipe;

/// The dialects of recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Our own YAML.
    Native,
    /// distrobuilder's YAML.
    Distrobuilder,
    /// A Dockerfile.
    Dockerfile,
}

/// Why a recipe can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// Something is not understood, or not as it must be.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, from 1 on.
        line: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Something is missing that belongs to no line.
    #[error("{reason}")]
    Whole {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file that the recipe names can't be read.
    #[error("line {line}")]
    File {
        /// The line.
        line: usize,
        /// Why.
        #[source]
        cause: ContextError,
    },
}

impl RecipeError {
    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self::Line { line, reason: reason.into() }
    }

    fn whole(reason: impl Into<String>) -> Self {
        Self::Whole { reason: reason.into() }
    }
}

/// What a recipe is read with.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The name of an image whose recipe gives it none.
    pub name: &'a str,
    /// Where files come from that the recipe names.
    pub context: &'a Context,
    /// Arguments from the command line.
    pub arguments: BTreeMap<String, String>,
    /// The architecture that is built for, as `x86_64`.
    pub architecture: &'a str,
}

impl Dialect {
    /// Tells the dialect by a file's name and its text.
    #[must_use]
    pub fn of(file_name: &str, text: &str) -> Self {
        let name = file_name.to_ascii_lowercase();
        if name.starts_with("dockerfile") || name.starts_with("containerfile") || name.ends_with(".dockerfile") {
            return Self::Dockerfile;
        }
        let has = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
        if has("source") && !has("base") { Self::Distrobuilder } else { Self::Native }
    }

    /// Reads a recipe of this dialect.
    ///
    /// # Errors
    /// See [`RecipeError`].
    pub fn read(self, text: &str, reading: &Reading<'_>) -> Result<Recipe, RecipeError> {
        match self {
            Self::Native => native::read(text, reading),
            Self::Distrobuilder => distrobuilder::read(text, reading),
            Self::Dockerfile => dockerfile::read(text, reading),
        }
    }
}

/// A name for the image's build, made of any text.
fn plain_name(text: &str) -> String {
    let plain: String = text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let name: String = parts.join("-").chars().take(30).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "image".into() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_are_told_apart() {
        assert_eq!(Dialect::of("Dockerfile.web", ""), Dialect::Dockerfile);
        assert_eq!(Dialect::of("web.yaml", "image:\n  distribution: debian\nsource:\n  downloader: debootstrap\n"), Dialect::Distrobuilder);
        assert_eq!(Dialect::of("web.yaml", "base:\n  image: x\n"), Dialect::Native);
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(plain_name("Debian 12 (bookworm)"), "debian-12-bookworm");
        assert_eq!(plain_name("--"), "image");
    }
}
