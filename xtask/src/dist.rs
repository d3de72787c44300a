//! The release build: all programs side by side, as a package would install them.

use std::fs;
use std::path::PathBuf;

use crate::run::{build_directory, show};

/// Builds everything for release and returns the folder where the programs lie.
///
/// The monitor, the unpacker and the file server have a profile of their own: one stands behind every instance, so its memory counts.
///
/// # Errors
/// A build that fails, or a file that cannot be copied.
pub fn build() -> Result<PathBuf, String> {
    show("cargo", ["build", "--release", "--package", "cofferd", "--package", "coffer"])?;
    show(
        "cargo",
        ["build", "--profile", "monitor", "--package", "coffer-monitor", "--package", "coffer-unpack", "--package", "coffer-files"],
    )?;
    let target = build_directory()?;
    let dist = target.join("dist");
    fs::create_dir_all(&dist).map_err(|error| format!("creating {}: {error}", dist.display()))?;
    let programs = [
        ("release", "cofferd"),
        ("release", "coffer"),
        ("monitor", "coffer-monitor"),
        ("monitor", "coffer-unpack"),
        ("monitor", "coffer-files"),
    ];
    for (profile, name) in programs {
        let (from, to, new) = (target.join(profile).join(name), dist.join(name), dist.join(format!(".{name}.new")));
        // A running program cannot be overwritten, but its name can be given to another file.
        fs::copy(&from, &new)
            .and_then(|_| fs::rename(&new, &to))
            .map_err(|error| format!("copying {} to {}: {error}", from.display(), to.display()))?;
    }
    Ok(dist)
}
