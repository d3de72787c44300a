//! `/1.0/instances/{name}/backups`.

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use coffer_api::{InstanceBackup, InstanceBackupPost, InstanceBackupsPost};
use coffer_engine::{CreateBackup, Engine, EngineError};
use coffer_model::{Backup, BackupOwner, InstanceName, ProjectName};
use serde::Deserialize;

use super::backups::{self, Owner};
use super::instances::Family;
use crate::app::App;
use crate::extract::{Named, Place};
use crate::refusal::Refusal;
use crate::show;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    backups::routes::<OfInstance>(&format!("{prefix}/{{name}}"))
}

/// The instance that a path names.
pub struct OfInstance {
    family: Family,
    project: ProjectName,
    name: InstanceName,
}

#[derive(Deserialize)]
struct Path {
    name: InstanceName,
}

impl FromRequestParts<App> for OfInstance {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let family = Family::from_request_parts(parts, app).await?;
        let Named(Path { name }) = Named::from_request_parts(parts, app).await?;
        let Place(project) = Place::from_request_parts(parts, app).await?;
        Ok(Self { family, project, name })
    }
}

impl Owner for OfInstance {
    type Post = InstanceBackupsPost;
    type Rename = InstanceBackupPost;
    type Shown = InstanceBackup;

    fn owner(&self, _: &Engine) -> Result<BackupOwner, EngineError> {
        Ok(BackupOwner::Instance { project: self.project.clone(), name: self.name.clone() })
    }

    fn url(&self, rest: &str) -> String {
        self.family.url(&self.name, rest, &self.project)
    }

    fn wanted(body: &InstanceBackupsPost) -> Result<CreateBackup, Refusal> {
        let without_snapshots = body.instance_only || body.container_only;
        backups::wanted(&body.name, body.expires_at, without_snapshots, body.optimized_storage, &body.compression_algorithm)
    }

    fn to_file(body: &InstanceBackupsPost) -> bool {
        body.local_file
    }

    fn renamed(body: &InstanceBackupPost) -> &str {
        &body.name
    }

    fn show(backup: &Backup) -> InstanceBackup {
        show::backup(backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let body = crate::extract::parse(body.as_bytes()).unwrap();
        let got = match OfInstance::wanted(&body) {
            Ok(wanted) => format!(
                "{:?} {} {} {:?}",
                wanted.name.map(|name| name.to_string()),
                wanted.expires_at.is_some(),
                wanted.without_snapshots,
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
            let refusal = OfInstance::wanted(&crate::extract::parse(body.as_bytes()).unwrap()).unwrap_err();
            assert!(refusal.to_string().contains("is not supported"), "{refusal}");
            assert_eq!(refusal.status().as_u16(), 400);
        }
    }
}
