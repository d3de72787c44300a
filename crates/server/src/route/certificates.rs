//! `/1.0/certificates`: who may use the server over the network.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{Certificate as Shown, CertificatePut, CertificatesPost};
use coffer_engine::{NewToken, Newcomer};
use coffer_model::{CertificateKind, ProjectName, TrustedCertificate};
use coffer_web::Certificate;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Recursion, Trust, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/certificates", get(list).post(create))
        .route("/1.0/certificates/{fingerprint}", get(read).put(replace).patch(patch).delete(remove))
}

fn url(fingerprint: impl std::fmt::Display) -> String {
    show::url(&format!("/1.0/certificates/{fingerprint}"), &ProjectName::default_project())
}

fn shown(trusted: &TrustedCertificate) -> Shown {
    Shown {
        name: trusted.name.clone(),
        kind: trusted.kind.word().into(),
        restricted: false,
        projects: Vec::new(),
        certificate: trusted.certificate.clone(),
        fingerprint: trusted.fingerprint.to_string(),
    }
}

/// `GET /1.0/certificates`.
async fn list(State(app): State<App>, parameters: Parameters) -> Answer {
    let recursion = parameters.recursion()?;
    let all = app.run(|engine| engine.certificates()).await?;
    match recursion {
        Recursion::Urls => envelope::sync(all.iter().map(|trusted| url(&trusted.fingerprint)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(all.iter().map(shown).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/certificates`: an administrator adds a certificate or makes a token; a newcomer adds itself.
async fn create(State(app): State<App>, peer: Peer, Wire(body): Wire<CertificatesPost>) -> Answer {
    let kind = kind(&body.kind, body.restricted, &body.projects)?;
    match peer.trust {
        Trust::None => welcome(app, peer, body, kind).await,
        Trust::Metrics => Err(Refusal::forbidden("not authorized")),
        Trust::Admin if body.token => {
            let token = NewToken {
                name: body.name.clone(),
                addresses: app.network.addresses(&app.engine),
                fingerprint: app.network.certificate().fingerprint().to_owned(),
                request: serde_json::to_value(CertificatesPost { password: String::new(), ..body }).unwrap_or_default(),
            };
            let view = app.run(move |engine| engine.create_token(&peer.caller, token)).await?;
            envelope::accepted(&view)
        }
        Trust::Admin => {
            let certificate = match body.certificate.as_str() {
                "" => own(&peer)?,
                text => Certificate::from_text(text).map_err(|error| Refusal::bad_request(error.to_string()))?,
            };
            let fingerprint = app.run(move |engine| engine.add_certificate(&peer.caller, &certificate, &body.name, kind)).await?;
            envelope::created(&url(fingerprint))
        }
    }
}

/// A caller that is not trusted can only make itself so, with the certificate that it proved to hold.
async fn welcome(app: App, peer: Peer, body: CertificatesPost, kind: CertificateKind) -> Answer {
    let Some(connection) = &peer.connection else { return Err(Refusal::forbidden("not authorized")) };
    let password = if body.trust_token.is_empty() { body.password } else { body.trust_token };
    if body.token || password.is_empty() || !body.certificate.is_empty() {
        return Err(Refusal::forbidden("not authorized"));
    }
    let newcomer = Newcomer { address: connection.address, certificate: own(&peer)?, name: body.name, password, kind };
    let fingerprint = app.run(move |engine| engine.welcome(&peer.caller, &newcomer)).await?;
    envelope::created(&url(fingerprint))
}

fn own(peer: &Peer) -> Result<Certificate, Refusal> {
    let certificate = peer.connection.as_ref().and_then(|connection| connection.certificate.as_deref().cloned());
    certificate.ok_or_else(|| Refusal::bad_request("there is no certificate: give one, or connect with one over HTTPS"))
}

fn kind(kind: &str, restricted: bool, projects: &[String]) -> Result<CertificateKind, Refusal> {
    if restricted || !projects.is_empty() {
        return Err(Refusal::unsupported("restricted certificates"));
    }
    match kind {
        "" => Ok(CertificateKind::Client),
        "server" => Err(Refusal::unsupported("certificates of type server")),
        other => CertificateKind::from_word(other)
            .ok_or_else(|| Refusal::bad_request(format!("invalid certificate type {other:?}: it must be client or metrics"))),
    }
}

/// `GET /1.0/certificates/{fingerprint}`; the start of a fingerprint is enough if only one certificate has it.
async fn read(State(app): State<App>, Named(prefix): Named<String>) -> Answer {
    let trusted = app.run(move |engine| engine.certificate(&prefix)).await?;
    envelope::tagged(shown(&trusted), &etag::certificate(&trusted))
}

/// `PUT /1.0/certificates/{fingerprint}`: only the name can change.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(prefix): Named<String>,
    if_match: IfMatch,
    Wire(body): Wire<CertificatePut>,
) -> Answer {
    let wanted = kind(&body.kind, body.restricted, &body.projects)?;
    same_certificate(&app, &prefix, body.certificate, Some(wanted)).await?;
    app.run(move |engine| engine.rename_certificate(&peer.caller, &prefix, &body.name, if_match.guard(etag::certificate).as_deref()))
        .await?;
    envelope::done()
}

/// `PATCH /1.0/certificates/{fingerprint}`.
async fn patch(State(app): State<App>, peer: Peer, Named(prefix): Named<String>, if_match: IfMatch, body: Patch) -> Answer {
    let projects: Vec<String> = body.read("projects")?.unwrap_or_default();
    let word = body.text("type")?;
    let wanted = kind(word.as_deref().unwrap_or_default(), body.read("restricted")?.unwrap_or(false), &projects)?;
    same_certificate(&app, &prefix, body.text("certificate")?.unwrap_or_default(), word.map(|_| wanted)).await?;
    if let Some(name) = body.text("name")? {
        app.run(move |engine| engine.rename_certificate(&peer.caller, &prefix, &name, if_match.guard(etag::certificate).as_deref()))
            .await?;
    }
    envelope::done()
}

/// Editors send the certificate and its type back; another one in its place is another client.
async fn same_certificate(app: &App, prefix: &str, text: String, kind: Option<CertificateKind>) -> Result<(), Refusal> {
    let prefix = prefix.to_owned();
    let now = app.run(move |engine| engine.certificate(&prefix)).await?;
    if kind.is_some_and(|kind| kind != now.kind) {
        return Err(Refusal::bad_request("a certificate's type cannot be changed: remove it and add it again"));
    }
    if text.is_empty() {
        return Ok(());
    }
    match Certificate::from_text(&text) {
        Ok(certificate) if certificate.fingerprint() == now.fingerprint.as_str() => Ok(()),
        _ => Err(Refusal::bad_request("a certificate cannot be replaced: add the new one and remove this one")),
    }
}

/// `DELETE /1.0/certificates/{fingerprint}`.
async fn remove(State(app): State<App>, peer: Peer, Named(prefix): Named<String>) -> Answer {
    app.run(move |engine| engine.remove_certificate(&peer.caller, &prefix)).await?;
    envelope::done()
}
