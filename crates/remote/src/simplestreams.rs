//! Simplestreams: an index that names lists of products, and products with versions with files.
//!
//! Source: the format's description in the Ubuntu wiki, and what LXD and Incus read of it.

use std::collections::{BTreeMap, BTreeSet};

use coffer_base::Architecture;
use jiff::Timestamp;
use serde::Deserialize;

use crate::image::{Delta, ImageKind, RemoteFile, RemoteImage, is_hash};

/// Where the index is below a server's address.
pub const INDEX: &str = "streams/v1/index.json";

/// The kind of list that has images in it.
const IMAGES: &str = "image-downloads";

/// The index.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Index {
    /// When it was made.
    pub updated: String,
    index: BTreeMap<String, Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    datatype: String,
    path: String,
    products: Vec<String>,
}

impl Index {
    /// Paths of the lists that have images in them.
    pub fn lists(&self) -> Vec<&str> {
        let with_images = self.index.values().filter(|entry| entry.datatype == IMAGES && !entry.products.is_empty());
        with_images.map(|entry| entry.path.as_str()).collect()
    }
}

/// A list of products.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Products {
    /// When it was made.
    pub updated: String,
    products: BTreeMap<String, Product>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Product {
    aliases: String,
    #[serde(alias = "architecture")]
    arch: String,
    os: String,
    release: String,
    release_title: String,
    version: String,
    variant: String,
    #[serde(alias = "requirements")]
    lxd_requirements: BTreeMap<String, String>,
    support_eol: Option<String>,
    versions: BTreeMap<String, Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    label: String,
    items: BTreeMap<String, Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    ftype: String,
    path: String,
    sha256: String,
    size: u64,
    /// Of a delta: the version that it begins with.
    delta_base: String,
    combined_sha256: String,
    combined_squashfs_sha256: String,
    combined_rootxz_sha256: String,
    #[serde(rename = "combined_disk-kvm-img_sha256")]
    combined_disk_kvm_sha256: String,
    #[serde(rename = "combined_uefi1-img_sha256")]
    combined_uefi1_sha256: String,
    #[serde(rename = "combined_disk1-img_sha256")]
    combined_disk1_sha256: String,
}

/// What an item can be to an image.
enum Part {
    /// All of it.
    Unified,
    /// The metadata beside a root file system.
    Metadata,
    /// A root file system or disk; the best comes first.
    Root(ImageKind, u8),
}

impl Item {
    fn part(&self) -> Option<Part> {
        Some(match self.ftype.as_str() {
            "lxd_combined.tar.gz" | "incus_combined.tar.gz" => Part::Unified,
            "lxd.tar.xz" | "incus.tar.xz" => Part::Metadata,
            "squashfs" => Part::Root(ImageKind::Container, 0),
            "root.tar.xz" => Part::Root(ImageKind::Container, 1),
            "disk-kvm.img" => Part::Root(ImageKind::VirtualMachine, 0),
            "uefi1.img" => Part::Root(ImageKind::VirtualMachine, 1),
            "disk1.img" => Part::Root(ImageKind::VirtualMachine, 2),
            _ => return None,
        })
    }

    /// The hash of this metadata and that root together: it stands here.
    fn combined(&self, root: &Item) -> &str {
        match root.ftype.as_str() {
            "squashfs" => &self.combined_squashfs_sha256,
            "root.tar.xz" if !self.combined_rootxz_sha256.is_empty() => &self.combined_rootxz_sha256,
            "root.tar.xz" => &self.combined_sha256,
            "disk-kvm.img" => &self.combined_disk_kvm_sha256,
            "uefi1.img" => &self.combined_uefi1_sha256,
            "disk1.img" => &self.combined_disk1_sha256,
            _ => "",
        }
    }

    fn file(&self) -> RemoteFile {
        RemoteFile { path: self.path.clone(), sha256: Some(self.sha256.clone()).filter(|hash| !hash.is_empty()), size: self.size }
    }
}

