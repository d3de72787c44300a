//! Hooks of a specification: what they would do is done here, or refused by name. The programs themselves are never started.
//!
//! Source: `nvidia-cdi-hook --help` of the NVIDIA Container Toolkit, version 1.17.

use super::document::Hook;
use super::{Edits, Link, inside};

/// Hooks that change nothing that a container here needs.
const NEEDLESS: &[&str] = &[
    // Older CUDA of an image gives way to the driver's own: the libraries that are mounted are the driver's.
    "enable-cuda-compat",
    // Keeps the driver from making nodes by itself: nobody but this server makes nodes in an instance.
    "disable-device-node-modification",
    // Directories of nodes can be entered by everybody.
    "chmod",
];

/// Adds what a hook would do.
pub(super) fn add(hook: &Hook, edits: &mut Edits) -> Result<(), String> {
    let name = hook.path.rsplit('/').next().unwrap_or_default();
    let mut words = hook.args.iter().skip(1).map(String::as_str).skip_while(|word| *word == "hook");
    match (name, words.next()) {
        ("nvidia-cdi-hook" | "nvidia-ctk", Some("create-symlinks")) => {
            for text in values(words, "--link")? {
                let link = text.split_once("::").ok_or_else(|| format!("link {text:?} of hook create-symlinks is no TARGET::LINK"))?;
                edits.links.push(Link { target: link.0.to_owned(), path: inside(link.1)? });
            }
            Ok(())
        }
        ("nvidia-cdi-hook" | "nvidia-ctk", Some("update-ldcache")) => {
            for folder in values(words, "--folder")? {
                edits.libraries.push(inside(folder)?);
            }
            Ok(())
        }
        ("nvidia-cdi-hook" | "nvidia-ctk", Some(what)) if NEEDLESS.contains(&what) => Ok(()),
        ("nvidia-cdi-hook" | "nvidia-ctk", Some(what)) => Err(format!("hook {name} {what} is not known to this server")),
        _ => Err(format!("hook {} is not run: this server starts no program that a specification names", hook.path)),
    }
}

/// The values of an option that may be given several times, as two words or as one; other options count for nothing here.
fn values<'a>(words: impl Iterator<Item = &'a str>, option: &str) -> Result<Vec<&'a str>, String> {
    let mut words = words;
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix(option) {
            Some("") => found.push(words.next().ok_or_else(|| format!("option {option} of a hook has no value"))?),
            Some(rest) => found.extend(rest.strip_prefix('=')),
            None => {}
        }
    }
    Ok(found)
}
