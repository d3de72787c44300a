//! Unpacking an image into a volume.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_base::Progress;
use coffer_image::{Limits, UnpackRequest};
use coffer_model::entity::ImageForm;
use coffer_model::{Fingerprint, Image};
use coffer_storage::{Pool, Volume, create_from_image};
use rustix::fs::{Mode, OFlags};

use crate::Engine;
use crate::error::EngineError;
use crate::operations::OperationHandle;

impl Engine {
    /// Makes a volume from an image, in the cheapest way that the pool has.
    pub(crate) fn unpack_into(
        &self,
        pool: &dyn Pool,
        volume: &Volume,
        image: &Image,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        self.require_room_for(pool, image)?;
        let mut fill = self.filler(image, operation.progress())?;
        Ok(create_from_image(pool, volume, &image.fingerprint, &mut fill)?)
    }

    /// What unpacks an image into an empty directory.
    pub(crate) fn filler(
        &self,
        image: &Image,
        progress: Progress,
    ) -> Result<impl FnMut(BorrowedFd<'_>) -> Result<(), coffer_storage::FillError>, EngineError> {
        let directory = self.images_directory()?;
        let (metadata, rootfs) = coffer_image::receive::names(&image.fingerprint);
        let (fingerprint, form) = (&image.fingerprint, image.form);
        let layers = match form {
            ImageForm::Layers => self.open_layers(&self.record_of(image)?)?,
            ImageForm::Unified | ImageForm::Split => Vec::new(),
        };
        Ok(move |target: BorrowedFd<'_>| {
            if form == ImageForm::Layers {
                let layers: Vec<BorrowedFd<'_>> = layers.iter().map(AsFd::as_fd).collect();
                self.inner.unpacker.unpack_layers(&layers, target, Limits::default(), &progress)?;
                return Ok(());
            }
            let open = |name: &str| {
                rustix::fs::openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
                    .map_err(|cause| EngineError::system(format!("image {fingerprint}: opening its file"), cause))
            };
            let metadata = open(&metadata)?;
            let rootfs = if form == ImageForm::Split { Some(open(&rootfs)?) } else { None };
            let request =
                UnpackRequest { metadata: metadata.as_fd(), rootfs: rootfs.as_ref().map(AsFd::as_fd), target, limits: Limits::default() };
            self.inner.unpacker.unpack(&request, &progress)?;
            Ok(())
        })
    }

    /// The directory that holds the images' files.
    pub(crate) fn images_directory(&self) -> Result<OwnedFd, EngineError> {
        let path = self.inner.settings.dir.join("images");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|cause| EngineError::system(format!("opening {}", path.display()), cause))
    }

    /// Removes the files of images that the store does not know: an upload was cut off between naming and recording them.
    pub(crate) fn sweep_images(&self) -> Result<(), EngineError> {
        let known = self.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        let path = self.inner.settings.dir.join("images");
        let listing = |cause| EngineError::system(format!("listing {}", path.display()), cause);
        for entry in std::fs::read_dir(&path).map_err(listing)? {
            let name = entry.map_err(listing)?.file_name();
            let name = name.to_string_lossy();
            let stem = name.strip_suffix(".rootfs").unwrap_or(&name);
            let Ok(fingerprint) = stem.parse::<Fingerprint>() else { continue };
            if !known.iter().any(|image| image.fingerprint == fingerprint) {
                tracing::info!("removing the files of image {fingerprint}, which was never recorded");
                self.remove_image_files(&fingerprint)?;
            }
        }
        self.sweep_layers()
    }

    /// Removes an image's files.
    pub(crate) fn remove_image_files(&self, fingerprint: &Fingerprint) -> Result<(), EngineError> {
        let directory = self.images_directory()?;
        coffer_image::receive::remove(directory.as_fd(), fingerprint)
            .map_err(|cause| EngineError::system(format!("image {fingerprint}: removing its files"), cause))?;
        self.sweep_layers()
    }
}
