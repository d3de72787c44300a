//! Images already made, kept under the hash of their recipe.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Image;
use crate::tool::{ImageError, at, run};

/// Returns the image made from this recipe, making it if needed; several processes may ask at once.
pub fn ensure(cache: &Path, name: &str, recipe: &str, make: impl FnOnce(&Path) -> Result<(), ImageError>) -> Result<Image, ImageError> {
    if let Some(image) = find(cache, name, recipe) {
        return Ok(image);
    }
    let home = home(cache, name, recipe);
    let work = cache.join(format!(".{name}-{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], ""));
    at("creating", &work, fs::create_dir_all(&work))?;
    let made = make(&work).and_then(|()| pack(&work));
    let moved = made.and_then(|()| match fs::rename(work.join("packed"), &home) {
        // Another process was quicker: its image is as good.
        Err(_) if home.exists() => Ok(()),
        result => at("moving the image to", &home, result),
    });
    let _ = fs::remove_dir_all(&work);
    moved?;
    find(cache, name, recipe).ok_or_else(|| ImageError::Tool { tool: "tar".into(), stderr: format!("{} is incomplete", home.display()) })
}

/// Returns the image made from this recipe, if it is there.
pub fn find(cache: &Path, name: &str, recipe: &str) -> Option<Image> {
    let home = home(cache, name, recipe);
    let unified = home.join("unified.tar.xz");
    let squashfs = home.join("rootfs.squashfs");
    let squashfs = squashfs.exists().then_some(squashfs);
    unified.exists().then(|| Image { unified, metadata: home.join("metadata.tar.xz"), squashfs })
}

fn home(cache: &Path, name: &str, recipe: &str) -> PathBuf {
    cache.join(format!("{name}-{:016x}", hash(recipe.as_bytes())))
}

/// Packs `work/image` (`metadata.yaml`, `rootfs/`, and `templates/` where there is one) into `work/packed`, in both shapes.
fn pack(work: &Path) -> Result<(), ImageError> {
    let (image, packed) = (work.join("image"), work.join("packed"));
    at("creating", &packed, fs::create_dir_all(&packed))?;
    // -1 keeps the making quick; -T0 uses all processors for the larger images.
    let tar = |archive: &Path, members: &[&str]| {
        let compress = "--use-compress-program=xz -1 -T0".to_owned();
        let fixed = ["--create", "--numeric-owner", "--xattrs", "--sort=name", "--file"].map(str::to_owned);
        let place = [archive.display().to_string(), "--directory".into(), image.display().to_string()];
        let members = members.iter().map(|&member| member.to_owned());
        run("tar", [compress].into_iter().chain(fixed).chain(place).chain(members)).map(drop)
    };
    let templates: &[&str] = if image.join("templates").is_dir() { &["templates"] } else { &[] };
    tar(&packed.join("unified.tar.xz"), &[&["metadata.yaml"], templates, &["rootfs"]].concat())?;
    tar(&packed.join("metadata.tar.xz"), &[&["metadata.yaml"], templates].concat())?;
    let (root, squashfs) = (image.join("rootfs"), packed.join("rootfs.squashfs"));
    let args = [root.as_os_str(), squashfs.as_os_str(), "-comp".as_ref(), "zstd".as_ref(), "-no-progress".as_ref(), "-quiet".as_ref()];
    match run("mksquashfs", args) {
        Err(ImageError::Missing { .. }) => Ok(()),
        result => result.map(drop),
    }
}

/// Writes `metadata.yaml` beside the root file system.
pub fn write_metadata(image: &Path, os: &str, release: &str, version: &str) -> Result<(), ImageError> {
    let architecture = run("uname", ["-m"])?;
    let architecture = architecture.trim();
    let text = format!(
        "architecture: {architecture}\ncreation_date: 1764000000\nexpiry_date: 0\nproperties:\n  architecture: {architecture}\n  \
         description: {os} {version} test image\n  os: {os}\n  release: {release}\n  version: \"{version}\"\n"
    );
    let path = image.join("metadata.yaml");
    at("writing", &path, fs::write(&path, text))
}

/// FNV-1a, 64 bits: stable over time, which std's own hasher does not promise.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
