//! Making test images by hand.

use coffer_test_images::{Image, Release, busybox, cloud, debian, have_cloud, have_debian, have_nesting, nesting};

use crate::Outcome;
use crate::run::build_directory;

/// Makes the named images, or all; those already made stay.
///
/// # Errors
/// An unknown name, or a tool's failure.
pub fn make(names: &[&str]) -> Outcome {
    let all = ["busybox", "bookworm", "trixie", "cloud", "nesting"];
    let cache = build_directory()?.join("images");
    for name in if names.is_empty() { &all[..] } else { names } {
        let image = match *name {
            "busybox" => busybox(&cache),
            "cloud" => {
                if !have_cloud(&cache) {
                    println!("Making the image cloud; mmdebstrap takes about a minute.");
                }
                cloud(&cache)
            }
            "nesting" => {
                if !have_nesting(&cache) {
                    println!("Making the image nesting; mmdebstrap takes a minute or two.");
                }
                nesting(&cache)
            }
            other => {
                let release = Release::ALL.into_iter().find(|release| release.name() == other);
                let release = release.ok_or_else(|| format!("no image {other}; there are {}", all.join(", ")))?;
                if !have_debian(&cache, release) {
                    println!("Making the image {other}; mmdebstrap takes about half a minute.");
                }
                debian(&cache, release)
            }
        };
        let Image { unified, .. } = image.map_err(|error| explain(name, &error))?;
        println!("{name}: {}", unified.display());
    }
    Ok(())
}

/// Writes an error with its causes on one line.
pub fn explain(name: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("making the image {name}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
