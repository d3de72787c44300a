//! Whole trees of files: copied, removed, measured, shifted — always by descriptors, never through a symbolic link, never
//! into another mount, however deep they are.

mod attributes;
mod copy;
mod data;
mod descent;
mod measure;
mod remove;
mod reuse;
mod shift;
mod spread;
mod update;
mod walk;
mod whiteout;

pub use copy::copy;
pub(crate) use copy::{copy_over, copy_without};
pub use measure::measure;
pub use remove::remove;
pub use shift::{Shift, shift};
pub(crate) use spread::spread;
pub(crate) use update::{Change, update};
pub(crate) use walk::{Entry, Visit, link, walk};
pub(crate) use whiteout::find_whiteout;

use std::io;
use std::path::Path;

/// Where in a tree something failed, and how.
#[derive(Debug, thiserror::Error)]
#[error("at {}", path.display())]
pub struct TreeError {
    /// The place below the tree's top; `.` is the top itself.
    pub path: Box<Path>,
    /// The kernel's answer.
    #[source]
    pub cause: io::Error,
}
