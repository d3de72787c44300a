//! Images that are sent: expecting one that another daemon sends here, and sending one there.

use std::time::Duration;

use coffer_model::{AliasName, Config, Fingerprint, ProfileName, ProjectName};
use coffer_remote::{Protocol, Pushed, PushedFile, Server};
use coffer_store::project::Feature;
use coffer_web::{Certificate, Url};
use serde_json::{Map, Value};

use super::servers::proxies;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{Class, NewOperation, OperationView};
use crate::request::ImageUpload;
use crate::trust::{same_secret, secret};

/// How long an image is expected.
const EXPECTED: Duration = Duration::from_secs(3600);

/// What the operation is called that stands for an expected image. Those for downloads are called otherwise, so that neither
/// secret opens the other's door.
const TOKEN: &str = "Image upload token";

/// The stage under which sending reports its progress.
const STAGE: &str = "upload";

/// An image that is to come.
#[derive(Debug, Clone)]
pub struct ExpectImage {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Properties over its own.
    pub properties: Config,
    /// Aliases that it gets.
    pub aliases: Vec<(AliasName, String)>,
}

/// Where an image is sent.
#[derive(Debug, Clone)]
pub struct PushImage {
    /// The other daemon's address.
    pub target: String,
    /// Its certificate, PEM; empty where the host's authorities vouch for it.
    pub certificate: String,
    /// What it gave for the image.
    pub secret: String,
    /// The project there.
    pub project: String,
    /// Profiles there for instances made from it.
    pub profiles: Vec<ProfileName>,
}

impl Engine {
    /// Expects an image: an operation whose metadata holds the secret that lets whoever shows it send this image, once.
    ///
    /// # Errors
    /// If the project does not exist, or has the image or an alias already.
    pub fn expect_image(&self, caller: &Caller, project: &ProjectName, expected: &ExpectImage) -> Result<OperationView, EngineError> {
        let fingerprint = &expected.fingerprint;
        self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            if coffer_store::image::get(conn, &home, fingerprint)?.is_some() {
                return Ok(Err(EngineError::exists("image", fingerprint)));
            }
            for (name, _) in &expected.aliases {
                if coffer_store::alias::get(conn, &home, name)?.is_some() {
                    return Ok(Err(EngineError::exists("image alias", name)));
                }
            }
            Ok(Ok(()))
        })??;
        let aliases = expected.aliases.iter().map(|(name, description)| serde_json::json!({"name": name, "description": description}));
        let metadata: Map<String, Value> = [
            ("secret", secret()?.into()),
            ("aliases", aliases.collect()),
            ("public", expected.public.into()),
            (
                "properties",
                expected.properties.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>().into(),
            ),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        Ok(self.lend_secret(TOKEN, project, fingerprint, metadata, caller, EXPECTED))
    }

    /// What was said of the image that a secret lets in, if it is this one; the secret is used up.
    #[must_use]
    pub fn expected_image(&self, project: &ProjectName, fingerprint: &str, shown: &str) -> Option<ImageUpload> {
        let fingerprint: Fingerprint = fingerprint.parse().ok()?;
        let url = format!("/1.0/images/{fingerprint}");
        let lets_in = |operation: &OperationView| {
            let own = operation.metadata.get("secret").and_then(Value::as_str).unwrap_or_default();
            let its = operation.resources.get("images").is_some_and(|urls| urls.contains(&url)) && operation.project == *project;
            let expects = operation.class == Class::Token && operation.description == TOKEN && !operation.status.is_final();
            expects && its && same_secret(own, shown)
        };
        let found = self.operations().list().into_iter().filter(lets_in).fold(None, |_, operation| Some(operation))?;
        // Who cancels it first has used it; another upload at the same moment has not.
        self.operations().cancel(found.id).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let aliases = found.metadata.get("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        let properties = found.metadata.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        Some(ImageUpload {
            public: found.metadata.get("public").and_then(Value::as_bool).unwrap_or_default(),
            properties: properties.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
            fingerprint: Some(fingerprint),
            aliases: aliases.iter().filter_map(|alias| Some((text(&alias["name"]).parse().ok()?, text(&alias["description"])))).collect(),
            secret: Some(secret().ok()?),
            ..ImageUpload::default()
        })
    }

    /// Sends an image to another daemon that expects it, in an operation.
    ///
    /// # Errors
    /// If there is no such image, or the address or the certificate is none.
    pub fn push_image(
        &self,
        caller: &Caller,
        project: &ProjectName,
        prefix: &str,
        request: PushImage,
    ) -> Result<OperationView, EngineError> {
        let refuse = |why: &dyn std::fmt::Display| EngineError::Refused(format!("the server that the image goes to: {why}"));
        let image = self.find_image(project, prefix)?;
        let files = self.export_image(project, image.fingerprint.as_str())?;
        let url: Url = request.target.parse().map_err(|error| refuse(&error))?;
        let certificate = match request.certificate.as_str() {
            "" => None,
            text => Some(Certificate::from_text(text).map_err(|error| refuse(&error))?),
        };
        let server = Server::new(url, Protocol::Lxd, certificate, proxies(&self.server_config()?)?, None)?;
        let total: u64 = files.iter().map(|file| file.size).sum();
        let pushed = Pushed {
            fingerprint: image.fingerprint.to_string(),
            secret: request.secret,
            project: request.project,
            profiles: request.profiles.iter().map(ToString::to_string).collect(),
            files: files
                .into_iter()
                .map(|part| PushedFile { field: part.field, filename: part.filename, file: part.file, size: part.size })
                .collect(),
        };
        let resources = [("images", vec![format!("/1.0/images/{}", image.fingerprint)])].into();
        let new = NewOperation::task("Sending image", project, resources);
        let engine = self.clone();
        Ok(self.operations().spawn(new.by(caller), move |operation| {
            let progress = operation.progress();
            let sent = move |bytes: u64| progress.report(STAGE, bytes.min(total), Some(total));
            engine.unless_cancelled(operation, async move { Ok(server.push(pushed, sent).await?) })
        }))
    }
}
