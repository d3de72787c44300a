//! Manifests and indexes: which parts an image has, and for which machines.

use coffer_base::Architecture;
use serde::Deserialize;

use super::registry::OciError;
use crate::image::is_hash;

/// Layers that an image may have: far more than any has.
const MOST_LAYERS: usize = 256;

/// Bytes that an image's parts may have together.
const MOST_BYTES: u64 = 256 << 30;

/// The manifests that are understood.
pub(super) const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// The indexes that are understood.
pub(super) const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// What an image's configuration is said to be.
const CONFIGS: [&str; 2] = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What a layer is said to be; how it is compressed shows in its first bytes.
const LAYERS: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// SHA-256 of its bytes: 64 hexadecimal digits.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}

/// A manifest or an index, as it comes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Document {
    schema_version: u32,
    media_type: String,
    config: Option<Part>,
    layers: Vec<Part>,
    manifests: Vec<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Platform {
    architecture: String,
    os: String,
    variant: String,
}

impl Platform {
    fn architecture(&self) -> Option<Architecture> {
        let name = match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm", "v6" | "v5") => "armv6l",
            (name, _) => name,
        };
        (self.os == "linux").then(|| name.parse().ok()).flatten()
    }
}

/// A manifest: an image's parts.
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

impl Document {
    /// Says whether this is an index; by what it says of itself, or by what is in it.
    pub(super) fn is_index(&self) -> bool {
        INDEXES.contains(&self.media_type.as_str()) || self.media_type.is_empty() && !self.manifests.is_empty()
    }

    /// The manifest in an index that a host can run best.
    pub(super) fn choose(&self, host: Architecture) -> Result<Option<Descriptor>, OciError> {
        let of = |part: &Part| part.platform.as_ref().and_then(Platform::architecture);
        let own = self.manifests.iter().find(|part| of(part) == Some(host));
        let runs = || self.manifests.iter().find(|part| of(part).is_some_and(|architecture| host.runs(architecture)));
        own.or_else(runs).map(Part::descriptor).transpose()
    }

    /// The parts of an image.
    pub(super) fn manifest(self) -> Result<Manifest, OciError> {
        let strange =
            |what: &str, kind: &str| OciError::Strange { what: format!("{what} {:?}", kind.chars().take(120).collect::<String>()) };
        if self.schema_version != 2 {
            return Err(OciError::Strange { what: format!("a manifest of version {}", self.schema_version) });
        }
        if !self.media_type.is_empty() && !MANIFESTS.contains(&self.media_type.as_str()) {
            return Err(strange("a manifest of the kind", &self.media_type));
        }
        let config = self.config.ok_or_else(|| OciError::Strange { what: "a manifest without a configuration".into() })?;
        if !CONFIGS.contains(&config.media_type.as_str()) {
            return Err(strange("something that is no container image: its configuration is of the kind", &config.media_type));
        }
        if self.layers.is_empty() || self.layers.len() > MOST_LAYERS {
            return Err(OciError::Strange { what: format!("an image of {} layers", self.layers.len()) });
        }
        if let Some(layer) = self.layers.iter().find(|layer| !LAYERS.contains(&layer.media_type.as_str())) {
            return Err(strange("a layer of the kind", &layer.media_type));
        }
        let layers: Vec<Descriptor> = self.layers.iter().map(Part::descriptor).collect::<Result<_, _>>()?;
        if layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add) > MOST_BYTES {
            return Err(OciError::Strange { what: "an image of more than 256 GiB".into() });
        }
        Ok(Manifest { config: config.descriptor()?, layers })
    }
}

impl Part {
    fn descriptor(&self) -> Result<Descriptor, OciError> {
        let digest = self.digest.strip_prefix("sha256:").filter(|digest| is_hash(digest));
        let digest = digest.ok_or_else(|| OciError::Strange { what: "a digest that is no sha256".into() })?;
        Ok(Descriptor { digest: digest.to_owned(), size: self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_best_of_an_index_is_taken() {
        let part = |digit: char, platform: &str| {
            let digest: String = std::iter::repeat_n(digit, 64).collect();
            format!(r#"{{"mediaType":"{}","digest":"sha256:{digest}","size":1,"platform":{platform}}}"#, MANIFESTS[0])
        };
        let parts = [
            part('a', r#"{"architecture":"unknown","os":"unknown"}"#),
            part('b', r#"{"architecture":"amd64","os":"windows"}"#),
            part('c', r#"{"architecture":"386","os":"linux"}"#),
            part('d', r#"{"architecture":"amd64","os":"linux"}"#),
            part('e', r#"{"architecture":"arm","os":"linux","variant":"v7"}"#),
        ];
        let check = |parts: &[String], host: Architecture, expect: Option<&str>| {
            let index = read(&format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#, INDEXES[0], parts.join(",")));
            assert!(index.is_index());
            let found = index.choose(host).unwrap();
            assert_eq!(found.as_ref().map(|found| &found.digest[..1]), expect);
        };
        check(&parts, Architecture::X86_64, Some("d"));
        check(&parts[..3], Architecture::X86_64, Some("c"));
        check(&parts, Architecture::Armv7l, Some("e"));
        check(&parts, Architecture::S390x, None);
    }

    #[track_caller]
    fn refused(text: &str, expect: &str) {
        let error = read(text).manifest().err().expect("this must be refused").to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let hash = "a".repeat(64);
        let manifest = |config: &str, layer: &str, digest: &str| {
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"sha256:{hash}","size":1}},
                "layers":[{{"mediaType":"{layer}","digest":"{digest}","size":1}}]}}"#
            )
        };
        let good = format!("sha256:{hash}");
        assert!(read(&manifest(CONFIGS[0], LAYERS[2], &good)).manifest().is_ok());
        refused(&manifest("application/vnd.cncf.helm.config.v1+json", LAYERS[0], &good), "no container image");
        refused(&manifest(CONFIGS[0], "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &good), "a layer of the kind");
        refused(&manifest(CONFIGS[0], LAYERS[0], "sha256:../../etc/passwd"), "no sha256");
        refused(&manifest(CONFIGS[0], LAYERS[0], "sha512:aa"), "no sha256");
        refused(r#"{"schemaVersion":1}"#, "version 1");
        refused(r#"{"schemaVersion":2}"#, "without a configuration");
    }
}