/// When a list says that it was made.
pub fn date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok();
    zoned.map(|zoned| zoned.timestamp()).or_else(|| text.parse().ok())
}

impl Products {
    /// The images of all versions that we can make sense of, the newest and best first. What is incomplete is left out.
    pub fn images(&self) -> Vec<RemoteImage> {
        let mut found: Vec<(&str, u8, RemoteImage)> = Vec::new();
        for product in self.products.values() {
            let Ok(architecture) = product.arch.parse::<Architecture>() else { continue };
            for (serial, version) in &product.versions {
                let Some(created_at) = made_at(serial) else { continue };
                for item in version.items.values() {
                    let roots = || version.items.values();
                    let candidates: Vec<(Option<&Item>, ImageKind, u8)> = match item.part() {
                        Some(Part::Unified) => vec![(None, ImageKind::Container, 2)],
                        Some(Part::Metadata) => roots()
                            .filter_map(|root| match root.part() {
                                Some(Part::Root(kind, rank)) => Some((Some(root), kind, rank)),
                                _ => None,
                            })
                            .collect(),
                        Some(Part::Root(..)) | None => continue,
                    };
                    for (root, kind, rank) in candidates {
                        let fingerprint = root.map_or(item.sha256.as_str(), |root| item.combined(root));
                        if !is_hash(fingerprint) || item.path.is_empty() {
                            continue;
                        }
                        let files: Vec<RemoteFile> = std::iter::once(item).chain(root).map(Item::file).collect();
                        let image = RemoteImage {
                            fingerprint: fingerprint.to_owned(),
                            aliases: product
                                .aliases
                                .split(',')
                                .map(str::trim)
                                .filter(|alias| !alias.is_empty())
                                .map(str::to_owned)
                                .collect(),
                            architecture,
                            kind,
                            size: files.iter().map(|file| file.size).fold(0, u64::saturating_add),
                            created_at,
                            expires_at: product.support_eol.as_deref().and_then(day),
                            properties: product.properties(serial, version, root.map_or("tar.gz", |root| root.ftype.as_str())),
                            filename: item.path.rsplit('/').next().unwrap_or_default().to_owned(),
                            files,
                            deltas: root.map_or_else(Vec::new, |root| product.deltas(version, item, root)),
                        };
                        found.push((serial, rank, image));
                    }
                }
            }
        }
        // Of two vendors' metadata for the same root the first by name stays the first; of the same files under two names one is enough.
        found.sort_by(|(serial, rank, _), (other, other_rank, _)| other.cmp(serial).then(rank.cmp(other_rank)));
        let mut seen = BTreeSet::new();
        found.retain(|(.., image)| seen.insert((image.fingerprint.clone(), image.aliases.clone())));
        found.into_iter().map(|(.., image)| image).collect()
    }
}

/// The kind of an item that makes a squashfs out of an earlier version's.
const DELTA: &str = "squashfs.vcdiff";

impl Product {
    /// What makes a version's root out of earlier versions' roots with metadata of the same vendor.
    fn deltas(&self, version: &Version, metadata: &Item, root: &Item) -> Vec<Delta> {
        let offered = version.items.values().filter(|item| root.ftype == "squashfs" && item.ftype == DELTA && !item.path.is_empty());
        let delta = |item: &Item| {
            let before = self.versions.get(&item.delta_base)?.items.values().find(|item| item.ftype == metadata.ftype)?;
            let base = before.combined(root);
            is_hash(base).then(|| Delta { base: base.to_owned(), file: item.file() })
        };
        let mut deltas: Vec<Delta> = offered.filter_map(delta).collect();
        deltas.sort_by_key(|delta| delta.file.size);
        deltas
    }

