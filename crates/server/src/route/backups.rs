//! Backups, of whatever they are: what is done with them is the same, only paths and bodies differ.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::routing::get;
use coffer_api::Timestamp;
use coffer_engine::{Class, CreateBackup, Engine, EngineError};
use coffer_model::{Backup, BackupName, BackupOwner};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::export::content;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Parameters, Peer, Recursion, Wire};
use crate::refusal::Refusal;
use crate::ws::{FILE, handed_file};

/// Of what the backups of a path are.
pub trait Owner: FromRequestParts<App, Rejection = Refusal> + Send + 'static {
    /// What a client sends to have one made.
    type Post: DeserializeOwned + Send;
    /// What a client sends to have one renamed.
    type Rename: DeserializeOwned + Send;
    /// A backup as clients see it.
    type Shown: Serialize;

    /// Whose they are.
    fn owner(&self, engine: &Engine) -> Result<BackupOwner, EngineError>;

    /// The URL of something below it; `rest` begins with a slash.
    fn url(&self, rest: &str) -> String;

    /// Reads what is to be made.
    fn wanted(body: &Self::Post) -> Result<CreateBackup, Refusal>;

    /// Whether the client hands over the file that it goes into.
    fn to_file(body: &Self::Post) -> bool;

    /// Reads a new name.
    fn renamed(body: &Self::Rename) -> &str;

    /// Shows a backup.
    fn show(backup: &Backup) -> Self::Shown;
}

/// The routes below the path of what they are of.
pub fn routes<O: Owner>(path: &str) -> Router<App> {
    Router::new()
        .route(&format!("{path}/backups"), get(list::<O>).post(create::<O>))
        .route(&format!("{path}/backups/{{backup}}"), get(read::<O>).post(rename::<O>).delete(remove::<O>))
        .route(&format!("{path}/backups/{{backup}}/export"), get(export::<O>))
}

/// The part of a path that names a backup.
#[derive(Debug, Deserialize)]
struct Which {
    backup: BackupName,
}

/// `GET …/backups`.
async fn list<O: Owner>(State(app): State<App>, of: O, parameters: Parameters) -> Answer {
    let recursion = parameters.recursion()?;
    let (of, backups) = app
        .run(move |engine| {
            let backups = engine.backups(&of.owner(engine)?)?;
            Ok((of, backups))
        })
        .await?;
    match recursion {
        Recursion::Urls => {
            let url = |backup: &Backup| of.url(&format!("/backups/{}", backup.name));
            envelope::sync(backups.iter().map(url).collect::<Vec<_>>())
        }
        Recursion::Objects | Recursion::Everything => envelope::sync(backups.iter().map(O::show).collect::<Vec<_>>()),
    }
}

/// `POST …/backups`.
async fn create<O: Owner>(State(app): State<App>, peer: Peer, of: O, Wire(body): Wire<O::Post>) -> Answer {
    let wanted = O::wanted(&body)?;
    if O::to_file(&body) && peer.is_local() {
        return to_file(app, peer, of, wanted).await;
    }
    let view = app.run(move |engine| engine.create_backup(&peer.caller, &of.owner(engine)?, wanted)).await?;
    envelope::accepted(&view)
}

/// Makes a backup in the file that the client hands over, which spares it the download and the server the room.
async fn to_file<O: Owner>(app: App, peer: Peer, of: O, wanted: CreateBackup) -> Answer {
    let doors = app.handovers.open(&[FILE])?;
    let (owner, mut new) = app
        .run(move |engine| {
            let owner = of.owner(engine)?;
            let new = engine.new_backup_to_file(&peer.caller, &owner)?;
            Ok((owner, new))
        })
        .await?;
    new.class = Class::Websocket;
    new.metadata.insert("fds".to_owned(), doors.secrets().into());
    let operation = app.engine.operations().begin(new);
    let view = operation.view();
    tokio::spawn(async move {
        let file = match handed_file(doors).await {
            Ok(file) => file,
            Err(error) => return operation.finish(Err(error)),
        };
        let engine = app.engine.clone();
        tokio::task::spawn_blocking(move || {
            let done = engine.back_up_to_file(&owner, &wanted, &file, &operation);
            drop(file);
            operation.finish(done);
        });
    });
    envelope::accepted(&view)
}

/// Puts together what is to be made, in the words that all requests share.
///
/// # Errors
/// If the name is not one, or the compressor not one of those that there are.
pub fn wanted(
    name: &str,
    expires_at: Timestamp,
    without_snapshots: bool,
    optimized: bool,
    algorithm: &str,
) -> Result<CreateBackup, Refusal> {
    // Other servers put the owner's name before it.
    let name = name.rsplit('/').next().unwrap_or_default();
    Ok(CreateBackup {
        name: if name.is_empty() { None } else { Some(name.parse()?) },
        expires_at: expires_at.get(),
        without_snapshots,
        optimized,
        compressor: compressor(algorithm)?,
    })
}

/// The compressor that a request names; none if it leaves that to the server.
///
/// # Errors
/// If it is not one of those that there are.
pub fn compressor(text: &str) -> Result<Option<coffer_engine::Compressor>, Refusal> {
    let parse = |text: &str| text.parse().map_err(|error: coffer_engine::UnknownCompressor| Refusal::bad_request(error.to_string()));
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// `GET …/backups/{backup}`.
async fn read<O: Owner>(State(app): State<App>, of: O, Named(Which { backup }): Named<Which>) -> Answer {
    let backup = app.run(move |engine| engine.backup(&of.owner(engine)?, &backup)).await?;
    envelope::sync(O::show(&backup))
}

/// `POST …/backups/{backup}`.
async fn rename<O: Owner>(
    State(app): State<App>,
    peer: Peer,
    of: O,
    Named(Which { backup }): Named<Which>,
    Wire(body): Wire<O::Rename>,
) -> Answer {
    let new = O::renamed(&body).parse()?;
    let view = app.run(move |engine| engine.rename_backup(&peer.caller, &of.owner(engine)?, &backup, new)).await?;
    envelope::accepted(&view)
}

/// `DELETE …/backups/{backup}`.
async fn remove<O: Owner>(State(app): State<App>, peer: Peer, of: O, Named(Which { backup }): Named<Which>) -> Answer {
    let view = app.run(move |engine| engine.delete_backup(&peer.caller, &of.owner(engine)?, &backup)).await?;
    envelope::accepted(&view)
}

/// `GET …/backups/{backup}/export`: the file.
async fn export<O: Owner>(State(app): State<App>, peer: Peer, of: O, Named(Which { backup }): Named<Which>) -> Answer {
    let (file, size) = app.run(move |engine| engine.export_backup(&peer.caller, &of.owner(engine)?, &backup)).await?;
    let mut response = envelope::raw(Body::from_stream(content(file, size)));
    envelope::set(&mut response, header::CONTENT_LENGTH, &size.to_string());
    Ok(response)
}
