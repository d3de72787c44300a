//! The process of an image becomes configuration of the instances made from it, unless they say otherwise themselves.

use coffer_model::entity::ImageForm;
use coffer_model::{Image, Instance, Profile, command_line};

use super::record::Process;
use crate::Engine;
use crate::error::EngineError;

/// The program that runs instead of an init.
pub(crate) const ENTRYPOINT: &str = "oci.entrypoint";

/// The signal that asks it to end.
pub(crate) const STOP_SIGNAL: &str = "volatile.oci.stop_signal";

impl Engine {
    /// Gives a new instance what its image says of the process in it.
    pub(crate) fn adopt_process(&self, instance: &mut Instance, profiles: &[Profile], image: &Image) -> Result<(), EngineError> {
        if image.form != ImageForm::Layers {
            return Ok(());
        }
        let record = self.record_of(image)?;
        let said = instance.expanded_config(profiles);
        if record.process.command.is_empty() && said.get(ENTRYPOINT).is_none() {
            let short = &image.fingerprint.as_str()[..12];
            return Err(EngineError::Refused(format!("image {short} names no program to run: set {ENTRYPOINT}")));
        }
        for (key, value) in keys(&record.process) {
            if said.get(&key).is_none() && !value.is_empty() {
                instance.config.set(key, value);
            }
        }
        Ok(())
    }
}

fn keys(process: &Process) -> Vec<(String, String)> {
    let mut keys = vec![
        (ENTRYPOINT.to_owned(), command_line::join(&process.command)),
        ("oci.cwd".to_owned(), process.cwd.clone()),
        ("oci.uid".to_owned(), process.uid.to_string()),
        ("oci.gid".to_owned(), process.gid.to_string()),
        (STOP_SIGNAL.to_owned(), process.stop_signal.clone()),
    ];
    keys.extend(process.env.iter().map(|(name, value)| (format!("environment.{name}"), value.clone())));
    keys
}
