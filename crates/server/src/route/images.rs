//! `/1.0/images`.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use coffer_api::{ImagePut, ImagesPost, Timestamp};
use coffer_engine::{ImageChange, ImageView};
use coffer_model::{Config, ProfileName, Time};

use super::instances::passes;
use super::{export, merge, upload};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/images", get(list).post(upload::create))
        .route("/1.0/images/{fingerprint}", get(read).put(replace).patch(patch).delete(remove))
        .route("/1.0/images/{fingerprint}/export", get(export::download).post(async || Refusal::unsupported("pushes of images")))
        .route("/1.0/images/{fingerprint}/refresh", post(async || Refusal::unsupported("refreshes of images")))
        .route("/1.0/images/{fingerprint}/secret", post(async || Refusal::unsupported("secrets of images")))
}

/// `GET /1.0/images`.
async fn list(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let mut views: Vec<ImageView> = app.run(move |engine| engine.images(&scope)).await?;
    views.retain(|view| filter.is_empty() || passes(&filter, &show::image(view)));
    match recursion {
        Recursion::Urls => {
            let url = |view: &ImageView| show::url(&format!("/1.0/images/{}", view.image.fingerprint), &view.image.project);
            envelope::sync(views.iter().map(url).collect::<Vec<_>>())
        }
        Recursion::Objects | Recursion::Everything => envelope::sync(views.iter().map(show::image).collect::<Vec<_>>()),
    }
}

/// `GET /1.0/images/{fingerprint}`; the start of a fingerprint is enough if only one image has it.
async fn read(State(app): State<App>, Named(prefix): Named<String>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.image(&project, &prefix)).await?;
    envelope::tagged(show::image(&view), &etag::image(&view.image))
}

/// `PUT /1.0/images/{fingerprint}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(prefix): Named<String>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<ImagePut>,
) -> Answer {
    let wanted = body.profiles.map(profiles).transpose()?;
    app.run(move |engine| {
        let kept = engine.image(&project, &prefix)?.image.profiles;
        let change = ImageChange {
            public: body.public,
            auto_update: body.auto_update,
            properties: Config(body.properties),
            profiles: wanted.unwrap_or(kept),
            expires_at: body.expires_at.get(),
        };
        engine.update_image(&peer.caller, &project, &prefix, change, if_match.guard(etag::image).as_deref())
    })
    .await?;
    envelope::done()
}

/// `PATCH /1.0/images/{fingerprint}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(prefix): Named<String>,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let (public, auto_update): (Option<bool>, Option<bool>) = (body.read("public")?, body.read("auto_update")?);
    let properties: Config = body.read("properties")?.unwrap_or_default();
    let wanted = body.read("profiles")?.map(profiles).transpose()?;
    let expires_at: Option<Option<Time>> = body.read("expires_at")?.map(Timestamp::get);
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let image = engine.image(&project, &prefix)?.image;
            let guard = if_match.or_tag(etag::image(&image)).guard(etag::image);
            let mut change = ImageChange {
                public: public.unwrap_or(image.public),
                auto_update: auto_update.unwrap_or(image.auto_update),
                properties: image.properties,
                profiles: wanted.clone().unwrap_or(image.profiles),
                expires_at: expires_at.unwrap_or(image.expires_at),
            };
            merge::over(&mut change.properties, &properties);
            engine.update_image(&peer.caller, &project, &prefix, change, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

fn profiles(names: Vec<String>) -> Result<Vec<ProfileName>, Refusal> {
    names.into_iter().map(|name| Ok(name.parse()?)).collect()
}

/// `DELETE /1.0/images/{fingerprint}`.
async fn remove(State(app): State<App>, peer: Peer, Named(prefix): Named<String>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.delete_image(&peer.caller, &project, &prefix)).await?;
    envelope::accepted(&view)
}

/// Refuses an image that is to come from elsewhere than the request's body, by what was asked for.
pub fn refuse_source(body: &ImagesPost) -> Refusal {
    match body.source.as_ref().map(|source| source.kind.as_str()) {
        Some("instance" | "container" | "snapshot" | "virtual-machine") => Refusal::unsupported("images made of instances"),
        Some("image") => Refusal::unsupported("images of remote servers"),
        Some("url") => Refusal::unsupported("images fetched from URLs"),
        _ => Refusal::bad_request("the request has neither an image nor a source of one"),
    }
}
