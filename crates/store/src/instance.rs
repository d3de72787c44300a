//! Instances.

use coffer_model::{Checked, IdRange, Instance, InstanceName, Phase, ProfileName, ProjectName, Time};
use rusqlite::params;
use serde::Deserialize;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::project::{self, Feature};
use crate::{pool, profile};

const SELECT: &str = "SELECT i.id, p.name, i.name, i.architecture, i.description, i.ephemeral,
    (SELECT json_group_array(r.name ORDER BY u.position) FROM instance_profiles u
        JOIN profiles r ON r.id = u.profile_id WHERE u.instance_id = i.id),
    i.config, i.devices, s.name, i.created_at, i.last_used_at, i.phase
    FROM instances i JOIN projects p ON p.id = i.project_id JOIN pools s ON s.id = i.pool_id";

/// Adds an instance. Returns its id, which stays its own for as long as it exists.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its project, its pool or a profile.
pub fn insert(tx: &Tx<'_>, new: &Checked<Instance>) -> Result<i64, StoreError> {
    let what = subject(&new.project, &new.name);
    let id = tx.next_id(Entity::Instance, "instances")?;
    let values = params![
        id,
        project::id(tx, &new.project)?,
        new.name.as_str(),
        new.architecture,
        new.description,
        new.ephemeral,
        json(&new.config),
        json(&new.devices),
        pool::id(tx, &new.pool)?,
        new.created_at.to_string(),
        new.last_used_at.map(|time| time.to_string()),
        phase_word(new.phase),
    ];
    let sql = "INSERT INTO instances (id, project_id, name, architecture, description, ephemeral, config, devices, pool_id,
        created_at, last_used_at, phase) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    tx.run(&what, sql, values)?;
    set_profiles(tx, &what, id, new)?;
    Ok(id)
}

/// Reads one instance.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, name: &InstanceName) -> Result<Option<Instance>, StoreError> {
    Ok(get_with_id(conn, project, name)?.map(|(_, instance)| instance))
}

/// Reads one instance with its id.
///
/// # Errors
/// Only the database's.
pub fn get_with_id(conn: &Conn, project: &ProjectName, name: &InstanceName) -> Result<Option<(i64, Instance)>, StoreError> {
    conn.one(Entity::Instance, &format!("{SELECT} WHERE p.name = ?1 AND i.name = ?2"), [project.as_str(), name.as_str()], decode)
}

/// Reads the instances of a project, or of all, in order of project and name.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Instance>, StoreError> {
    Ok(list_with_id(conn, project)?.into_iter().map(|(_, instance)| instance).collect())
}

/// Reads the instances of a project, or of all, each with its id, in order of project and name.
///
/// # Errors
/// Only the database's.
pub fn list_with_id(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<(i64, Instance)>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, i.name");
    conn.all(Entity::Instance, &sql, [project.map(ProjectName::as_str)], decode)
}

/// Counts the instances of a project, or of all.
///
/// # Errors
/// Only the database's.
pub fn count(conn: &Conn, project: Option<&ProjectName>) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM instances i JOIN projects p ON p.id = i.project_id WHERE ?1 IS NULL OR p.name = ?1";
    Ok(conn.one(Entity::Instance, sql, [project.map(ProjectName::as_str)], |columns| columns.number())?.unwrap_or(0))
}

/// Replaces what the user may change, and the server's own keys, of the instance of that name.
///
/// The phase, the pool and the times stay: they have functions of their own or never change.
///
/// # Errors
/// [`StoreError::NotFound`], also for a profile.
pub fn update(tx: &Tx<'_>, new: &Checked<Instance>) -> Result<(), StoreError> {
    let what = subject(&new.project, &new.name);
    let id = id(tx, &new.project, &new.name)?;
    let values = params![id, new.architecture, new.description, new.ephemeral, json(&new.config), json(&new.devices)];
    let sql = "UPDATE instances SET architecture = ?2, description = ?3, ephemeral = ?4, config = ?5, devices = ?6 WHERE id = ?1";
    tx.change(&what, sql, values)?;
    tx.run(&what, "DELETE FROM instance_profiles WHERE instance_id = ?1", [id])?;
    set_profiles(tx, &what, id, new)
}

