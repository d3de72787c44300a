//! Making the image of the last result.

use coffer_api::{ImageReproducible, ImagesPost, ImagesPostSource};

use super::build::{Builder, Built, Stage};
use super::cache::{Cache, image_key};
use super::work::FACTS;
use crate::digest::Digest;
use crate::error::BuildError;
use crate::recipe::Shape;

/// What images are compressed with unless a recipe says otherwise: it does not depend on the server's configuration.
const COMPRESSION: &str = "zstd";

/// What tells a squashfs from the archives that the server packs of the same result.
const SQUASHFS: &[u8] = b"squashfs";

impl Builder<'_> {
    /// The squashfs that an earlier build packed of this result, if the recipe wants one and it is still there.
    pub(super) async fn packed(&self, last: &Stage, cache: &Cache) -> Option<String> {
        if self.options.no_cache || self.plan.recipe.output.shape != Shape::Squashfs {
            return None;
        }
        let fingerprint = cache.image(&squashfs(last))?;
        self.client.image(&fingerprint).await.is_ok().then_some(fingerprint)
    }

    /// Takes down which squashfs was packed of what was built, so that the next build of the same result finds it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn keep_packed(&self, built: &Built, fingerprint: &str) -> Result<(), BuildError> {
        self.note(&built.last.place.instance, &image_key(&squashfs(&built.last)), fingerprint).await
    }

    /// Makes the image, or finds it made; answers its fingerprint, and whether it was there.
    pub(super) async fn publish(&self, last: &Stage, cache: &Cache) -> Result<(String, bool), BuildError> {
        let output = &self.plan.recipe.output;
        let split = output.shape != Shape::Unified;
        let compression = match (output.shape, output.compression.as_str()) {
            // It is packed anew as a squashfs, by whoever asked for it.
            (Shape::Squashfs, _) => "none",
            (Shape::Unified | Shape::Split, "") => COMPRESSION,
            (Shape::Unified | Shape::Split, own) => own,
        };
        let result = Digest::of(&[last.key.as_str().as_bytes(), compression.as_bytes(), &[u8::from(split)]]);
        if !self.options.no_cache
            && let Some(fingerprint) = cache.image(&result)
            && self.client.image(&fingerprint).await.is_ok()
        {
            return Ok((fingerprint, true));
        }
        let config = match cache.config(&last.place.instance) {
            Some(config) => config.clone(),
            None => self.client.instance(&last.place.instance).await?.value.config,
        };
        let facts: super::work::Facts = config.get(FACTS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let epoch = Some(facts.epoch).filter(|epoch| *epoch > 0).unwrap_or(super::base::EPOCH);
        let source = ImagesPostSource {
            kind: "snapshot".into(),
            name: last.place.path(),
            reproducible: Some(ImageReproducible { epoch, split }),
            ..Default::default()
        };
        let request =
            ImagesPost { source: Some(source), public: output.public, compression_algorithm: compression.to_owned(), ..Default::default() };
        let done = self.client.create_image(&request).await?.wait().await?;
        let fingerprint = done.metadata_value("fingerprint").and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        if Digest::parse(&fingerprint).is_none() {
            return Err(BuildError::Lacking { what: "the image's fingerprint" });
        }
        self.note(&last.place.instance, &image_key(&result), &fingerprint).await?;
        Ok((fingerprint, false))
    }
}

fn squashfs(last: &Stage) -> Digest {
    Digest::of(&[last.key.as_str().as_bytes(), SQUASHFS])
}