    fn properties(&self, serial: &str, version: &Version, root: &str) -> BTreeMap<String, String> {
        let title = if self.release_title.is_empty() { &self.release } else { &self.release_title };
        let label = if version.label.is_empty() { String::new() } else { format!(" ({})", version.label) };
        let description = format!("{} {title} {}{label} ({serial})", self.os, self.arch);
        let pairs = [
            ("os", self.os.as_str()),
            ("release", &self.release),
            ("version", &self.version),
            ("variant", &self.variant),
            ("architecture", &self.arch),
            ("label", &version.label),
            ("serial", serial),
            ("description", &description),
            ("type", root),
        ];
        let requirements = self.lxd_requirements.iter().map(|(key, value)| (format!("requirements.{key}"), value.clone()));
        let own = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        own.chain(requirements).filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key, one_line(&value))).collect()
    }
}

/// Properties become configuration of instances: one line each, of bounded length.
fn one_line(value: &str) -> String {
    value.chars().filter(|character| !character.is_control()).take(512).collect()
}

/// When a version was made: its name begins with the date.
fn made_at(serial: &str) -> Option<i64> {
    let digits = serial.get(..8).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    day(&format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]))
}

fn day(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    format!("{date}T00:00:00Z").parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash of one digit.
    fn hash(digit: char) -> String {
        std::iter::repeat_n(digit, 64).collect()
    }

    fn list(items: &str) -> Products {
        let text = format!(
            r#"{{"updated":"Thu, 19 Nov 2026 07:32:57 +0000","products":{{"debian:12:amd64:default":{{"aliases":"debian/12, debian/bookworm","arch":"amd64",
            "os":"Debian","release":"bookworm","release_title":"Bookworm","lxd_requirements":{{"cgroup":"v2"}},"support_eol":"2028-06-30",
            "versions":{{"20261118_05:24":{{"items":{items}}},"2026":{{"items":{items}}},"not-a-date":{{"items":{items}}}}}}},
            "x:vax":{{"arch":"vax","versions":{{"20261118":{{"items":{items}}}}}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn check(items: &str, expect: &[(char, &str)]) {
        let images = list(items).images();
        let got: Vec<_> =
            images.iter().map(|image| (image.fingerprint.chars().next().unwrap(), image.properties["type"].as_str())).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn both_vendors_items_are_images_and_the_best_comes_first() {
        let (a, b, c) = (hash('a'), hash('b'), hash('c'));
        for vendor in ["lxd", "incus"] {
            check(
                &format!(
                    r#"{{"m":{{"ftype":"{vendor}.tar.xz","path":"m","combined_rootxz_sha256":"{a}","combined_squashfs_sha256":"{b}",
                    "combined_disk-kvm-img_sha256":"{c}"}},"r":{{"ftype":"root.tar.xz","path":"r"}},"s":{{"ftype":"squashfs","path":"s"}},
                    "v":{{"ftype":"disk-kvm.img","path":"v"}},"d":{{"ftype":"squashfs.vcdiff","path":"d"}}}}"#
                ),
                &[('b', "squashfs"), ('c', "disk-kvm.img"), ('a', "root.tar.xz")],
            );
            check(&format!(r#"{{"u":{{"ftype":"{vendor}_combined.tar.gz","path":"u","sha256":"{a}"}}}}"#), &[('a', "tar.gz")]);
        }
        let old =
            format!(r#"{{"m":{{"ftype":"lxd.tar.xz","path":"m","combined_sha256":"{c}"}},"r":{{"ftype":"root.tar.xz","path":"r"}}}}"#);
        check(&old, &[('c', "root.tar.xz")]);
    }

    #[test]
    fn what_is_incomplete_or_hostile_is_left_out() {
        check(r#"{"m":{"ftype":"lxd.tar.xz","path":"m"},"s":{"ftype":"squashfs","path":"s"}}"#, &[]);
        let path = "../../../../home/you/.bashrc";
        check(&format!(r#"{{"u":{{"ftype":"lxd_combined.tar.gz","path":"u","sha256":"{path}"}}}}"#), &[]);
        let upper = hash('A');
        check(&format!(r#"{{"u":{{"ftype":"lxd_combined.tar.gz","path":"u","sha256":"{upper}"}}}}"#), &[]);
        let a = hash('a');
        check(&format!(r#"{{"u":{{"ftype":"lxd_combined.tar.gz","path":"","sha256":"{a}"}}}}"#), &[]);
    }

    #[test]
    fn an_image_says_what_it_is() {
        let a = hash('a');
        let items = format!(r#"{{"u":{{"ftype":"lxd_combined.tar.gz","path":"x/y.tar.gz","sha256":"{a}","size":7}}}}"#);
        let images = list(&items).images();
        assert_eq!(images.len(), 1);
        expect_test::expect![[r#"
            RemoteImage {
                fingerprint: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                aliases: [
                    "debian/12",
                    "debian/bookworm",
                ],
                architecture: X86_64,
                kind: Container,
                size: 7,
                created_at: 1794960000,
                expires_at: Some(
                    1845936000,
                ),
                properties: {
                    "architecture": "amd64",
                    "description": "Debian Bookworm amd64 (20261118_05:24)",
                    "os": "Debian",
                    "release": "bookworm",
                    "requirements.cgroup": "v2",
                    "serial": "20261118_05:24",
                    "type": "tar.gz",
                },
                filename: "y.tar.gz",
                files: [
                    RemoteFile {
                        path: "x/y.tar.gz",
                        sha256: Some(
                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                        ),
                        size: 7,
                    },
                ],
                deltas: [],
            }
        "#]]
        .assert_debug_eq(&images[0]);
    }

    #[test]
    fn deltas_name_the_image_that_they_begin_with() {
        let (a, b, c) = (hash('a'), hash('b'), hash('c'));
        let version = |combined: &str, more: &str| {
            format!(
                r#"{{"items":{{"m":{{"ftype":"lxd.tar.xz","path":"m","combined_squashfs_sha256":"{combined}","combined_rootxz_sha256":"{c}"}},
                "s":{{"ftype":"squashfs","path":"s"}}{more}}}}}"#
            )
        };
        let deltas = r#","d":{"ftype":"squashfs.vcdiff","path":"d","size":9,"delta_base":"20261118_05:24"},
            "e":{"ftype":"squashfs.vcdiff","path":"e","size":1,"delta_base":"20261017"},"r":{"ftype":"root.tar.xz","path":"r"}"#;
        let text = format!(
            r#"{{"products":{{"x:amd64":{{"arch":"amd64","versions":{{"20261118_05:24":{},"20261119_05:24":{}}}}}}}}}"#,
            version(&a, ""),
            version(&b, deltas)
        );
        let images = serde_json::from_str::<Products>(&text).unwrap().images();
        let got: Vec<_> = images.iter().map(|image| (image.properties["type"].as_str(), image.deltas.len())).collect();
        assert_eq!(got, [("squashfs", 1), ("root.tar.xz", 0), ("squashfs", 0)]);
        assert_eq!((&images[0].deltas[0].base, images[0].deltas[0].file.path.as_str()), (&a, "d"));
    }

    #[test]
    fn dates_are_read_in_the_forms_that_servers_write() {
        assert_eq!(date("Thu, 19 Nov 2026 07:32:57 +0000").map(|date| date.to_string()).as_deref(), Some("2026-11-19T07:32:57Z"));
        assert_eq!(date("2026-11-19T07:32:57Z").map(|date| date.to_string()).as_deref(), Some("2026-11-19T07:32:57Z"));
        assert_eq!(date(""), None);
    }

    #[test]
    fn only_lists_of_images_are_read() {
        let index: Index = serde_json::from_str(
            r#"{"index":{"a":{"datatype":"image-downloads","path":"streams/v1/images.json","products":["x"]},
            "b":{"datatype":"image-ids","path":"b","products":["x"]},"c":{"datatype":"image-downloads","path":"c","products":[]}}}"#,
        )
        .unwrap();
        assert_eq!(index.lists(), ["streams/v1/images.json"]);
    }
}
