//! Images that one daemon sends to another: expecting one, letting it in, sending one.

use axum::extract::State;
use axum::http::HeaderMap;
use coffer_api::{ImageExportPost, ImagesPost};
use coffer_engine::{ExpectImage, ImageUpload, PushImage};
use coffer_model::{Config, ProjectName};

use super::images::{aliases, profiles};
use super::upload::text;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place, Trust, Wire};
use crate::refusal::Refusal;

/// Says whether a request announces an image that another daemon will send.
pub fn is_wanted(body: &ImagesPost) -> bool {
    body.source.as_ref().is_some_and(|source| source.mode == "push" && matches!(source.kind.as_str(), "" | "image"))
}

/// `POST /1.0/images` with a source of mode `push`: answers the secret that lets the image in.
pub async fn expect(app: App, peer: Peer, project: ProjectName, body: ImagesPost) -> Answer {
    let fingerprint = body.source.map(|source| source.fingerprint).unwrap_or_default();
    let expected = ExpectImage {
        fingerprint: fingerprint.parse()?,
        public: body.public,
        properties: Config(body.properties),
        aliases: aliases(body.aliases)?,
    };
    let view = app.run(move |engine| engine.expect_image(&peer.caller, &project, &expected)).await?;
    envelope::accepted(&view)
}

/// Lets an upload in: whoever is trusted, and whoever shows the secret of an image that is expected. Answers what was said of that.
///
/// # Errors
/// If neither is so; nothing of the body was read then.
pub fn admitted(app: &App, peer: &Peer, project: &ProjectName, headers: &HeaderMap) -> Result<Option<ImageUpload>, Refusal> {
    let shown = text(headers, "x-lxd-secret").zip(text(headers, "x-lxd-fingerprint"));
    let expected = shown.and_then(|(secret, fingerprint)| app.engine.expected_image(project, &fingerprint, &secret));
    match (peer.trust, expected) {
        (Trust::Admin, expected) => Ok(expected),
        (Trust::Metrics | Trust::None, Some(expected)) => Ok(Some(expected)),
        (Trust::Metrics | Trust::None, None) => Err(Refusal::forbidden("not authorized")),
    }
}

/// `POST /1.0/images/{fingerprint}/export`.
pub async fn send(
    State(app): State<App>,
    peer: Peer,
    Named(prefix): Named<String>,
    Place(project): Place,
    Wire(body): Wire<ImageExportPost>,
) -> Answer {
    let request = PushImage {
        target: body.target,
        certificate: body.certificate,
        secret: body.secret,
        project: body.project,
        profiles: profiles(body.profiles)?,
    };
    let view = app.run(move |engine| engine.push_image(&peer.caller, &project, &prefix, request)).await?;
    envelope::accepted(&view)
}
