//! `/1.0/instances/{name}/backups`.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use coffer_api::{InstanceBackupPost, InstanceBackupsPost};
use coffer_engine::CreateBackup;
use coffer_model::{BackupName, InstanceName};

use super::export::content;
use super::instances::Family;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Parameters, Peer, Place, Recursion, Wire};
use crate::refusal::Refusal;
use crate::show;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new()
        .route(&format!("{prefix}/{{name}}/backups"), get(list).post(create))
        .route(&format!("{prefix}/{{name}}/backups/{{backup}}"), get(read).post(rename).delete(remove))
        .route(&format!("{prefix}/{{name}}/backups/{{backup}}/export"), get(export))
}

/// `GET /1.0/instances/{name}/backups`.
async fn list(
    State(app): State<App>,
    family: Family,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    let recursion = parameters.recursion()?;
    let (place, instance) = (project.clone(), name.clone());
    let backups = app.run(move |engine| engine.backups(&place, &instance)).await?;
    match recursion {
        Recursion::Urls => {
            let url = |backup: &BackupName| family.url(&name, &format!("/backups/{backup}"), &project);
            envelope::sync(backups.iter().map(|backup| url(&backup.name)).collect::<Vec<_>>())
        }
        Recursion::Objects | Recursion::Everything => envelope::sync(backups.iter().map(show::backup).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/instances/{name}/backups`. The driver's own format is not asked for: a plain archive can be read everywhere.
async fn create(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstanceBackupsPost>,
) -> Answer {
    let wanted = wanted(&body)?;
    let view = app.run(move |engine| engine.create_backup(&peer.caller, &project, &name, wanted)).await?;
    envelope::accepted(&view)
}

fn wanted(body: &InstanceBackupsPost) -> Result<CreateBackup, Refusal> {
    // Other servers put the instance's name before it.
    let name = body.name.rsplit('/').next().unwrap_or_default();
    Ok(CreateBackup {
        name: if name.is_empty() { None } else { Some(name.parse()?) },
        expires_at: body.expires_at.get(),
        instance_only: body.instance_only || body.container_only,
        compressor: compressor(&body.compression_algorithm)?,
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

/// `GET /1.0/instances/{name}/backups/{backup}`.
async fn read(State(app): State<App>, Named((name, backup)): Named<(InstanceName, BackupName)>, Place(project): Place) -> Answer {
    let backup = app.run(move |engine| engine.backup(&project, &name, &backup)).await?;
    envelope::sync(show::backup(&backup))
}

/// `POST /1.0/instances/{name}/backups/{backup}`.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named((name, backup)): Named<(InstanceName, BackupName)>,
    Place(project): Place,
    Wire(body): Wire<InstanceBackupPost>,
) -> Answer {
    let new = body.name.parse()?;
    let view = app.run(move |engine| engine.rename_backup(&peer.caller, &project, &name, &backup, new)).await?;
    envelope::accepted(&view)
}

/// `DELETE /1.0/instances/{name}/backups/{backup}`.
async fn remove(
    State(app): State<App>,
    peer: Peer,
    Named((name, backup)): Named<(InstanceName, BackupName)>,
    Place(project): Place,
) -> Answer {
    let view = app.run(move |engine| engine.delete_backup(&peer.caller, &project, &name, &backup)).await?;
    envelope::accepted(&view)
}

/// `GET /1.0/instances/{name}/backups/{backup}/export`: the file.
async fn export(
    State(app): State<App>,
    peer: Peer,
    Named((name, backup)): Named<(InstanceName, BackupName)>,
    Place(project): Place,
) -> Answer {
    let exported = app.run(move |engine| {
        let exported = engine.export_backup(&project, &name, &backup)?;
        engine.tell_used(&project, &name, &format!("/backups/{backup}"), "instance-backup-retrieved", None, &peer.caller);
        Ok(exported)
    });
    let (file, size) = exported.await?;
    let mut response = envelope::raw(Body::from_stream(content(file, size)));
    envelope::set(&mut response, header::CONTENT_LENGTH, &size.to_string());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let body = crate::extract::parse(body.as_bytes()).unwrap();
        let got = match wanted(&body) {
            Ok(wanted) => format!(
                "{:?} {} {} {:?}",
                wanted.name.map(|name| name.to_string()),
                wanted.expires_at.is_some(),
                wanted.instance_only,
                wanted.compressor.map(|compressor| compressor.to_string())
            ),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn what_clients_send() {
        check(
            r#"{"name":"","expires_at":"2026-11-24T17:06:59.007774861Z","instance_only":true,"container_only":true,"optimized_storage":false,"compression_algorithm":""}"#,
            "None true true None",
        );
        check(r#"{"name":"c1/b1","compression_algorithm":"zstd -7"}"#, r#"Some("b1") false false Some("zstd -7")"#);
    }

    #[test]
    fn no_compressor_is_a_command() {
        for text in ["bash -c 'touch /tmp/p'", "zstd -o /etc/x", "--use-compress-program=sh", "gzip --suffix=x"] {
            let body = serde_json::json!({ "compression_algorithm": text }).to_string();
            let refusal = wanted(&crate::extract::parse(body.as_bytes()).unwrap()).unwrap_err();
            assert!(refusal.to_string().contains("is not supported"), "{refusal}");
            assert_eq!(refusal.status().as_u16(), 400);
        }
    }
}
