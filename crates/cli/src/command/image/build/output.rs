//! Images whose root file system is a squashfs: made here of what the server packed.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use coffer_base::run::Program;
use coffer_build::{BuildError, Built, Digest};
use coffer_client::{Client, ImageUpload};

use super::super::export;
use crate::error::CliError;

/// How long compressing may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Makes an image with a squashfs of one with two plain archives, which goes.
pub(super) async fn squashfs(client: &Client, built: &Built, public: bool) -> Result<String, CliError> {
    let failed = |cause| BuildError::Local { doing: "making a temporary directory", cause };
    let directory = tempfile::tempdir().map_err(failed)?;
    let plain = client.image(&built.fingerprint).await?.value;
    let files = export::download(client, built.fingerprint.clone(), directory.path().to_owned()).await?;
    let [metadata, rootfs] = files.as_slice() else {
        return Err(CliError::Missing { what: "the root file system in the server's answer" });
    };
    let target = directory.path().join("rootfs.squashfs");
    pack(rootfs, &target, plain.created_at.get().map_or(0, |time| time.as_second()))?;
    let opened = |path: &Path| File::open(path).map_err(|cause| CliError::File { file: path.to_owned(), cause });
    let hashed = Digest::of_content(&mut [&mut opened(metadata)?, &mut opened(&target)?]);
    let fingerprint = hashed.map_err(|cause| CliError::File { file: target.clone(), cause })?.to_string();
    if client.image(&fingerprint).await.is_err() {
        let upload = ImageUpload { metadata: metadata.clone(), rootfs: Some(target), public, ..Default::default() };
        client.upload_image(&upload, |_, _| {}).await?.wait().await?;
    }
    if plain.aliases.is_empty() {
        client.delete_image(&built.fingerprint).await?.wait().await?;
    }
    Ok(fingerprint)
}

/// Packs an archive as a squashfs in which no time is later than the archive's.
fn pack(archive: &Path, target: &Path, epoch: i64) -> Result<(), CliError> {
    let source = File::open(archive).map_err(|cause| CliError::File { file: archive.to_owned(), cause })?;
    let options = ["-tar", "-noappend", "-no-progress", "-quiet", "-comp", "zstd"];
    // Its own options for times would leave out the root directory.
    let program = Program::new("env").arg(format!("SOURCE_DATE_EPOCH={epoch}")).arg("mksquashfs").arg("-").arg(target);
    program.args(options).input_file(source).deadline(PATIENCE).run()?;
    Ok(())
}