/// Notes how far an instance's creation or deletion is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_phase(tx: &Tx<'_>, project: &ProjectName, name: &InstanceName, phase: Phase) -> Result<(), StoreError> {
    let id = id(tx, project, name)?;
    tx.change(&subject(project, name), "UPDATE instances SET phase = ?2 WHERE id = ?1", params![id, phase_word(phase)])
}

/// Sets (or with `None` removes) keys that the server keeps for itself; nobody else writes them, so the gate is not asked.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Value`] for a key that does not begin with `volatile.`.
pub fn set_volatile<K: AsRef<str>, V: AsRef<str>>(
    tx: &Tx<'_>,
    project: &ProjectName,
    name: &InstanceName,
    keys: &[(K, Option<V>)],
) -> Result<(), StoreError> {
    let what = subject(project, name);
    let (id, mut instance) = get_with_id(tx, project, name)?.ok_or_else(|| StoreError::NotFound(what.clone()))?;
    for (key, value) in keys {
        let key = key.as_ref();
        if !key.starts_with("volatile.") {
            return Err(StoreError::Value { what, why: format!("key {key:?} is not the server's own") });
        }
        match value {
            Some(value) => instance.config.set(key, value.as_ref()),
            None => instance.config.unset(key),
        }
    }
    tx.change(&what, "UPDATE instances SET config = ?2 WHERE id = ?1", params![id, json(&instance.config)])
}

/// Notes when an instance was last started.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn touch(tx: &Tx<'_>, project: &ProjectName, name: &InstanceName, last_used_at: Time) -> Result<(), StoreError> {
    let id = id(tx, project, name)?;
    tx.change(&subject(project, name), "UPDATE instances SET last_used_at = ?2 WHERE id = ?1", params![id, last_used_at.to_string()])
}

/// Gives an instance another name; its id stays.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, project: &ProjectName, name: &InstanceName, new: &InstanceName) -> Result<(), StoreError> {
    let id = id(tx, project, name)?;
    tx.change(&subject(project, new), "UPDATE instances SET name = ?2 WHERE id = ?1", params![id, new.as_str()])
}

/// Writes an instance where another one stands: `new` may have another name, project or pool. Its id stays, and its
/// snapshots go along; profiles that these name and the new project does not have are no longer among theirs.
///
/// # Errors
/// [`StoreError::NotFound`], also for a pool or profile, or [`StoreError::Exists`] for the new name.
pub fn relocate(tx: &Tx<'_>, project: &ProjectName, name: &InstanceName, new: &Checked<Instance>) -> Result<(), StoreError> {
    let id = id(tx, project, name)?;
    let what = subject(&new.project, &new.name);
    let values = params![id, project::id(tx, &new.project)?, new.name.as_str(), pool::id(tx, &new.pool)?];
    tx.change(&what, "UPDATE instances SET project_id = ?2, name = ?3, pool_id = ?4 WHERE id = ?1", values)?;
    update(tx, new)?;
    if *project != new.project {
        crate::snapshot::relink(tx, &new.project, &new.name)?;
    }
    Ok(())
}

/// Removes an instance.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, project: &ProjectName, name: &InstanceName) -> Result<(), StoreError> {
    let id = id(tx, project, name)?;
    tx.change(&subject(project, name), "DELETE FROM instances WHERE id = ?1", [id])
}

/// The instances, of whatever project, that use a profile, in order of project and name.
///
/// # Errors
/// Only the database's.
pub fn using_profile(conn: &Conn, project: &ProjectName, profile: &ProfileName) -> Result<Vec<(ProjectName, InstanceName)>, StoreError> {
    let sql = "SELECT DISTINCT p.name, i.name FROM profiles r JOIN projects h ON h.id = r.project_id
        JOIN instance_profiles u ON u.profile_id = r.id JOIN instances i ON i.id = u.instance_id
        JOIN projects p ON p.id = i.project_id WHERE h.name = ?1 AND r.name = ?2 ORDER BY p.name, i.name";
    conn.all(Entity::Instance, sql, [project.as_str(), profile.as_str()], |columns| Ok((columns.parse()?, columns.parse()?)))
}

