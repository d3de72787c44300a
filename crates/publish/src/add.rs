//! Adding an image to a tree.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use coffer_base::{Architecture, Progress, Undo};
use coffer_image::unpack::InspectRequest;
use coffer_image::{Format, Limits, Metadata, Unpacker};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::document::{Item, METADATA, Product, ROOTS, UNIFIED, Version};
use crate::error::PublishError;
use crate::hash::{copy, hex};
use crate::sign::SigningKey;
use crate::tree::{Tree, holder};

/// An image to add.
#[derive(Debug, Clone, Copy)]
pub struct NewImage<'a> {
    /// The unified archive, or the metadata's.
    pub metadata: &'a Path,
    /// The root file system of a split image.
    pub rootfs: Option<&'a Path>,
    /// Aliases besides the one that its properties give.
    pub aliases: &'a [String],
}

/// What was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What clients know it by.
    pub fingerprint: String,
    /// Which product it is a version of.
    pub product: String,
    /// The version's name.
    pub version: String,
}

/// A file that stands in the tree.
struct Placed {
    path: String,
    size: u64,
    sha256: String,
}

impl Tree {
    /// Adds an image: a new version of its product, which is named after its properties. The image's files are read whole by
    /// the unpacker first; what it would refuse is not published.
    ///
    /// # Errors
    /// See [`PublishError`]; the tree is then as it was.
    pub fn add(&self, image: NewImage<'_>, key: Option<&SigningKey>, unpacker: &Unpacker) -> Result<Added, PublishError> {
        let _lock = self.lock()?;
        if key.is_none() && self.is_signed() {
            return Err(PublishError::Signed { tree: self.path().to_owned() });
        }
        let (metadata, rootfs) = (open(image.metadata)?, image.rootfs.map(open).transpose()?);
        let request =
            InspectRequest { metadata: metadata.as_fd(), rootfs: rootfs.as_ref().map(AsFd::as_fd), limits: Limits::default(), whole: true };
        let inspected = unpacker.inspect(&request, &Progress::default()).map_err(|error| PublishError::image(image.metadata, error))?;
        let name = Name::of(&inspected.metadata)?;
        let mut products = self.products()?;
        let mut aliases: Vec<String> =
            products.products.get(&name.product).map_or_else(Vec::new, |known| known.aliases().map(str::to_owned).collect());
        for alias in std::iter::once(&name.alias).chain(image.aliases) {
            checked(alias, "an alias", true)?;
            if let Some((product, _)) = holder(&products, alias, &name.architecture).filter(|(product, _)| **product != name.product) {
                return Err(PublishError::AliasTaken { alias: alias.clone(), product: product.clone() });
            }
            if !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        let version = self.free_version(products.products.get(&name.product), &name.version);
        let folder = format!("images/{}/{version}", name.product.replace(':', "/"));
        self.root.create_dir_all(&folder, 0o755).map_err(self.failed(&folder))?;
        // What can't be removed is a file that no list names; pruning takes those away.
        let mut undo = Undo::new(|_| ());
        let (tree, whole) = (self.root.try_clone().map_err(self.failed("the directory"))?, folder.clone());
        undo.push("removing the image's files", move || tree.remove_all(&whole));
        let (version_of, fingerprint) = self.place(&folder, metadata, rootfs, image)?;
        if products
            .products
            .values()
            .flat_map(|product| product.versions.values())
            .any(|known| known.fingerprints().contains(&fingerprint.as_str()))
        {
            return Err(PublishError::AlreadyThere { fingerprint });
        }
        let product = products.products.entry(name.product.clone()).or_default();
        product.aliases = aliases.join(",");
        name.describe(product);
        product.versions.insert(version.clone(), version_of);
        self.write(products, key)?;
        undo.keep();
        Ok(Added { fingerprint, product: name.product, version })
    }

    /// The name of the new version: the date and time when the image was made, and behind it a number if that is taken.
    fn free_version(&self, product: Option<&Product>, wanted: &str) -> String {
        let taken = |name: &str| product.is_some_and(|product| product.versions.contains_key(name));
        if !taken(wanted) {
            return wanted.to_owned();
        }
        let numbered = (1..).map(|number: u64| format!("{wanted}.{number:03}"));
        numbered.into_iter().find(|name| !taken(name)).unwrap_or_default()
    }

    /// Copies an image's files into the tree; answers how the list describes them, and the image's fingerprint.
    fn place(
        &self,
        folder: &str,
        mut metadata: File,
        rootfs: Option<File>,
        image: NewImage<'_>,
    ) -> Result<(Version, String), PublishError> {
        let mut whole = Sha256::new();
        let extension = format_of(&mut metadata, image.metadata)?.map_or(".tar", Format::extension);
        let mut version = Version::default();
        let name = if rootfs.is_some() { "metadata" } else { "image" };
        let first = self.copy(&format!("{folder}/{name}{extension}"), image.metadata, &mut metadata, &mut whole)?;
        let Some((mut rootfs, file)) = rootfs.zip(image.rootfs) else {
            for ftype in UNIFIED {
                version.items.insert(ftype.into(), item(ftype, &first));
            }
            return Ok((version, first.sha256));
        };
        let (ftype, extension) = match format_of(&mut rootfs, file)? {
            Some(Format::Squashfs) => ("squashfs", ".squashfs"),
            Some(Format::Tar(compression)) => ("root.tar.xz", Format::Tar(compression).extension()),
            Some(Format::Qcow2) | None => return Err(PublishError::RootFormat { file: file.to_owned() }),
        };
        let second = self.copy(&format!("{folder}/rootfs{extension}"), file, &mut rootfs, &mut whole)?;
        let fingerprint = hex(whole);
        for name in METADATA {
            let mut described = item(name, &first);
            let fields = ROOTS.iter().filter(|(root, _)| *root == ftype);
            described.more.extend(fields.map(|(_, field)| ((*field).to_owned(), Value::from(fingerprint.clone()))));
            version.items.insert(name.into(), described);
        }
        version.items.insert(ftype.into(), item(ftype, &second));
        Ok((version, fingerprint))
    }

    fn copy(&self, path: &str, from: &Path, file: &mut File, whole: &mut Sha256) -> Result<Placed, PublishError> {
        let mut own = Sha256::new();
        let mut to = self.root.create_file(path, 0o644).map_err(self.failed(path))?;
        let copied = copy(file, &mut to, &mut [&mut own, whole]);
        let size = copied.map_err(|cause| PublishError::File { file: from.to_owned(), cause })?;
        to.sync_all().map_err(self.failed(path))?;
        Ok(Placed { path: path.to_owned(), size, sha256: hex(own) })
    }
}

fn item(ftype: &str, placed: &Placed) -> Item {
    Item { ftype: ftype.into(), path: placed.path.clone(), size: placed.size, sha256: placed.sha256.clone(), ..Item::default() }
}

fn open(file: &Path) -> Result<File, PublishError> {
    File::open(file).map_err(|cause| PublishError::File { file: file.to_owned(), cause })
}

/// What a file is; leaves it at its start.
fn format_of(file: &mut File, path: &Path) -> Result<Option<Format>, PublishError> {
    let failed = |cause| PublishError::File { file: path.to_owned(), cause };
    let mut start = Vec::new();
    file.take(coffer_image::format::MAGIC_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    io::Seek::rewind(file).map_err(failed)?;
    Ok(Format::of(&start))
}

/// What an image is called in the lists.
struct Name {
    product: String,
    version: String,
    alias: String,
    architecture: String,
    os: String,
    release: String,
    variant: String,
}

impl Name {
    fn of(metadata: &Metadata) -> Result<Self, PublishError> {
        let property = |property: &'static str| {
            let value = metadata.properties.get(property).map(|value| value.trim()).filter(|value| !value.is_empty());
            value.ok_or(PublishError::Nameless { property })
        };
        let (os, release) = (property("os")?, property("release")?);
        let variant = property("variant").unwrap_or("default");
        let part = |text: &str| {
            let text = text.to_lowercase().replace(' ', "-");
            checked(&text, "part of a product's name", false).map(|()| text)
        };
        let (os_part, release_part, variant_part) = (part(os)?, part(release)?, part(variant)?);
        let architecture = debian_name(metadata.architecture);
        let made = TimeZone::UTC.to_datetime(Timestamp::from_second(metadata.creation_date).unwrap_or(Timestamp::UNIX_EPOCH));
        let alias = if variant_part == "default" {
            format!("{os_part}/{release_part}")
        } else {
            format!("{os_part}/{release_part}/{variant_part}")
        };
        Ok(Self {
            product: format!("{os_part}:{release_part}:{architecture}:{variant_part}"),
            version: made.strftime("%Y%m%d_%H%M").to_string(),
            alias,
            architecture,
            os: os.to_owned(),
            release: release.to_owned(),
            variant: variant.to_owned(),
        })
    }

    fn describe(&self, product: &mut Product) {
        product.arch.clone_from(&self.architecture);
        product.os.clone_from(&self.os);
        product.release.clone_from(&self.release);
        product.release_title.clone_from(&self.release);
        product.variant.clone_from(&self.variant);
    }
}

/// An architecture as Debian calls it, and with it the lists of all image servers.
fn debian_name(architecture: Architecture) -> String {
    match architecture.as_str() {
        "x86_64" => "amd64",
        "i686" => "i386",
        "aarch64" => "arm64",
        "armv6l" => "armel",
        "armv7l" => "armhf",
        "ppc64le" => "ppc64el",
        other => other,
    }
    .to_owned()
}

/// Refuses a name that would have to be quoted somewhere.
fn checked(name: &str, what: &'static str, slashes: bool) -> Result<(), PublishError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || slashes && byte == b'/';
    let parts = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if parts && name.len() <= 128 && name.bytes().all(fits) { Ok(()) } else { Err(PublishError::Name { name: name.to_owned(), what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(properties: &[(&str, &str)], expect: &str) {
        let text: String = properties.iter().map(|(key, value)| format!("  {key}: {value:?}\n")).collect();
        let metadata = format!("architecture: x86_64\ncreation_date: 1700000000\nproperties:\n{text}");
        let name = Name::of(&Metadata::parse(metadata.as_bytes()).unwrap());
        let got = name.map_or_else(|error| error.to_string(), |name| format!("{} {} {}", name.product, name.version, name.alias));
        assert_eq!(got, expect);
    }

    #[test]
    fn products_are_named_after_properties() {
        check(&[("os", "Debian"), ("release", "bookworm")], "debian:bookworm:amd64:default 20231114_2213 debian/bookworm");
        check(&[("os", "Debian"), ("release", "12"), ("variant", "Cloud")], "debian:12:amd64:cloud 20231114_2213 debian/12/cloud");
        check(&[("os", "Debian")], "the image's metadata has no property \"release\", of which its product's name is made");
        check(
            &[("os", "../../etc"), ("release", "1")],
            "\"../../etc\" can't be part of a product's name: letters, digits, '-', '_', '.' and, in an alias, '/' can stand in one",
        );
    }

    #[test]
    fn aliases_are_plain() {
        for good in ["a", "debian/12", "x.y-z_1"] {
            assert!(checked(good, "an alias", true).is_ok(), "{good}");
        }
        for bad in ["", "/", "a//b", "a,b", "a b", "../a", ".a", "a\n"] {
            assert!(checked(bad, "an alias", true).is_err(), "{bad}");
        }
    }
}
