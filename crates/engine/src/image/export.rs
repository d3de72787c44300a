//! Handing out an image's files.

use std::os::fd::AsFd;

use coffer_model::ProjectName;
use coffer_model::entity::ImageForm;

use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// Opens an image's one or two files.
    ///
    /// # Errors
    /// If there is no such image, or its files cannot be read.
    pub fn export_image(&self, project: &ProjectName, prefix: &str) -> Result<Vec<coffer_image::Part>, EngineError> {
        let image = self.find_image(project, prefix)?;
        if image.form == ImageForm::Layers {
            return Err(EngineError::Refused(format!(
                "image {} came from a registry as layers and can't be handed out as a file: copy it from there, or publish an instance of it",
                &image.fingerprint.as_str()[..12]
            )));
        }
        let directory = self.images_directory()?;
        let export = coffer_image::export(directory.as_fd(), &image.fingerprint)?;
        Ok(export.parts)
    }
}