/// The host ids that instances have or had last (`volatile.idmap.next`), so that no other instance gets them.
///
/// # Errors
/// [`StoreError::Value`] for an instance whose map cannot be read: to pass over it could give its ids away.
pub fn id_ranges(conn: &Conn) -> Result<Vec<(ProjectName, InstanceName, IdRange)>, StoreError> {
    let sql = r#"SELECT * FROM (SELECT p.name, i.name, i.config ->> '$."volatile.idmap.next"' AS map
        FROM instances i JOIN projects p ON p.id = i.project_id ORDER BY p.name, i.name) WHERE map <> ''"#;
    let maps: Vec<(ProjectName, InstanceName, String)> =
        conn.all(Entity::Instance, sql, [], |columns| Ok((columns.parse()?, columns.parse()?, columns.get()?)))?;
    let mut taken = Vec::new();
    for (project, name, map) in maps {
        let ranges = ranges_of(&map).ok_or_else(|| StoreError::Value {
            what: subject(&project, &name),
            why: format!("volatile.idmap.next is not an id map: {map}"),
        })?;
        taken.extend(ranges.into_iter().map(|range| (project.clone(), name.clone(), range)));
    }
    Ok(taken)
}

/// The host's ranges in a map of any shape, each once.
fn ranges_of(map: &str) -> Option<Vec<IdRange>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        hostid: u32,
        maprange: u32,
    }
    let entries: Vec<Entry> = serde_json::from_str(map).ok()?;
    let mut ranges: Vec<IdRange> = entries.into_iter().map(|Entry { hostid: start, maprange: size }| IdRange { start, size }).collect();
    ranges.sort();
    ranges.dedup();
    Some(ranges)
}

fn set_profiles(tx: &Tx<'_>, what: &Subject, id: i64, new: &Instance) -> Result<(), StoreError> {
    let home = project::home(tx, &new.project, Feature::Profiles)?;
    for (position, name) in (0i64..).zip(&new.profiles) {
        let values = params![id, position, profile::id(tx, &home, name)?];
        tx.run(what, "INSERT INTO instance_profiles (instance_id, position, profile_id) VALUES (?1, ?2, ?3)", values)?;
    }
    Ok(())
}

pub(crate) fn id(conn: &Conn, project: &ProjectName, name: &InstanceName) -> Result<i64, StoreError> {
    let sql = "SELECT i.id FROM instances i JOIN projects p ON p.id = i.project_id WHERE p.name = ?1 AND i.name = ?2";
    conn.one(Entity::Instance, sql, [project.as_str(), name.as_str()], |columns| columns.get())?
        .ok_or_else(|| StoreError::NotFound(subject(project, name)))
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<(i64, Instance)> {
    let id = columns.get()?;
    let instance = Instance {
        project: columns.parse()?,
        name: columns.parse()?,
        architecture: columns.get()?,
        description: columns.get()?,
        ephemeral: columns.get()?,
        profiles: columns.json()?,
        config: columns.json()?,
        devices: columns.json()?,
        pool: columns.parse()?,
        created_at: columns.parse()?,
        last_used_at: columns.parse_some()?,
        phase: columns.word(phase_of)?,
    };
    Ok((id, instance))
}

pub(crate) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Creating => "creating",
        Phase::Ready => "ready",
        Phase::Deleting => "deleting",
    }
}

pub(crate) fn phase_of(word: &str) -> Option<Phase> {
    [Phase::Creating, Phase::Ready, Phase::Deleting].into_iter().find(|phase| phase_word(*phase) == word)
}

pub(crate) fn subject(project: &ProjectName, name: &InstanceName) -> Subject {
    Subject::within(Entity::Instance, project, name)
}
