//! Files of the repository that are written by the product itself: the OpenAPI description and the manual's reference pages.
//!
//! Each has one row in [`FILES`]; the program named there writes the file's text to standard output.

use std::fs;

use crate::Outcome;
use crate::run::{capture, top};

/// What to do with the generated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write it into the repository.
    Write,
    /// Compare it with the repository.
    Check,
}

/// A generated file.
struct File {
    /// Where it lies, from the top of the repository.
    path: &'static str,
    /// The source without which there is nothing to generate from; while it is missing the row is passed over, loudly.
    source: &'static str,
    /// What `cargo run` runs to write it.
    run: &'static [&'static str],
}

const FILES: [File; 3] = [
    File {
        path: "docs/api/openapi.json",
        source: "crates/api/examples/openapi.rs",
        run: &["--package", "coffer-api", "--example", "openapi"],
    },
    File { path: "docs/manual/cli.md", source: "crates/cli/examples/manual.rs", run: &["--package", "coffer-cli", "--example", "manual"] },
    File {
        path: "docs/manual/config.md",
        source: "crates/model/examples/manual.rs",
        run: &["--package", "coffer-model", "--example", "manual"],
    },
];

/// Generates every file.
///
/// # Errors
/// A program that fails; with [`Mode::Check`] also a file that is not as it would be written now.
pub fn run(mode: Mode) -> Outcome {
    let mut stale = Vec::new();
    for file in &FILES {
        if !top().join(file.source).exists() {
            println!("{}: not generated, {} does not exist", file.path, file.source);
            continue;
        }
        let text = capture("cargo", ["run", "--quiet"].iter().chain(file.run))?;
        let path = top().join(file.path);
        let current = fs::read_to_string(&path).unwrap_or_default();
        if current == text {
            continue;
        }
        match mode {
            Mode::Check => stale.push(file.path),
            Mode::Write => {
                let folder = path.parent().ok_or("a generated file without a folder")?;
                fs::create_dir_all(folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
                fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))?;
                println!("wrote {}", file.path);
            }
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(format!("not up to date, run `cargo xtask gen`: {}", stale.join(", "))) }
}
