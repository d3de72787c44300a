//! Fetching the difference to an image that is here already, where a server offers it and it is the shorter way.

use std::os::fd::{AsFd, OwnedFd};

use coffer_base::{Bytes, chain};
use coffer_image::{Arrived, Incoming};
use coffer_model::Fingerprint;
use coffer_model::entity::ImageForm;
use coffer_remote::{Delta, RemoteFile, RemoteImage, Server};
use rustix::fs::{Mode, OFlags};

use super::pull::Receiving;
use crate::Engine;
use crate::error::EngineError;
use crate::operations::OperationHandle;

impl Engine {
    /// Fetches an image's metadata and the difference of its root file system to one that is here. None where there is no such
    /// way, or where it does not lead to the image: a delta is an offer, and the whole image can still be fetched.
    ///
    /// # Errors
    /// If the operation is cancelled or the images directory is of no use.
    pub(super) fn fetch_by_delta(
        &self,
        server: &Server,
        found: &RemoteImage,
        operation: &OperationHandle,
    ) -> Result<Option<Arrived>, EngineError> {
        let [metadata, rootfs] = found.files.as_slice() else { return Ok(None) };
        let Some((delta, base)) = self.usable_delta(&found.deltas, rootfs.size)? else { return Ok(None) };
        let short = |fingerprint: &str| fingerprint[..12].to_owned();
        let (image, before) = (short(&found.fingerprint), short(&delta.base));
        match self.patch(server, [metadata, &delta.file], found, &base, operation) {
            Ok(arrived) if arrived.fingerprint().as_str() == found.fingerprint => {
                tracing::info!("image {image}: made of image {before} and a delta of {} bytes", delta.file.size);
                Ok(Some(arrived))
            }
            Ok(arrived) => {
                let other = short(arrived.fingerprint().as_str());
                tracing::warn!("image {image}: the delta to image {before} leads to image {other}; fetching it whole");
                Ok(None)
            }
            Err(error) if operation.progress().check().is_err() => Err(error),
            Err(error) => {
                tracing::warn!("image {image}: the delta to image {before} is of no use, fetching it whole: {}", chain(&error));
                Ok(None)
            }
        }
    }

    /// The shortest delta whose base is here, if it is shorter than what it makes.
    fn usable_delta<'d>(&self, deltas: &'d [Delta], size: u64) -> Result<Option<(&'d Delta, OwnedFd)>, EngineError> {
        let shorter = deltas.iter().filter(|delta| (1..size).contains(&delta.file.size));
        for delta in shorter {
            let base: Fingerprint = delta.base.parse()?;
            let all = self.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
            if !all.iter().any(|image| image.fingerprint == base && image.form == ImageForm::Split) {
                continue;
            }
            let (_, rootfs) = coffer_image::receive::names(&base);
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            // It may have been deleted in between.
            if let Ok(file) = rustix::fs::openat(self.images_directory()?, &rootfs, flags, Mode::empty()) {
                return Ok(Some((delta, file)));
            }
        }
        Ok(None)
    }

    fn patch(
        &self,
        server: &Server,
        [metadata, delta]: [&RemoteFile; 2],
        found: &RemoteImage,
        base: &OwnedFd,
        operation: &OperationHandle,
    ) -> Result<Arrived, EngineError> {
        let directory = self.images_directory()?;
        let begin = |bytes: u64| Incoming::begin(directory.as_fd(), Some(Bytes(bytes)), Some(bytes), operation.progress());
        let mut incoming = Receiving(begin(found.size)?);
        let mut difference = Receiving(begin(delta.size)?);
        self.unless_cancelled(operation, async {
            server.fetch_file(metadata, &mut incoming).await?;
            Ok(server.fetch_file(delta, &mut difference).await?)
        })?;
        let (Receiving(mut incoming), Receiving(difference)) = (incoming, difference);
        let difference = difference.into_file()?;
        incoming.begin_rootfs()?;
        let rest = found.size.saturating_sub(incoming.received());
        incoming.patch_rootfs(&self.inner.unpacker, base.as_fd(), difference.as_fd(), rest)?;
        Ok(incoming.finish()?)
    }
}
