//! Projects, and which project's things another project uses.

use coffer_model::{Project, ProjectName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};

const SELECT: &str = "SELECT name, description, config FROM projects";

/// What a project has of its own, or else shares with the default project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Images and their aliases.
    Images,
    /// Networks.
    Networks,
    /// Profiles.
    Profiles,
    /// Custom storage volumes.
    Volumes,
}

/// Adds a project, without any profile. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`].
pub fn insert(tx: &Tx<'_>, project: &Project) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Project, "projects")?;
    let values = params![id, project.name.as_str(), project.description, json(&project.config)];
    tx.run(&subject(&project.name), "INSERT INTO projects (id, name, description, config) VALUES (?1, ?2, ?3, ?4)", values)?;
    Ok(id)
}

/// Reads one project.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, name: &ProjectName) -> Result<Option<Project>, StoreError> {
    conn.one(Entity::Project, &format!("{SELECT} WHERE name = ?1"), [name.as_str()], decode)
}

/// Reads all projects in order of their names.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn) -> Result<Vec<Project>, StoreError> {
    conn.all(Entity::Project, &format!("{SELECT} ORDER BY name"), [], decode)
}

/// Replaces the description and configuration of the project of that name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, project: &Project) -> Result<(), StoreError> {
    let values = params![project.name.as_str(), project.description, json(&project.config)];
    tx.change(&subject(&project.name), "UPDATE projects SET description = ?2, config = ?3 WHERE name = ?1", values)
}

/// Gives a project another name.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, name: &ProjectName, new: &ProjectName) -> Result<(), StoreError> {
    id(tx, name)?;
    tx.change(&subject(new), "UPDATE projects SET name = ?2 WHERE name = ?1", [name.as_str(), new.as_str()])
}

/// Removes a project that holds nothing but its default profile, and that with it.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::InUse`] with what it holds.
pub fn delete(tx: &Tx<'_>, name: &ProjectName) -> Result<(), StoreError> {
    let id = id(tx, name)?;
    let what = subject(name);
    let held = holds(tx, id)?;
    if !held.is_empty() {
        return Err(StoreError::InUse { what, by: held.join(", ") });
    }
    tx.run(&what, "DELETE FROM profiles WHERE project_id = ?1 AND name = 'default'", [id])?;
    tx.change(&what, "DELETE FROM projects WHERE id = ?1", [id])
}

/// The project whose things of a kind another project sees: itself, or the default project where it has none of its own.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn home(conn: &Conn, name: &ProjectName, feature: Feature) -> Result<ProjectName, StoreError> {
    let key = match feature {
        Feature::Images => "features.images",
        Feature::Networks => "features.networks",
        Feature::Profiles => "features.profiles",
        Feature::Volumes => "features.storage.volumes",
    };
    let project = get(conn, name)?.ok_or_else(|| StoreError::NotFound(subject(name)))?;
    Ok(if project.has(key) { project.name } else { ProjectName::default_project() })
}

/// The id that other tables know a project by.
pub(crate) fn id(conn: &Conn, name: &ProjectName) -> Result<i64, StoreError> {
    conn.one(Entity::Project, "SELECT id FROM projects WHERE name = ?1", [name.as_str()], |columns| columns.get())?
        .ok_or_else(|| StoreError::NotFound(subject(name)))
}

/// What a project holds, counted: `2 instances`, `1 image`.
fn holds(conn: &Conn, id: i64) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT 'instance', count(*) FROM instances WHERE project_id = ?1
        UNION ALL SELECT 'image', count(*) FROM images WHERE project_id = ?1
        UNION ALL SELECT 'profile', count(*) FROM profiles WHERE project_id = ?1 AND name <> 'default'
        UNION ALL SELECT 'network', count(*) FROM networks WHERE project_id = ?1
        UNION ALL SELECT 'storage volume', count(*) FROM volumes WHERE project_id = ?1";
    let counts = conn.all(Entity::Project, sql, [id], |columns| Ok((columns.get::<String>()?, columns.number()?)))?;
    let word = |(kind, count): (String, u64)| match count {
        0 => None,
        1 => Some(format!("1 {kind}")),
        count => Some(format!("{count} {kind}s")),
    };
    Ok(counts.into_iter().filter_map(word).collect())
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Project> {
    Ok(Project { name: columns.parse()?, description: columns.get()?, config: columns.json()? })
}

fn subject(name: &ProjectName) -> Subject {
    Subject::new(Entity::Project, name)
}
