//! Images for tests; made once, kept in the build directory.

use std::path::{Path, PathBuf};

use coffer_test_images::{Image, Release};

use crate::skipped;

/// Returns the busybox image.
///
/// # Panics
/// It cannot be made: a tool is missing or failed.
#[must_use]
#[track_caller]
pub fn busybox() -> Image {
    coffer_test_images::busybox(&cache()).unwrap_or_else(|error| panic!("making the busybox image: {error}"))
}

/// Returns the busybox image with a root file system changed by `spoil`; `recipe` says how, for the cache.
///
/// # Panics
/// It cannot be made: a tool is missing or failed.
#[must_use]
#[track_caller]
pub fn spoiled(recipe: &str, spoil: impl Fn(&Path) -> std::io::Result<()>) -> Image {
    coffer_test_images::spoiled_busybox(&cache(), recipe, spoil).unwrap_or_else(|error| panic!("making a spoiled image: {error}"))
}

/// Returns a Debian image if it is made already; else says that the test is skipped.
#[must_use]
pub fn debian(release: Release) -> Option<Image> {
    if !coffer_test_images::have_debian(&cache(), release) {
        skipped(&format!("the image {0} is not made; `cargo xtask images {0}` makes it", release.name()));
        return None;
    }
    coffer_test_images::debian(&cache(), release).ok()
}

/// Returns the Debian image with cloud-init and an ssh server if it is made already; else says that the test is skipped.
#[must_use]
pub fn cloud() -> Option<Image> {
    if !coffer_test_images::have_cloud(&cache()) {
        skipped("the image cloud is not made; `cargo xtask images cloud` makes it");
        return None;
    }
    coffer_test_images::cloud(&cache()).ok()
}

/// Returns the Debian image with Docker and Podman if it is made already; else says that the test is skipped.
#[must_use]
pub fn nesting() -> Option<Image> {
    if !coffer_test_images::have_nesting(&cache()) {
        skipped("the image nesting is not made; `cargo xtask images nesting` makes it");
        return None;
    }
    coffer_test_images::nesting(&cache()).ok()
}

/// The folder where images are kept.
fn cache() -> PathBuf {
    match std::env::var_os("COFFER_TEST_IMAGES") {
        Some(path) => path.into(),
        None => coffer_test_images::default_cache().unwrap_or_else(|error| panic!("finding the images: {error}")),
    }
}
