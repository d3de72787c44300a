//! Tags of objects: two readers that got the same tag saw the same writable part.
//!
//! A tag is the SHA-256 of the fields that an update replaces, so that a change which no client made (a counter, a user)
//! does not break an editor's save. The same object has the same tag in every form in which it is shown.

use coffer_engine::VolumeView;
use coffer_model::{
    Alias, Config, CustomVolume, Image, Instance, InstanceSnapshot, Network, Pool, Profile, Project, TrustedCertificate, VolumeKind,
    VolumeSnapshot,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The tag of the server's configuration.
#[must_use]
pub fn server(config: &Config) -> String {
    tag(config)
}

/// The tag of an instance.
#[must_use]
pub fn instance(instance: &Instance) -> String {
    let Instance { architecture, config, devices, ephemeral, profiles, description, .. } = instance;
    tag(&(architecture, config, devices, ephemeral, profiles, description))
}

/// The tag of a snapshot of an instance.
#[must_use]
pub fn snapshot(snapshot: &InstanceSnapshot) -> String {
    tag(&snapshot.expires_at)
}

/// The tag of an instance's metadata.
#[must_use]
pub fn metadata(metadata: &coffer_api::ImageMetadata) -> String {
    tag(metadata)
}

/// The tag of a profile.
#[must_use]
pub fn profile(profile: &Profile) -> String {
    tag(&(&profile.config, &profile.description, &profile.devices))
}

/// The tag of a managed network.
#[must_use]
pub fn network(network: &Network) -> String {
    tag(&(&network.name, true, "bridge", &network.description, &network.config))
}

/// The tag of a storage pool.
#[must_use]
pub fn pool(pool: &Pool) -> String {
    tag(&(&pool.name, &pool.driver, &pool.description, &pool.config))
}

/// The tag of a user's volume.
#[must_use]
pub fn volume(volume: &CustomVolume) -> String {
    tag(&(volume.name.as_str(), VolumeKind::Custom, &volume.description, &volume.config))
}

/// The tag of a volume as it is shown; of a user's volume it is [`volume`]'s.
#[must_use]
pub fn volume_view(view: &VolumeView) -> String {
    tag(&(&view.name, view.kind, &view.description, &view.config))
}

/// The tag of a volume's snapshot.
#[must_use]
pub fn volume_snapshot(snapshot: &VolumeSnapshot) -> String {
    tag(&(&snapshot.description, snapshot.expires_at))
}

/// The tag of an image.
#[must_use]
pub fn image(image: &Image) -> String {
    tag(&(image.public, image.auto_update, &image.properties, &image.profiles, image.expires_at))
}

/// The tag of an image alias.
#[must_use]
pub fn alias(alias: &Alias) -> String {
    tag(alias)
}

/// The tag of a trusted certificate.
#[must_use]
pub fn certificate(trusted: &TrustedCertificate) -> String {
    tag(&(&trusted.fingerprint, &trusted.name))
}

/// The tag of a project.
#[must_use]
pub fn project(project: &Project) -> String {
    tag(&(&project.description, &project.config))
}

fn tag(fields: &impl Serialize) -> String {
    let mut text = serde_json::to_vec(fields).expect("maps keyed by texts, lists and numbers have a JSON form");
    text.push(b'\n');
    Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile_of(description: &str, value: &str) -> Profile {
        Profile {
            project: "default".parse().unwrap(),
            name: "web".parse().unwrap(),
            description: description.into(),
            config: [("limits.cpu", value)].into_iter().collect(),
            devices: coffer_model::Devices::default(),
        }
    }

    #[test]
    fn what_an_update_replaces_is_in_the_tag() {
        let tag = profile(&profile_of("", "2"));
        assert_eq!(tag.len(), 64);
        assert_eq!(tag, profile(&profile_of("", "2")));
        assert_ne!(tag, profile(&profile_of("x", "2")));
        assert_ne!(tag, profile(&profile_of("", "3")));
    }

    #[test]
    fn the_server_s_tag_is_its_configuration() {
        assert_eq!(server(&Config::default()), "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356");
    }
}
