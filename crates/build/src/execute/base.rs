//! What stages begin with.

use std::fs::File;
use std::path::{Path, PathBuf};

use coffer_api::{ImageMetadata, InstanceSource};
use coffer_client::ImageUpload;

use super::bootstrap;
use super::build::Builder;
use super::work::Work;
use crate::digest::Digest;
use crate::error::BuildError;
use crate::recipe::Base;

/// The second since 1970 at which an image was made that nobody says it of: the first of 2025.
pub(super) const EPOCH: i64 = 1_735_689_600;

/// An image that was sent to the server only to make an instance of it.
struct Sent {
    fingerprint: String,
    /// Whether it was there before.
    there: bool,
}

impl<'a> Builder<'a> {
    /// Makes the instance of a stage that begins with an image, an archive, packages or nothing. Also says what the base is known by.
    pub(super) async fn begin(&self, stage: usize) -> Result<(Work<'a>, String), BuildError> {
        let directory = tempfile::tempdir().map_err(BuildError::local("making a temporary directory"))?;
        let (archive, content) = match &self.plan.recipe.stages[stage].base {
            Base::Image(name) => {
                let image = self.options.images.get(name).cloned().unwrap_or_default();
                let work = self.create(stage, image.source).await?;
                let fingerprint = work.config().await?.get("volatile.base_image").cloned();
                return Ok((work, fingerprint.ok_or(BuildError::Lacking { what: "which image it took" })?));
            }
            Base::Archive { file, sha256 } => {
                let found = self.plan.stages[stage].base.clone().ok_or(BuildError::Lacking { what: "an archive's hash" })?;
                if let Some(expected) = sha256.as_ref().filter(|expected| **expected != found.as_str()) {
                    let (file, expected) = (file.clone(), expected.clone());
                    return Err(BuildError::OtherArchive { file, expected, found: found.to_string() });
                }
                // The name was walked without leaving the context, and the file that was found is read, whatever it is called by now.
                let copy = directory.path().join("rootfs");
                copy_file(self.context.open_file(file)?, &copy)?;
                (copy, found)
            }
            Base::Bootstrap(wanted) => {
                let target = directory.path().join("rootfs.tar");
                let (wanted, epoch, path) = (wanted.clone(), self.plan.recipe.epoch.unwrap_or(EPOCH), target.clone());
                let made = tokio::task::spawn_blocking(move || bootstrap::bootstrap(&wanted, epoch, &path)).await;
                made.map_err(|error| BuildError::Local { doing: "waiting for mmdebstrap", cause: error.into() })??;
                let content = hash(&[&target])?;
                (target, content)
            }
            Base::Empty => {
                let target = directory.path().join("rootfs.tar");
                empty(&target).map_err(BuildError::local("writing an empty archive"))?;
                let content = hash(&[&target])?;
                (target, content)
            }
            Base::Stage(_) => return Err(BuildError::Lacking { what: "what an earlier stage holds" }),
        };
        let sent = self.send(directory.path(), &archive).await?;
        let source = InstanceSource { kind: "image".into(), fingerprint: sent.fingerprint.clone(), ..Default::default() };
        let work = self.create(stage, source).await;
        if !sent.there {
            // The instance holds all of it, and its snapshots keep it.
            self.client.delete_image(&sent.fingerprint).await?.wait().await?;
        }
        Ok((work?, content.to_string()))
    }

    async fn create(&self, stage: usize, source: InstanceSource) -> Result<Work<'a>, BuildError> {
        Work::create(self.client, self.options, &self.stage_name(stage), &self.owner, source).await
    }

    /// Sends a root file system as an image.
    async fn send(&self, directory: &Path, rootfs: &Path) -> Result<Sent, BuildError> {
        let metadata = directory.join("metadata.tar");
        let about = ImageMetadata {
            architecture: self.options.architecture.clone(),
            creation_date: self.plan.recipe.epoch.unwrap_or(EPOCH),
            ..Default::default()
        };
        // JSON is YAML.
        let text = serde_json::to_vec(&about).unwrap_or_default();
        write_metadata(&metadata, &text).map_err(BuildError::local("writing an image's metadata"))?;
        let fingerprint = hash(&[&metadata, rootfs])?.to_string();
        if self.client.image(&fingerprint).await.is_ok() {
            return Ok(Sent { fingerprint, there: true });
        }
        let upload = ImageUpload { metadata, rootfs: Some(rootfs.to_owned()), ..Default::default() };
        self.client.upload_image(&upload, |_, _| {}).await?.wait().await?;
        Ok(Sent { fingerprint, there: false })
    }
}

fn hash(files: &[&Path]) -> Result<Digest, BuildError> {
    let failed = BuildError::local("hashing an archive");
    let hashed = || {
        let mut opened = files.iter().map(File::open).collect::<std::io::Result<Vec<_>>>()?;
        let mut sources: Vec<&mut dyn std::io::Read> = opened.iter_mut().map(|file| file as &mut dyn std::io::Read).collect();
        Digest::of_content(&mut sources)
    };
    hashed().map_err(failed)
}

fn copy_file(mut source: File, target: &PathBuf) -> Result<(), BuildError> {
    let copied = File::create(target).and_then(|mut file| std::io::copy(&mut source, &mut file));
    copied.map(drop).map_err(BuildError::local("copying the archive"))
}

fn write_metadata(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(File::create(path)?);
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, "metadata.yaml", text)?;
    archive.finish()
}

/// An archive of a root file system with nothing in it.
fn empty(path: &Path) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(File::create(path)?);
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_mtime(0);
    archive.append_data(&mut header, "./", std::io::empty())?;
    archive.finish()
}
