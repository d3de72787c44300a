//! `PATCH`: what is sent goes over what there is, one level deep.

use std::collections::BTreeMap;

use coffer_engine::EngineError;
use coffer_model::{Config, DeviceName, Devices};

use crate::extract::{IfMatch, Patch};
use crate::refusal::Refusal;

/// How often a change is tried again when somebody else was quicker.
const ATTEMPTS: usize = 5;

/// The keys of a patch's configuration; `null` and the empty text remove a key.
///
/// # Errors
/// If it is no map of texts.
pub fn config(patch: &Patch) -> Result<Config, Refusal> {
    let keys: BTreeMap<String, Option<String>> = patch.read("config")?.unwrap_or_default();
    Ok(keys.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// The devices of a patch; `null` and one without keys remove a device.
///
/// # Errors
/// If it is no map of maps of texts, or a name is wrong.
pub fn devices(patch: &Patch) -> Result<Devices, Refusal> {
    let all: BTreeMap<String, Option<BTreeMap<String, String>>> = patch.read("devices")?.unwrap_or_default();
    named_devices(all.into_iter().map(|(name, keys)| (name, keys.unwrap_or_default())).collect())
}

/// The keys of a whole object as the wire has them. An empty value is how clients unset a key, and is kept as none.
pub fn whole(keys: BTreeMap<String, String>) -> Config {
    keys.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Devices as the wire has them; of their keys too an empty value is none.
///
/// # Errors
/// If a name is wrong.
pub fn named_devices(all: BTreeMap<String, BTreeMap<String, String>>) -> Result<Devices, Refusal> {
    let named = all.into_iter().map(|(name, keys)| Ok((name.parse::<DeviceName>()?, whole(keys))));
    named.collect::<Result<_, Refusal>>().map(Devices)
}

/// Puts a patch's keys over a configuration.
pub fn over(config: &mut Config, patch: &Config) {
    config.merge(patch);
    config.0.retain(|_, value| !value.is_empty());
}

/// Puts a patch's devices over others.
pub fn devices_over(devices: &mut Devices, patch: &Devices) {
    devices.0.extend(patch.0.iter().map(|(name, keys)| (name.clone(), keys.clone())));
    devices.0.retain(|_, keys| !keys.0.is_empty());
}

/// Reads, merges and writes by `step`, which is to write only if nothing changed since it read; again if somebody else
/// was quicker, unless the client itself asked for a certain state.
///
/// # Errors
/// Those of `step`.
pub fn unless_changed(asked: &IfMatch, mut step: impl FnMut() -> Result<(), EngineError>) -> Result<(), EngineError> {
    for _ in 1..ATTEMPTS {
        match step() {
            Err(EngineError::Changed { .. }) if !asked.is_set() => {}
            result => return result,
        }
    }
    step()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &[(&str, &str)], patch: &str, after: &[(&str, &str)]) {
        let patch = Patch(serde_json::from_str(patch).unwrap());
        let mut merged: Config = before.iter().copied().collect();
        over(&mut merged, &config(&patch).unwrap());
        assert_eq!(merged, after.iter().copied().collect());
    }

    #[test]
    fn keys_are_merged_and_empty_ones_removed() {
        check(&[("a", "1"), ("b", "2")], r#"{"config":{"b":"3","c":"4"}}"#, &[("a", "1"), ("b", "3"), ("c", "4")]);
        check(&[("a", "1"), ("b", "2")], r#"{"config":{"a":"","b":null}}"#, &[]);
        check(&[("a", "1")], r#"{"description":"x"}"#, &[("a", "1")]);
    }

    #[test]
    fn an_empty_value_is_no_key() {
        let keys = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(whole(keys(&[("a", "1"), ("b", "")])), [("a", "1")].into_iter().collect());
        let devices = named_devices([("eth0".to_owned(), keys(&[("type", "nic"), ("name", "")]))].into()).unwrap();
        assert_eq!(devices.0.values().next(), Some(&[("type", "nic")].into_iter().collect()));
    }

    #[test]
    fn devices_are_replaced_one_by_one() {
        let patch = Patch(serde_json::from_str(r#"{"devices":{"a":{"type":"none"},"b":null}}"#).unwrap());
        let keys = |kind: &str| [("type", kind)].into_iter().collect::<Config>();
        let name = |text: &str| text.parse::<DeviceName>().unwrap();
        let mut merged = Devices([(name("a"), keys("disk")), (name("b"), keys("nic")), (name("c"), keys("nic"))].into());
        devices_over(&mut merged, &devices(&patch).unwrap());
        assert_eq!(merged, Devices([(name("a"), keys("none")), (name("c"), keys("nic"))].into()));
        assert!(devices(&Patch(serde_json::from_str(r#"{"devices":{"-x":{}}}"#).unwrap())).is_err());
    }

    #[test]
    fn a_lost_race_is_run_again() {
        let changed = || Err(EngineError::Changed { entity: "profile", name: "web".into() });
        let mut count = 0;
        let result = unless_changed(&IfMatch::none(), || {
            count += 1;
            if count < 3 { changed() } else { Ok(()) }
        });
        assert!(result.is_ok() && count == 3);
        assert!(unless_changed(&IfMatch::tag("x".into()), changed).is_err());
    }
}
