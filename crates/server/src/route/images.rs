//! `/1.0/images`.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use coffer_api::{ImageAlias, ImagePut, ImagesPost, Timestamp};
use coffer_engine::{Engine, EngineError, ImageChange, ImageView, Protocol, ProtocolError, PullImage, PullUrl, RemoteSource, Scope};
use coffer_model::{AliasName, Config, ProfileName, ProjectName, Time};

use super::instances::passes;
use super::{export, merge, publish, pushes, upload};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Trust, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/images", get(list).post(upload::create))
        .route("/1.0/images/{fingerprint}", get(read).put(replace).patch(patch).delete(remove))
        .route("/1.0/images/{fingerprint}/export", get(export::download).post(pushes::send))
        .route("/1.0/images/{fingerprint}/refresh", post(refresh))
        .route("/1.0/images/{fingerprint}/secret", post(secret))
}

/// `GET /1.0/images`.
async fn list(State(app): State<App>, peer: Peer, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let seen = move |engine: &Engine| match (peer.trust, scope) {
        (Trust::Admin, scope) => engine.images(&scope),
        (Trust::Metrics | Trust::None, Scope::Project(project)) => engine.public_images(&project),
        (Trust::Metrics | Trust::None, Scope::All) => engine.public_images(&ProjectName::default_project()),
    };
    let mut views: Vec<ImageView> = app.run(seen).await?;
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
async fn read(State(app): State<App>, peer: Peer, Named(prefix): Named<String>, Place(project): Place, parameters: Parameters) -> Answer {
    let secret = parameters.get("secret").map(str::to_owned);
    let view = app.run(move |engine| visible(engine, &peer, &project, &prefix, secret.as_deref(), false)).await?;
    envelope::tagged(show::image(&view), &etag::image(&view.image))
}

/// The image, if the caller may see it: by trust, by a secret, or because everybody may.
pub fn visible(
    engine: &Engine,
    peer: &Peer,
    project: &ProjectName,
    prefix: &str,
    secret: Option<&str>,
    fetch: bool,
) -> Result<ImageView, EngineError> {
    match (peer.trust, secret) {
        (Trust::Admin, _) => engine.image(project, prefix),
        (Trust::Metrics | Trust::None, Some(secret)) => {
            engine.public_image(project, prefix).or_else(|_| engine.secret_image(project, prefix, secret, fetch))
        }
        (Trust::Metrics | Trust::None, None) => engine.public_image(project, prefix),
    }
}

/// `POST /1.0/images/{fingerprint}/secret`.
async fn secret(State(app): State<App>, peer: Peer, Named(prefix): Named<String>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.create_image_secret(&peer.caller, &project, &prefix)).await?;
    envelope::accepted(&view)
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
            properties: merge::whole(body.properties),
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

pub fn profiles(names: Vec<String>) -> Result<Vec<ProfileName>, Refusal> {
    names.into_iter().map(|name| Ok(name.parse()?)).collect()
}

/// `DELETE /1.0/images/{fingerprint}`.
async fn remove(State(app): State<App>, peer: Peer, Named(prefix): Named<String>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.delete_image(&peer.caller, &project, &prefix)).await?;
    envelope::accepted(&view)
}

/// `POST /1.0/images/{fingerprint}/refresh`.
async fn refresh(State(app): State<App>, peer: Peer, Named(prefix): Named<String>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.refresh_image(&peer.caller, &project, &prefix)).await?;
    envelope::accepted(&view)
}

/// `POST /1.0/images` with a source instead of an image.
pub async fn from_source(app: App, peer: Peer, project: ProjectName, body: ImagesPost) -> Answer {
    if pushes::is_wanted(&body) {
        return pushes::expect(app, peer, project, body).await;
    }
    if publish::is_wanted(&body) {
        return publish::create(app, peer, project, &body).await;
    }
    let view = if body.source.as_ref().is_some_and(|source| source.kind == "url") {
        let wanted = at_url(body)?;
        app.run(move |engine| engine.pull_image_at(&peer.caller, &project, wanted)).await?
    } else {
        let wanted = source(body)?;
        app.run(move |engine| engine.pull_image(&peer.caller, &project, wanted)).await?
    };
    envelope::accepted(&view)
}

/// What a request asks for that has a source; refused by name where it is none that is done here.
pub fn source(body: ImagesPost) -> Result<PullImage, Refusal> {
    let Some(source) = body.source else {
        return Err(Refusal::bad_request("the request has neither an image nor a source of one"));
    };
    match source.kind.as_str() {
        "virtual-machine" => return Err(Refusal::unsupported("images made of virtual machines")),
        "image" if source.mode == "push" => return Err(Refusal::unsupported("pushes of images")),
        "image" if source.server.is_empty() => return Err(Refusal::unsupported("copies of images between projects")),
        "image" => {}
        _ => return Err(Refusal::bad_request("the request has neither an image nor a source of one")),
    }
    if source.image_type == "virtual-machine" {
        return Err(Refusal::unsupported("images of virtual machines"));
    }
    let name = if source.fingerprint.is_empty() { source.alias } else { source.fingerprint };
    Ok(PullImage {
        source: RemoteSource {
            server: source.server,
            protocol: protocol(&source.protocol)?,
            certificate: source.certificate,
            name,
            secret: source.secret,
            project: source.project,
        },
        auto_update: body.auto_update,
        public: body.public,
        properties: merge::whole(body.properties),
        profiles: body.profiles.map(profiles).transpose()?.unwrap_or_default(),
        aliases: aliases(body.aliases)?,
    })
}

/// What a request asks for that has an address for a source.
fn at_url(body: ImagesPost) -> Result<PullUrl, Refusal> {
    Ok(PullUrl {
        url: body.source.map(|source| source.url).unwrap_or_default(),
        public: body.public,
        properties: Config(body.properties),
        profiles: body.profiles.map(profiles).transpose()?.unwrap_or_default(),
        aliases: aliases(body.aliases)?,
    })
}

/// Aliases with their descriptions.
pub fn aliases(aliases: Vec<ImageAlias>) -> Result<Vec<(AliasName, String)>, Refusal> {
    aliases.into_iter().map(|alias| Ok((alias.name.parse()?, alias.description))).collect()
}

/// The protocol of an image server.
pub fn protocol(text: &str) -> Result<Protocol, Refusal> {
    text.parse().map_err(|error: ProtocolError| Refusal::bad_request(error.to_string()))
}
