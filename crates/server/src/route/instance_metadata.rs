//! `/1.0/instances/{name}/metadata` and the templates beside it.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{ImageMetadata, ImageMetadataTemplate};
use coffer_engine::{EngineError, Metadata};
use coffer_model::InstanceName;
use serde_json::{Map, Value};

use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::etag;
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Place, Wire, collect};
use crate::refusal::Refusal;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new()
        .route(&format!("{prefix}/{{name}}/metadata"), get(read).put(replace).patch(patch))
        .route(&format!("{prefix}/{{name}}/metadata/templates"), get(templates).post(put_template).delete(delete_template))
}

/// `GET …/metadata`.
async fn read(State(app): State<App>, peer: Peer, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let read = app.run(move |engine| {
        let metadata = engine.instance_metadata(&project, &name)?;
        engine.tell_used(&project, &name, "/metadata", "instance-metadata-retrieved", None, &peer.caller);
        Ok(metadata)
    });
    let metadata = shown(read.await?);
    envelope::tagged(&metadata, &etag::metadata(&metadata))
}

/// `PUT …/metadata`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<ImageMetadata>,
) -> Answer {
    app.run(move |engine| {
        let guard = if_match.guard(tag);
        engine.update_instance_metadata(&peer.caller, &project, &name, &text(&body)?, guard.as_deref())
    })
    .await?;
    envelope::done()
}

/// `PATCH …/metadata`: properties and templates are merged a level deep.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    if_match: IfMatch,
    Patch(body): Patch,
) -> Answer {
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let now = engine.instance_metadata(&project, &name)?;
            let guard = if_match.or_tag(tag(&now)).guard(tag);
            engine.update_instance_metadata(&peer.caller, &project, &name, &text(&merged(shown(now), &body)?)?, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `GET …/metadata/templates`: the list, or with `?path=` a template's text.
async fn templates(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    match parameters.get("path").map(ToOwned::to_owned) {
        Some(path) => {
            let read = app.run(move |engine| {
                let text = engine.instance_template(&project, &name, &path)?;
                let below = format!("/metadata/templates?path={path}");
                engine.tell_used(&project, &name, &below, "instance-metadata-template-retrieved", None, &peer.caller);
                Ok(text)
            });
            Ok(envelope::raw(read.await?))
        }
        None => envelope::sync(app.run(move |engine| engine.instance_templates(&project, &name)).await?),
    }
}

/// `POST …/metadata/templates?path=`: the body is the template.
async fn put_template(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
    body: Body,
) -> Answer {
    let (path, text) = (path(&parameters)?, collect(body).await?);
    app.run(move |engine| engine.put_instance_template(&peer.caller, &project, &name, &path, &text)).await?;
    envelope::done()
}

/// `DELETE …/metadata/templates?path=`.
async fn delete_template(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    let path = path(&parameters)?;
    app.run(move |engine| engine.delete_instance_template(&peer.caller, &project, &name, &path)).await?;
    envelope::done()
}

fn path(parameters: &Parameters) -> Result<String, Refusal> {
    parameters.get("path").map(ToOwned::to_owned).ok_or_else(|| Refusal::bad_request("name the template with ?path="))
}

fn tag(metadata: &Metadata) -> String {
    etag::metadata(&shown(metadata.clone()))
}

/// Metadata as the wire has it.
fn shown(metadata: Metadata) -> ImageMetadata {
    let templates = metadata.templates.into_iter().map(|(target, rule)| {
        let template = ImageMetadataTemplate {
            when: rule.when.iter().map(|trigger| trigger.as_str().to_owned()).collect(),
            create_only: rule.create_only,
            template: rule.template,
            properties: rule.properties,
        };
        (target.to_string(), template)
    });
    let templates: std::collections::BTreeMap<_, _> = templates.collect();
    ImageMetadata {
        architecture: metadata.architecture.to_string(),
        creation_date: metadata.creation_date,
        expiry_date: metadata.expiry_date.unwrap_or_default(),
        properties: metadata.properties,
        templates: (!templates.is_empty()).then_some(templates),
    }
}

/// The wire's form is read as the file is: JSON is YAML.
fn text(metadata: &ImageMetadata) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(metadata).map_err(|error| EngineError::Refused(error.to_string()))
}

fn merged(now: ImageMetadata, patch: &Map<String, Value>) -> Result<ImageMetadata, EngineError> {
    let wrong = |error: serde_json::Error| EngineError::Refused(format!("invalid metadata: {error}"));
    let mut whole = serde_json::to_value(now).map_err(wrong)?;
    for (key, value) in patch {
        match (whole.get_mut(key).and_then(Value::as_object_mut), value) {
            (Some(old), Value::Object(new)) => old.extend(new.clone()),
            _ => whole[key] = value.clone(),
        }
    }
    serde_json::from_value(whole).map_err(wrong)
}
