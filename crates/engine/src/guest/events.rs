//! What an instance hears of changes of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use coffer_model::{Config, DeviceName, InstanceName, ProjectName, Time};
use tokio::sync::broadcast;

use super::facts::is_told;
use crate::Engine;
use crate::instance::start::Loaded;

/// Something changed.
#[derive(Debug, Clone)]
pub struct GuestEvent {
    /// The instance's project.
    pub project: ProjectName,
    /// The instance.
    pub name: InstanceName,
    /// When.
    pub timestamp: Time,
    /// What.
    pub body: GuestEventBody,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestEventBody {
    /// A key that the instance may read; absent values are empty.
    Config {
        /// The key.
        key: String,
        /// What it was.
        old_value: String,
        /// What it is.
        value: String,
    },
    /// A device.
    Device {
        /// `added`, `removed` or `updated`.
        action: &'static str,
        /// Its name.
        name: String,
        /// Its keys.
        config: BTreeMap<String, String>,
    },
}

impl Engine {
    /// Listens to what changes for instances; each event says for which.
    #[must_use]
    pub fn guest_events(&self) -> broadcast::Receiver<Arc<GuestEvent>> {
        self.inner.guests.events.subscribe()
    }

    /// Tells a running instance what changed. Costs nothing where nobody listens.
    pub(crate) fn tell_guest(&self, old: &Loaded, new: &Loaded) {
        if self.inner.guests.events.receiver_count() == 0 {
            return;
        }
        let devices = |loaded: &Loaded| loaded.instance.expanded_devices(&loaded.profiles).0;
        let (before, after) = (devices(old), devices(new));
        let changes = config_changes(&old.config, &new.config).chain(device_changes(&before, &after));
        for body in changes {
            let (project, name) = (new.instance.project.clone(), new.instance.name.clone());
            let _ = self.inner.guests.events.send(Arc::new(GuestEvent { project, name, timestamp: Time::now(), body }));
        }
    }
}

fn config_changes<'a>(old: &'a Config, new: &'a Config) -> impl Iterator<Item = GuestEventBody> + 'a {
    let keys: std::collections::BTreeSet<&str> = old.iter().chain(new.iter()).map(|(key, _)| key).filter(|key| is_told(key)).collect();
    keys.into_iter().filter(|key| old.get(key) != new.get(key)).map(|key| {
        let text = |config: &Config| config.get(key).unwrap_or_default().to_owned();
        GuestEventBody::Config { key: key.to_owned(), old_value: text(old), value: text(new) }
    })
}

fn device_changes<'a>(
    old: &'a BTreeMap<DeviceName, Config>,
    new: &'a BTreeMap<DeviceName, Config>,
) -> impl Iterator<Item = GuestEventBody> + 'a {
    let event =
        |action, name: &DeviceName, config: &Config| GuestEventBody::Device { action, name: name.to_string(), config: config.0.clone() };
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name)).map(move |(name, config)| event("removed", name, config));
    let changed = new.iter().filter_map(move |(name, config)| match old.get(name) {
        None => Some(event("added", name, config)),
        Some(before) if before != config => Some(event("updated", name, config)),
        Some(_) => None,
    });
    gone.chain(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_and_may_be_known_is_told() {
        let old: Config = [("user.a", "1"), ("user.b", "2"), ("limits.cpu", "1"), ("cloud-init.user-data", "x")].into_iter().collect();
        let new: Config = [("user.a", "1"), ("user.b", "3"), ("limits.cpu", "2"), ("user.c", "4")].into_iter().collect();
        let told: Vec<_> = config_changes(&old, &new)
            .map(|body| match body {
                GuestEventBody::Config { key, old_value, value } => format!("{key}: {old_value:?} {value:?}"),
                GuestEventBody::Device { .. } => "a device".into(),
            })
            .collect();
        assert_eq!(told, ["cloud-init.user-data: \"x\" \"\"", "user.b: \"2\" \"3\"", "user.c: \"\" \"4\""]);
    }

    #[test]
    fn devices_come_change_and_go() {
        let device = |size: &str| [("type", "disk"), ("size", size)].into_iter().collect::<Config>();
        let all = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, size)| (name.parse().unwrap(), device(size))).collect();
        let (old, new) = (all(&[("a", "1"), ("b", "1"), ("c", "1")]), all(&[("b", "1"), ("c", "2"), ("d", "1")]));
        let told: Vec<_> = device_changes(&old, &new)
            .map(|body| match body {
                GuestEventBody::Device { action, name, .. } => format!("{name} {action}"),
                GuestEventBody::Config { .. } => "a key".into(),
            })
            .collect();
        assert_eq!(told, ["a removed", "c updated", "d added"]);
    }
}
