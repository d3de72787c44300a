//! Secrets that open an image which is not public to whoever fetches it for another server.

use std::time::Duration;

use coffer_model::{Fingerprint, ProjectName};
use serde_json::{Map, Value};

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{Class, NewOperation, OperationView};
use crate::request::ImageView;
use crate::trust::{same_secret, secret};

/// How long a secret that nobody uses is good.
const UNUSED: Duration = Duration::from_secs(3600);

/// What the operation is called that stands for a secret.
const TOKEN: &str = "Image download token";

/// How long a used secret stays good: whoever lost the connection may ask again.
const USED: Duration = Duration::from_secs(5);

impl Engine {
    /// Makes a secret for one fetch of an image: an operation whose metadata holds it.
    ///
    /// # Errors
    /// If there is no such image.
    pub fn create_image_secret(&self, caller: &Caller, project: &ProjectName, prefix: &str) -> Result<OperationView, EngineError> {
        let image = self.find_image(project, prefix)?;
        let mut metadata = Map::new();
        metadata.insert("secret".into(), secret()?.into());
        let view = self.lend_secret(TOKEN, project, &image.fingerprint, metadata, caller, UNUSED);
        self.tell_image(&image, "image-secret-created", caller);
        Ok(view)
    }

    /// Begins the operation that stands for a secret of an image, until it is cancelled or its time is over.
    pub(super) fn lend_secret(
        &self,
        description: &'static str,
        project: &ProjectName,
        fingerprint: &Fingerprint,
        metadata: Map<String, Value>,
        caller: &Caller,
        time: Duration,
    ) -> OperationView {
        let handle = self.operations().begin(NewOperation {
            class: Class::Token,
            description,
            project: project.clone(),
            resources: [("images", vec![format!("/1.0/images/{fingerprint}")])].into(),
            metadata,
            requestor: Some(caller.clone()),
        });
        let (used, heard) = tokio::sync::oneshot::channel::<()>();
        handle.set_cancel(move || {
            // Who waits for it may have ended with the secret's time.
            let _ = used.send(());
        });
        let view = handle.view();
        self.inner.runtime.spawn(async move {
            let _ = tokio::time::timeout(time, heard).await;
            handle.finish(Ok(()));
        });
        view
    }

    /// Reads an image that a secret opens. With `fetch` the secret is used up a moment later.
    ///
    /// # Errors
    /// If the secret opens no such image, whatever there is besides.
    pub fn secret_image(&self, project: &ProjectName, prefix: &str, shown: &str, fetch: bool) -> Result<ImageView, EngineError> {
        let missing = || EngineError::not_found("image", prefix);
        let view = self.image(project, prefix).map_err(|_| missing())?;
        let url = format!("/1.0/images/{}", view.image.fingerprint);
        let opens = |operation: &OperationView| {
            let own = operation.metadata.get("secret").and_then(Value::as_str).unwrap_or_default();
            let its = operation.resources.get("images").is_some_and(|urls| urls.contains(&url)) && operation.project == *project;
            let of_downloads = operation.class == Class::Token && operation.description == TOKEN;
            of_downloads && !operation.status.is_final() && its && same_secret(own, shown)
        };
        let found = self.operations().list().into_iter().filter(opens).fold(None, |_, operation| Some(operation)).ok_or_else(missing)?;
        if fetch {
            let (operations, id) = (self.operations().clone(), found.id);
            self.inner.runtime.spawn(async move {
                tokio::time::sleep(USED).await;
                // Another fetch within the moment may have ended it already.
                let _ = operations.cancel(id);
            });
        }
        Ok(view)
    }
}
