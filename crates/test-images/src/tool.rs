//! Running the distribution's tools, and what can go wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why an image could not be made.
#[derive(Debug)]
pub enum ImageError {
    /// A tool is not installed.
    Missing {
        /// The tool.
        tool: String,
    },
    /// A tool failed.
    Tool {
        /// The tool.
        tool: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A file could not be read or written.
    Io {
        /// What was being done.
        what: String,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// The running program was not built by cargo where cargo builds.
    NoBuildDirectory {
        /// The running program.
        exe: PathBuf,
    },
}

impl std::fmt::Display for ImageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { tool } => write!(f, "{tool} is not installed; `cargo xtask packages test` installs it"),
            Self::Tool { tool, stderr } => write!(f, "{tool} failed: {stderr}"),
            Self::Io { what, .. } => write!(f, "{what}"),
            Self::NoBuildDirectory { exe } => write!(f, "{} does not lie in a build directory", exe.display()),
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            Self::Missing { .. } | Self::Tool { .. } | Self::NoBuildDirectory { .. } => None,
        }
    }
}

/// Runs a tool to its end with no input.
pub fn run<A: AsRef<std::ffi::OsStr>>(tool: &str, args: impl IntoIterator<Item = A>) -> Result<String, ImageError> {
    let output = Command::new(tool).args(args).stdin(Stdio::null()).output().map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => ImageError::Missing { tool: tool.to_owned() },
        _ => ImageError::Io { what: format!("starting {tool}"), cause },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let start = stderr.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
    Err(ImageError::Tool { tool: tool.to_owned(), stderr: stderr[start..].trim().to_owned() })
}

/// Adds the path to an error of the file system.
pub fn at<T>(what: &str, path: &Path, result: std::io::Result<T>) -> Result<T, ImageError> {
    result.map_err(|cause| ImageError::Io { what: format!("{what} {}", path.display()), cause })
}
