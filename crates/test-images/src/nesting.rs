//! The image in which containers run: Debian with Docker and Podman, from the distribution's packages.

use std::path::Path;

use crate::cache::write_metadata;
use crate::debian::{PACKAGES, Release, install};
use crate::tool::ImageError;

const RELEASE: Release = Release::Bookworm;

/// As the manual's page tells its readers to install them.
const MORE: &str = "docker.io,podman,crun,fuse-overlayfs,netavark";

/// Everything that the image depends on, as text.
pub fn recipe() -> String {
    format!("1 {} {MORE}", crate::debian::recipe(RELEASE))
}

/// Makes `work/image`.
pub fn make(work: &Path) -> Result<(), ImageError> {
    let image = work.join("image");
    install(&image, RELEASE, &format!("{PACKAGES},{MORE}"))?;
    write_metadata(&image, "Debian", RELEASE.name(), RELEASE.version())
}
