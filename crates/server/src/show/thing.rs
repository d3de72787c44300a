//! Profiles, images, aliases, projects.

use coffer_api::{Image, ImageAlias, ImageAliasesEntry, ImageOrigin, ImageSource, Profile, Project, Timestamp};
use coffer_engine::{ImageView, ProfileView};
use coffer_model::{Origin, OriginServer};

use super::{config, devices, names, when};

const CONTAINER: &str = "container";

/// A profile.
#[must_use]
pub fn profile(view: &ProfileView) -> Profile {
    let profile = &view.profile;
    Profile {
        config: config(&profile.config),
        description: profile.description.clone(),
        devices: devices(profile.devices.clone()),
        name: profile.name.to_string(),
        used_by: view.used_by.clone(),
    }
}

/// An image. One without profiles shows `default`, which instances made from it get.
#[must_use]
pub fn image(view: &ImageView) -> Image {
    let image = &view.image;
    let aliases = view.aliases.iter().map(|(name, description)| ImageAlias { name: name.to_string(), description: description.clone() });
    Image {
        auto_update: image.auto_update,
        properties: config(&image.properties),
        public: image.public,
        expires_at: image.expires_at.map_or(Timestamp::EPOCH, Timestamp::from),
        profiles: if image.profiles.is_empty() { vec!["default".into()] } else { names(&image.profiles) },
        aliases: aliases.collect(),
        architecture: image.architecture.clone(),
        cached: image.cached,
        filename: image.filename.clone(),
        fingerprint: image.fingerprint.to_string(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        update_source: view.origin.as_ref().and_then(|origin| origin.server.as_ref()).map(update_source),
        kind: CONTAINER.into(),
        created_at: image.created_at.map_or(Timestamp::EPOCH, Timestamp::from),
        last_used_at: when(image.last_used_at),
        uploaded_at: image.uploaded_at.into(),
        origin: view.origin.as_ref().map(origin),
    }
}

fn update_source(server: &OriginServer) -> ImageSource {
    ImageSource {
        alias: server.alias.clone(),
        certificate: server.certificate.clone(),
        protocol: server.protocol.clone(),
        server: server.url.clone(),
        image_type: CONTAINER.into(),
    }
}

fn origin(origin: &Origin) -> ImageOrigin {
    let server = |field: fn(&OriginServer) -> &String| origin.server.as_ref().map(field).cloned().unwrap_or_default();
    ImageOrigin {
        server: server(|server| &server.url),
        protocol: server(|server| &server.protocol),
        alias: server(|server| &server.alias),
        asked_by: origin.by.clone(),
        fetched_at: origin.at.into(),
    }
}

/// An image alias.
#[must_use]
pub fn alias(alias: &coffer_model::Alias) -> ImageAliasesEntry {
    ImageAliasesEntry {
        description: alias.description.clone(),
        target: alias.target.to_string(),
        name: alias.name.to_string(),
        kind: CONTAINER.into(),
    }
}

/// A project.
#[must_use]
pub fn project(project: &coffer_model::Project, used_by: Vec<String>) -> Project {
    Project { config: config(&project.config), description: project.description.clone(), name: project.name.to_string(), used_by }
}

/// A warning.
#[must_use]
pub fn warning(warning: &coffer_engine::Warning) -> coffer_api::Warning {
    coffer_api::Warning {
        status: warning.status.word().into(),
        uuid: warning.id.clone(),
        location: String::new(),
        project: warning.project.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: warning.kind.words().into(),
        count: i64::try_from(warning.count).unwrap_or(i64::MAX),
        first_seen_at: warning.first_seen_at.into(),
        last_seen_at: warning.last_seen_at.into(),
        last_message: warning.message.clone(),
        severity: warning.kind.severity().into(),
        entity_url: warning.entity.clone(),
    }
}
