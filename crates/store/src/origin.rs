//! Where images came from.

use std::collections::HashMap;

use coffer_model::{Fingerprint, Image, Origin, OriginServer, ProjectName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx};
use crate::error::{Entity, StoreError, Subject};
use crate::image;

const SELECT: &str = "SELECT p.name, m.fingerprint, o.url, o.protocol, o.alias, o.certificate, o.asked_by, o.fetched_at
    FROM image_origins o JOIN images m ON m.id = o.image_id JOIN projects p ON p.id = m.project_id";

/// Notes where an image came from, in the place of what was noted before.
///
/// # Errors
/// [`StoreError::NotFound`] for the image.
pub fn set(tx: &Tx<'_>, project: &ProjectName, fingerprint: &Fingerprint, origin: &Origin) -> Result<(), StoreError> {
    let id = image::id(tx, project, fingerprint)?;
    let server = origin.server.as_ref();
    let text = |field: fn(&OriginServer) -> &String| server.map(field).cloned().unwrap_or_default();
    let values = params![
        id,
        server.map(|server| &server.url),
        text(|server| &server.protocol),
        text(|server| &server.alias),
        text(|server| &server.certificate),
        origin.by,
        origin.at.to_string(),
    ];
    let sql = "INSERT OR REPLACE INTO image_origins (image_id, url, protocol, alias, certificate, asked_by, fetched_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    tx.run(&Subject::within(Entity::Image, project, fingerprint), sql, values).map(drop)
}

/// Reads where an image came from, if that was noted.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, fingerprint: &Fingerprint) -> Result<Option<Origin>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND m.fingerprint = ?2");
    Ok(conn.one(Entity::Image, &sql, [project.as_str(), fingerprint.as_str()], decode)?.map(|(.., origin)| origin))
}

/// Reads where the images of a project, or of all, came from.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<HashMap<(ProjectName, Fingerprint), Origin>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1");
    let rows = conn.all(Entity::Image, &sql, [project.map(ProjectName::as_str)], decode)?;
    Ok(rows.into_iter().map(|(project, fingerprint, origin)| ((project, fingerprint), origin)).collect())
}

/// Finds the images of a project that were fetched from a server by this alias, the newest first.
///
/// # Errors
/// Only the database's.
pub fn fetched_as(conn: &Conn, project: &ProjectName, server: &OriginServer) -> Result<Vec<Image>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND o.url = ?2 AND o.protocol = ?3 AND o.alias = ?4 ORDER BY o.fetched_at DESC");
    let values = [project.as_str(), &server.url, &server.protocol, &server.alias];
    let rows = conn.all(Entity::Image, &sql, values, decode)?;
    let images = rows.into_iter().map(|(project, fingerprint, _)| image::get(conn, &project, &fingerprint));
    Ok(images.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<(ProjectName, Fingerprint, Origin)> {
    let (project, fingerprint) = (columns.parse()?, columns.parse()?);
    let url: Option<String> = columns.get()?;
    let (protocol, alias, certificate) = (columns.get()?, columns.get()?, columns.get()?);
    let server = url.map(|url| OriginServer { url, protocol, alias, certificate });
    Ok((project, fingerprint, Origin { server, by: columns.get()?, at: columns.parse()? }))
}
