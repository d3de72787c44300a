//! What is kept of an image from a registry under its fingerprint: its layers and its process.

use std::os::fd::OwnedFd;

use coffer_model::{Fingerprint, Image};
use coffer_sys::path::Root;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::error::EngineError;

/// The largest record that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The form that this page describes.
const FORMAT: &str = "coffer-oci-image:1";

/// An image from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: String,
    /// Its layers, the lowest first, by the SHA-256 of their files.
    pub(crate) layers: Vec<Fingerprint>,
    /// The process in it.
    pub(crate) process: Process,
}

/// The process that an image is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The program and its arguments; empty if the image has none.
    pub(crate) command: Vec<String>,
    /// Its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Its working directory.
    pub(crate) cwd: String,
    /// The user that it is, inside.
    pub(crate) uid: u32,
    /// That user's group.
    pub(crate) gid: u32,
    /// The signal that asks it to end; empty is the usual one.
    pub(crate) stop_signal: String,
}

impl Record {
    /// Makes one.
    pub(crate) fn new(layers: Vec<Fingerprint>, process: Process) -> Self {
        Self { format: FORMAT.into(), layers, process }
    }
}

impl Engine {
    /// Writes an image's record under its fingerprint.
    pub(super) fn write_record(&self, fingerprint: &Fingerprint, record: &Record) -> Result<(), EngineError> {
        let failed = |cause| EngineError::system(format!("image {fingerprint}: writing its record"), cause);
        let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        Root::from_fd(self.images_directory()?).replace_file(fingerprint.as_str(), &text, 0o600).map_err(failed)
    }

    /// Reads an image's record.
    pub(crate) fn record_of(&self, image: &Image) -> Result<Record, EngineError> {
        let fingerprint = &image.fingerprint;
        let failed = |cause| EngineError::system(format!("image {fingerprint}: reading its record"), cause);
        let text = Root::from_fd(self.images_directory()?).read(fingerprint.as_str(), LIMIT).map_err(failed)?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        let known = record.format == FORMAT;
        if known { Ok(record) } else { Err(failed(std::io::ErrorKind::InvalidData.into())) }
    }

    /// Opens an image's layers, the lowest first.
    pub(crate) fn open_layers(&self, record: &Record) -> Result<Vec<OwnedFd>, EngineError> {
        let root = Root::from_fd(self.layers_directory()?);
        let open = |digest: &Fingerprint| {
            root.open_file(digest.as_str())
                .map_err(|cause| EngineError::system(format!("opening layer {digest}"), cause))
                .map(OwnedFd::from)
        };
        record.layers.iter().map(open).collect()
    }
}
