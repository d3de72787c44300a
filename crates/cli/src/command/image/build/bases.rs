//! Where the images come from that a recipe begins with.

use std::collections::BTreeMap;

use coffer_api::{ImagesPostSource, InstanceSource};
use coffer_build::recipe::Base;
use coffer_build::{BaseImage, Plan};
use coffer_client::Client;
use coffer_remote::Protocol;

use super::super::{place, resolve, transfer};
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Finds each image that a stage begins with, by the recipe's name for it.
pub(super) async fn find(app: &App, client: &Client, server: &Target, plan: &Plan) -> Result<BTreeMap<String, BaseImage>, CliError> {
    let mut images = BTreeMap::new();
    for stage in &plan.recipe.stages {
        if let Base::Image(name) = &stage.base {
            images.insert(name.clone(), image(app, client, server, name).await?);
        }
    }
    Ok(images)
}

async fn image(app: &App, client: &Client, server: &Target, name: &str) -> Result<BaseImage, CliError> {
    let Ok(mut target) = name.parse::<Target>();
    // Names of registries hold colons too: what is no remote is part of an alias here.
    if !target.remote.is_empty() && app.remotes().named(&target.remote).is_err() {
        target = Target { remote: server.remote.clone(), name: name.to_owned() };
    }
    let source = InstanceSource { kind: "image".into(), ..Default::default() };
    let here = target.remote.is_empty() || app.remotes().same(&target.remote, &server.remote)?;
    if here {
        let fingerprint = resolve(client, target.required("the base image")?).await.map_err(|error| unknown(error, name))?;
        let source = InstanceSource { fingerprint: fingerprint.clone(), ..source };
        return Ok(BaseImage { source, fingerprint: Some(fingerprint) });
    }
    let registry = app.image_server(&target)?.is_some_and(|server| server.protocol() == Protocol::Oci);
    let fingerprint = if registry { None } else { Some(place::find(app, &target).await?.image().fingerprint.clone()) };
    let from = transfer::source(app, &target).await?;
    let ImagesPostSource { alias, certificate, protocol, server, mode, fingerprint: asked, secret, .. } = from;
    // What was found is asked for: the server may still keep what the alias meant before.
    let (alias, asked) = match &fingerprint {
        Some(found) => (String::new(), found.clone()),
        None => (alias, asked),
    };
    let source = InstanceSource { alias, certificate, protocol, server, mode, fingerprint: asked, secret, ..source };
    Ok(BaseImage { source, fingerprint })
}

/// An image that is not there, with what a recipe may say instead.
fn unknown(error: CliError, name: &str) -> CliError {
    match error {
        CliError::Client(cause) if cause.is_not_found() => {
            let hint = format!("The recipe begins with '{name}': an image of the server, or REMOTE:IMAGE of another one or of a registry.");
            CliError::Hinted { cause, hint }
        }
        other => other,
    }
}
