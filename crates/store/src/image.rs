//! Images. Their aliases are in [`crate::alias`].

use coffer_model::entity::ImageForm;
use coffer_model::{Fingerprint, Image, ProjectName, Time};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::profile;
use crate::project::{self, Feature};

const SELECT: &str = "SELECT p.name, m.fingerprint, m.filename, m.size, m.public, m.auto_update, m.cached, m.architecture,
    m.properties, (SELECT json_group_array(r.name ORDER BY u.position) FROM image_profiles u
        JOIN profiles r ON r.id = u.profile_id WHERE u.image_id = m.id),
    m.created_at, m.expires_at, m.last_used_at, m.uploaded_at, m.split
    FROM images m JOIN projects p ON p.id = m.project_id";

/// Adds an image. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its project or a profile.
pub fn insert(tx: &Tx<'_>, image: &Image) -> Result<i64, StoreError> {
    let what = subject(&image.project, &image.fingerprint);
    let id = tx.next_id(Entity::Image, "images")?;
    let values = params![
        id,
        project::id(tx, &image.project)?,
        image.fingerprint.as_str(),
        image.filename,
        size(&what, image.size)?,
        image.public,
        image.auto_update,
        image.cached,
        image.architecture,
        json(&image.properties),
        image.created_at.map(|time| time.to_string()),
        image.expires_at.map(|time| time.to_string()),
        image.last_used_at.map(|time| time.to_string()),
        image.uploaded_at.to_string(),
        form_number(image.form),
    ];
    let sql = "INSERT INTO images (id, project_id, fingerprint, filename, size, public, auto_update, cached, architecture,
        properties, created_at, expires_at, last_used_at, uploaded_at, split)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    tx.run(&what, sql, values)?;
    set_profiles(tx, &what, id, image)?;
    Ok(id)
}

/// Reads one image.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, fingerprint: &Fingerprint) -> Result<Option<Image>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND m.fingerprint = ?2");
    conn.one(Entity::Image, &sql, [project.as_str(), fingerprint.as_str()], decode)
}

/// Reads the images of a project whose fingerprints begin with `prefix`; more than one means that the prefix is too short.
///
/// # Errors
/// Only the database's.
pub fn with_prefix(conn: &Conn, project: &ProjectName, prefix: &str) -> Result<Vec<Image>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND substr(m.fingerprint, 1, length(?2)) = ?2 ORDER BY m.fingerprint");
    conn.all(Entity::Image, &sql, [project.as_str(), prefix], decode)
}

/// Reads the images of a project, or of all, in order of project and fingerprint.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Image>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, m.fingerprint");
    conn.all(Entity::Image, &sql, [project.map(ProjectName::as_str)], decode)
}

/// Replaces what may change of the image of that fingerprint. When it came and was last used stay.
///
/// # Errors
/// [`StoreError::NotFound`], also for a profile.
pub fn update(tx: &Tx<'_>, image: &Image) -> Result<(), StoreError> {
    let what = subject(&image.project, &image.fingerprint);
    let id = id(tx, &image.project, &image.fingerprint)?;
    let values = params![
        id,
        image.filename,
        size(&what, image.size)?,
        image.public,
        image.auto_update,
        image.cached,
        image.architecture,
        json(&image.properties),
        image.created_at.map(|time| time.to_string()),
        image.expires_at.map(|time| time.to_string()),
        form_number(image.form),
    ];
    let sql = "UPDATE images SET filename = ?2, size = ?3, public = ?4, auto_update = ?5, cached = ?6, architecture = ?7,
        properties = ?8, created_at = ?9, expires_at = ?10, split = ?11 WHERE id = ?1";
    tx.change(&what, sql, values)?;
    tx.run(&what, "DELETE FROM image_profiles WHERE image_id = ?1", [id])?;
    set_profiles(tx, &what, id, image)
}

/// Notes when an instance was last made from an image.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn touch(tx: &Tx<'_>, project: &ProjectName, fingerprint: &Fingerprint, last_used_at: Time) -> Result<(), StoreError> {
    let values = params![id(tx, project, fingerprint)?, last_used_at.to_string()];
    tx.change(&subject(project, fingerprint), "UPDATE images SET last_used_at = ?2 WHERE id = ?1", values)
}

/// Removes an image, and its aliases with it.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, project: &ProjectName, fingerprint: &Fingerprint) -> Result<(), StoreError> {
    let id = id(tx, project, fingerprint)?;
    tx.change(&subject(project, fingerprint), "DELETE FROM images WHERE id = ?1", [id])
}

/// The id that other tables know an image by.
pub(crate) fn id(conn: &Conn, project: &ProjectName, fingerprint: &Fingerprint) -> Result<i64, StoreError> {
    let sql = "SELECT m.id FROM images m JOIN projects p ON p.id = m.project_id WHERE p.name = ?1 AND m.fingerprint = ?2";
    conn.one(Entity::Image, sql, [project.as_str(), fingerprint.as_str()], |columns| columns.get())?
        .ok_or_else(|| StoreError::NotFound(subject(project, fingerprint)))
}

fn set_profiles(tx: &Tx<'_>, what: &Subject, id: i64, image: &Image) -> Result<(), StoreError> {
    let home = project::home(tx, &image.project, Feature::Profiles)?;
    for (position, name) in (0i64..).zip(&image.profiles) {
        let values = params![id, position, profile::id(tx, &home, name)?];
        tx.run(what, "INSERT INTO image_profiles (image_id, position, profile_id) VALUES (?1, ?2, ?3)", values)?;
    }
    Ok(())
}

fn size(what: &Subject, bytes: u64) -> Result<i64, StoreError> {
    i64::try_from(bytes).map_err(|_| StoreError::Value { what: what.clone(), why: format!("{bytes} bytes is more than any file has") })
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Image> {
    Ok(Image {
        project: columns.parse()?,
        fingerprint: columns.parse()?,
        filename: columns.get()?,
        size: columns.number()?,
        public: columns.get()?,
        auto_update: columns.get()?,
        cached: columns.get()?,
        architecture: columns.get()?,
        properties: columns.json()?,
        profiles: columns.json()?,
        created_at: columns.parse_some()?,
        expires_at: columns.parse_some()?,
        last_used_at: columns.parse_some()?,
        uploaded_at: columns.parse()?,
        form: form_of(columns.get()?),
    })
}

/// The column began as whether an image is split.
fn form_number(form: ImageForm) -> i64 {
    match form {
        ImageForm::Unified => 0,
        ImageForm::Split => 1,
        ImageForm::Layers => 2,
    }
}

fn form_of(number: i64) -> ImageForm {
    match number {
        0 => ImageForm::Unified,
        2 => ImageForm::Layers,
        _ => ImageForm::Split,
    }
}

fn subject(project: &ProjectName, fingerprint: &Fingerprint) -> Subject {
    Subject::within(Entity::Image, project, fingerprint)
}
