//! Cargo's own tools, and what cargo knows about the workspace.

use serde_json::Value;

use crate::Outcome;
use crate::run::{capture, show};

/// Formats every crate, or says what is not formatted.
///
/// # Errors
/// Something is not formatted, or rustfmt is missing.
pub fn format(check: bool) -> Outcome {
    let tail: &[&str] = if check { &["--check"] } else { &[] };
    show("cargo", ["fmt", "--all", "--"].iter().chain(tail))
}

/// Runs clippy over everything; a warning is an error.
///
/// # Errors
/// Something to improve, or clippy is missing.
pub fn lint() -> Outcome {
    show("cargo", ["clippy", "--workspace", "--all-targets", "--features", "cofferd/fault", "--quiet", "--", "--deny", "warnings"])
}

/// A package as cargo knows it.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an SPDX expression.
    pub licence: Option<String>,
    /// Where it comes from; none for a path.
    pub source: Option<String>,
    /// What it declares to depend on.
    pub needs: Vec<Need>,
}

/// One declared dependency.
#[derive(Debug, Clone)]
pub struct Need {
    /// The package.
    pub name: String,
    /// Only tests, examples and benches use it.
    pub dev: bool,
}

/// Reads the packages of the workspace (`deep` false) or of everything it links (`deep` true).
///
/// # Errors
/// Cargo fails, or answers something unexpected.
pub fn packages(deep: bool) -> Result<Vec<Package>, String> {
    let metadata = metadata(deep)?;
    let list = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    list.iter().map(|package| read(package).ok_or_else(|| format!("cargo metadata: odd package {}", package["name"]))).collect()
}

/// Returns the names of all packages that `root` links, itself included: normal dependencies, as resolved for this host.
///
/// # Errors
/// Cargo fails, or answers something unexpected.
pub fn linked(root: &str) -> Result<Vec<String>, String> {
    let text = capture("cargo", ["tree", "--locked", "--package", root, "--edges", "normal", "--prefix", "none", "--format", "{p}"])?;
    let mut names: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn metadata(deep: bool) -> Result<Value, String> {
    let mut args = vec!["metadata", "--format-version", "1", "--all-features"];
    if deep {
        args.push("--locked");
    } else {
        args.push("--no-deps");
    }
    serde_json::from_str(&capture("cargo", args)?).map_err(|error| format!("reading cargo metadata: {error}"))
}

fn read(package: &Value) -> Option<Package> {
    let text = |key: &str| package[key].as_str().map(str::to_owned);
    let needs = package["dependencies"].as_array()?.iter();
    let needs = needs.map(|need| Some(Need { name: need["name"].as_str()?.to_owned(), dev: need["kind"].as_str() == Some("dev") }));
    Some(Package {
        name: text("name")?,
        version: text("version")?,
        licence: text("license"),
        source: text("source"),
        needs: needs.collect::<Option<_>>()?,
    })
}
