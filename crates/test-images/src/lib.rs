//! Makes the images that tests, the benchmark and `cargo xtask try` run: busybox in a blink, Debian by mmdebstrap.
//!
//! Never: a download by anything but the distribution's own tools; an image whose recipe changed but whose file did not.
//! Depends on nothing but std, because the build tool links it.

mod busybox;
mod cache;
mod cloud;
mod debian;
mod nesting;
mod tool;

use std::path::{Path, PathBuf};

pub use debian::Release;
pub use tool::ImageError;

/// An image on disk, in both shapes that a server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// One tar archive with `metadata.yaml` and `rootfs/`.
    pub unified: PathBuf,
    /// The metadata archive of the split shape.
    pub metadata: PathBuf,
    /// The root file system of the split shape, a squashfs; absent where `mksquashfs` is not installed.
    pub squashfs: Option<PathBuf>,
}

/// Makes the busybox image, or finds it made: a static busybox, an init of its own, DHCP on `eth0`.
///
/// # Errors
/// A missing tool or a failed one, by name.
pub fn busybox(cache: &Path) -> Result<Image, ImageError> {
    cache::ensure(cache, "busybox", &busybox::recipe()?, busybox::make)
}

/// Makes an image like [`busybox`] whose root file system is the given script's idea of a hostile one.
///
/// `spoil` changes the root file system's directory before it is packed; `recipe` names what it does, for the cache.
///
/// # Errors
/// A missing tool or a failed one, by name.
pub fn spoiled_busybox(cache: &Path, recipe: &str, spoil: impl Fn(&Path) -> std::io::Result<()>) -> Result<Image, ImageError> {
    let whole = format!("{}{recipe}", busybox::recipe()?);
    cache::ensure(cache, "spoiled", &whole, |work| busybox::make_spoiled(work, &spoil))
}

/// Makes a Debian image with systemd, or finds it made; takes half a minute and the distribution's mirrors.
///
/// # Errors
/// A missing tool or a failed one, by name.
pub fn debian(cache: &Path, release: Release) -> Result<Image, ImageError> {
    cache::ensure(cache, release.name(), &debian::recipe(release), |work| debian::make(work, release))
}

/// Says whether [`debian`] would find its image made.
#[must_use]
pub fn have_debian(cache: &Path, release: Release) -> bool {
    cache::find(cache, release.name(), &debian::recipe(release)).is_some()
}

/// Makes the Debian image with cloud-init and an ssh server, or finds it made; takes a minute and the distribution's mirrors.
///
/// # Errors
/// A missing tool or a failed one, by name.
pub fn cloud(cache: &Path) -> Result<Image, ImageError> {
    cache::ensure(cache, "cloud", &cloud::recipe(), cloud::make)
}

/// Says whether [`cloud`] would find its image made.
#[must_use]
pub fn have_cloud(cache: &Path) -> bool {
    cache::find(cache, "cloud", &cloud::recipe()).is_some()
}

/// Makes the Debian image with Docker and Podman, or finds it made; takes a minute or two and the distribution's mirrors.
///
/// # Errors
/// A missing tool or a failed one, by name.
pub fn nesting(cache: &Path) -> Result<Image, ImageError> {
    cache::ensure(cache, "nesting", &nesting::recipe(), nesting::make)
}

/// Says whether [`nesting`] would find its image made.
#[must_use]
pub fn have_nesting(cache: &Path) -> bool {
    cache::find(cache, "nesting", &nesting::recipe()).is_some()
}

/// Finds the folder where images are kept: `images` in the build directory that the running program was built into.
///
/// # Errors
/// The running program's path is unknown, or it does not lie in a build directory.
pub fn default_cache() -> Result<PathBuf, ImageError> {
    let exe = std::env::current_exe().map_err(|cause| ImageError::Io { what: "finding the running program".into(), cause })?;
    // Cargo marks the top of a build directory with this file.
    let top = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    top.map(|dir| dir.join("images")).ok_or(ImageError::NoBuildDirectory { exe: exe.clone() })
}
