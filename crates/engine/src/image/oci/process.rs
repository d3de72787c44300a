//! The process of an image becomes configuration of the instances made from it, unless they say otherwise themselves.

use coffer_model::entity::ImageForm;
use coffer_model::{Config, Image, Instance, Profile, command_line};

use super::record::Process;
use crate::Engine;
use crate::error::EngineError;

/// The program that runs instead of an init.
pub(crate) const ENTRYPOINT: &str = "oci.entrypoint";

/// The signal that asks it to end.
pub(crate) const STOP_SIGNAL: &str = "volatile.oci.stop_signal";

/// The properties by which an image that was built here says what runs in its instances, and the keys that they become.
const PROPERTIES: [(&str, &str); 5] =
    [("oci.cwd", "oci.cwd"), (ENTRYPOINT, ENTRYPOINT), ("oci.gid", "oci.gid"), ("oci.stop_signal", STOP_SIGNAL), ("oci.uid", "oci.uid")];

impl Engine {
    /// Gives a new instance what its image says of the process in it.
    pub(crate) fn adopt_process(&self, instance: &mut Instance, profiles: &[Profile], image: &Image) -> Result<(), EngineError> {
        let said = instance.expanded_config(profiles);
        let keys = if image.form == ImageForm::Layers {
            let record = self.record_of(image)?;
            if record.process.command.is_empty() && said.get(ENTRYPOINT).is_none() {
                let short = &image.fingerprint.as_str()[..12];
                return Err(EngineError::Refused(format!("image {short} names no program to run: set {ENTRYPOINT}")));
            }
            keys(&record.process)
        } else {
            keys_of_properties(&image.properties)
        };
        for (key, value) in keys {
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

/// What an image that is an archive says of its process, which is less than its instances' gate lets pass.
fn keys_of_properties(properties: &Config) -> Vec<(String, String)> {
    let named = PROPERTIES.iter().filter_map(|(property, key)| Some(((*key).to_owned(), properties.get(property)?.to_owned())));
    let environment = properties.0.iter().filter(|(name, _)| name.starts_with("environment."));
    named.chain(environment.map(|(name, value)| (name.clone(), value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_say_what_runs_and_nothing_else() {
        let properties: Config = [
            ("os", "Debian"),
            ("oci.entrypoint", "nginx -g 'daemon off;'"),
            ("oci.stop_signal", "SIGQUIT"),
            ("environment.LANG", "C.UTF-8"),
            ("security.privileged", "true"),
            ("volatile.uuid", "x"),
        ]
        .into_iter()
        .collect();
        let keys = keys_of_properties(&properties);
        let text: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let expect = ["oci.entrypoint=nginx -g 'daemon off;'", "volatile.oci.stop_signal=SIGQUIT", "environment.LANG=C.UTF-8"];
        assert_eq!(text, expect);
    }
}
