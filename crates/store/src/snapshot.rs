//! Snapshots of instances.
//!
//! A snapshot is a memory of what has passed the gate; it passes the gate again when it is restored or copied.

use coffer_model::{Devices, InstanceName, InstanceSnapshot, Phase, ProjectName, SnapshotName, Time};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::instance::{self, phase_of, phase_word};
use crate::profile;
use crate::project::{self, Feature};

const SELECT: &str = "SELECT p.name, i.name, s.name, s.architecture, s.ephemeral,
    (SELECT json_group_array(r.name ORDER BY u.position) FROM instance_snapshot_profiles u
        JOIN profiles r ON r.id = u.profile_id WHERE u.snapshot_id = s.id),
    s.config, s.devices, s.created_at, s.expires_at, s.last_used_at, s.phase, s.renamed_from
    FROM instance_snapshots s JOIN instances i ON i.id = s.instance_id JOIN projects p ON p.id = i.project_id";

/// A snapshot with the instance that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The instance's project.
    pub project: ProjectName,
    /// The instance.
    pub instance: InstanceName,
    /// The snapshot.
    pub snapshot: InstanceSnapshot,
}

/// Adds a snapshot to an instance.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for the instance or a profile.
pub fn insert(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, new: &InstanceSnapshot) -> Result<(), StoreError> {
    let what = subject(project, instance, &new.name);
    let id = tx.next_id(Entity::Snapshot, "instance_snapshots")?;
    let values = params![
        id,
        instance::id(tx, project, instance)?,
        new.name.as_str(),
        new.architecture,
        new.ephemeral,
        json(&new.config),
        json(&new.devices),
        new.created_at.to_string(),
        new.expires_at.map(|time| time.to_string()),
        new.last_used_at.map(|time| time.to_string()),
        phase_word(new.phase),
        new.renamed_from.as_ref().map(SnapshotName::as_str),
    ];
    let sql = "INSERT INTO instance_snapshots (id, instance_id, name, architecture, ephemeral, config, devices, created_at,
        expires_at, last_used_at, phase, renamed_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    tx.run(&what, sql, values)?;
    let home = project::home(tx, project, Feature::Profiles)?;
    for (position, name) in (0_i64..).zip(&new.profiles) {
        tx.run(&what, LINK, params![id, position, profile::id(tx, &home, name)?])?;
    }
    Ok(())
}

const LINK: &str = "INSERT INTO instance_snapshot_profiles (snapshot_id, position, profile_id) VALUES (?1, ?2, ?3)";

/// Has the snapshots of an instance that came from another project mean the profiles of this one, where it has them.
pub(crate) fn relink(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName) -> Result<(), StoreError> {
    let home = project::home(tx, project, Feature::Profiles)?;
    for snapshot in of_instance(tx, project, instance)? {
        let what = subject(project, instance, &snapshot.name);
        let sql = "SELECT id FROM instance_snapshots WHERE instance_id = ?1 AND name = ?2";
        let instance_id = instance::id(tx, project, instance)?;
        let id: Option<i64> = tx.one(Entity::Snapshot, sql, params![instance_id, snapshot.name.as_str()], |columns| columns.get())?;
        tx.run(&what, "DELETE FROM instance_snapshot_profiles WHERE snapshot_id = ?1", [id])?;
        for (position, name) in (0_i64..).zip(&snapshot.profiles) {
            match profile::id(tx, &home, name) {
                Ok(profile) => tx.run(&what, LINK, params![id, position, profile]).map(drop)?,
                Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Replaces the devices of a snapshot whose instance has moved to another pool.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_devices(
    tx: &Tx<'_>,
    project: &ProjectName,
    instance: &InstanceName,
    name: &SnapshotName,
    devices: &Devices,
) -> Result<(), StoreError> {
    change(tx, project, instance, name, "devices = ?3", json(devices))
}

/// Reads one snapshot.
///
/// # Errors
/// Only the database's.
pub fn get(
    conn: &Conn,
    project: &ProjectName,
    instance: &InstanceName,
    name: &SnapshotName,
) -> Result<Option<InstanceSnapshot>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND i.name = ?2 AND s.name = ?3");
    let found = conn.one(Entity::Snapshot, &sql, [project.as_str(), instance.as_str(), name.as_str()], decode)?;
    Ok(found.map(|owned| owned.snapshot))
}

/// Reads an instance's snapshots, the oldest first, also those that are being made or deleted.
///
/// # Errors
/// Only the database's.
pub fn of_instance(conn: &Conn, project: &ProjectName, instance: &InstanceName) -> Result<Vec<InstanceSnapshot>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND i.name = ?2 ORDER BY s.id");
    let found = conn.all(Entity::Snapshot, &sql, [project.as_str(), instance.as_str()], decode)?;
    let mut snapshots: Vec<InstanceSnapshot> = found.into_iter().map(|owned| owned.snapshot).collect();
    snapshots.sort_by_key(|snapshot| snapshot.created_at);
    Ok(snapshots)
}

/// Reads the snapshots of all instances of a project, or of all, the oldest first.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Owned>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY s.id");
    let mut found = conn.all(Entity::Snapshot, &sql, [project.map(ProjectName::as_str)], decode)?;
    found.sort_by_key(|owned| owned.snapshot.created_at);
    Ok(found)
}

/// Reads the snapshots of whatever project that somebody was making, renaming or deleting.
///
/// # Errors
/// Only the database's.
pub fn unsettled(conn: &Conn) -> Result<Vec<Owned>, StoreError> {
    let sql = format!("{SELECT} WHERE s.phase <> ?1 OR s.renamed_from IS NOT NULL ORDER BY s.id");
    conn.all(Entity::Snapshot, &sql, [phase_word(Phase::Ready)], decode)
}

/// Reads the snapshots of whatever project that are deleted by themselves some day, the first to go first.
///
/// # Errors
/// Only the database's.
pub fn expiring(conn: &Conn) -> Result<Vec<Owned>, StoreError> {
    let sql = format!("{SELECT} WHERE s.expires_at IS NOT NULL AND s.phase = ?1 ORDER BY s.id");
    let mut found = conn.all(Entity::Snapshot, &sql, [phase_word(Phase::Ready)], decode)?;
    found.sort_by_key(|owned| owned.snapshot.expires_at);
    Ok(found)
}

/// Notes how far a snapshot's creation or deletion is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_phase(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, name: &SnapshotName, phase: Phase) -> Result<(), StoreError> {
    change(tx, project, instance, name, "phase = ?3", phase_word(phase))
}

/// Says when a snapshot is deleted by itself; `None` is never.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_expiry(
    tx: &Tx<'_>,
    project: &ProjectName,
    instance: &InstanceName,
    name: &SnapshotName,
    expires_at: Option<Time>,
) -> Result<(), StoreError> {
    change(tx, project, instance, name, "expires_at = ?3", expires_at.map(|time| time.to_string()))
}

/// Gives a snapshot another name, and notes the old one, which its volume still has.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(
    tx: &Tx<'_>,
    project: &ProjectName,
    instance: &InstanceName,
    name: &SnapshotName,
    new: &SnapshotName,
) -> Result<(), StoreError> {
    let instance_id = instance::id(tx, project, instance)?;
    if get(tx, project, instance, name)?.is_none() {
        return Err(StoreError::NotFound(subject(project, instance, name)));
    }
    let sql = "UPDATE instance_snapshots SET name = ?3, renamed_from = ?2 WHERE instance_id = ?1 AND name = ?2";
    tx.change(&subject(project, instance, new), sql, params![instance_id, name.as_str(), new.as_str()])
}

/// Notes that a renamed snapshot's volume has its new name too.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_renamed(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, name: &SnapshotName) -> Result<(), StoreError> {
    change(tx, project, instance, name, "renamed_from = ?3", None::<String>)
}

/// Removes a snapshot.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, name: &SnapshotName) -> Result<(), StoreError> {
    let instance_id = instance::id(tx, project, instance)?;
    let sql = "DELETE FROM instance_snapshots WHERE instance_id = ?1 AND name = ?2";
    tx.change(&subject(project, instance, name), sql, params![instance_id, name.as_str()])
}

fn change(
    tx: &Tx<'_>,
    project: &ProjectName,
    instance: &InstanceName,
    name: &SnapshotName,
    assignment: &'static str,
    value: impl rusqlite::ToSql,
) -> Result<(), StoreError> {
    let instance_id = instance::id(tx, project, instance)?;
    let sql = format!("UPDATE instance_snapshots SET {assignment} WHERE instance_id = ?1 AND name = ?2");
    tx.change(&subject(project, instance, name), &sql, params![instance_id, name.as_str(), value])
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Owned> {
    Ok(Owned {
        project: columns.parse()?,
        instance: columns.parse()?,
        snapshot: InstanceSnapshot {
            name: columns.parse()?,
            architecture: columns.get()?,
            ephemeral: columns.get()?,
            profiles: columns.json()?,
            config: columns.json()?,
            devices: columns.json()?,
            created_at: columns.parse()?,
            expires_at: columns.parse_some()?,
            last_used_at: columns.parse_some()?,
            phase: columns.word(phase_of)?,
            renamed_from: columns.parse_some()?,
        },
    })
}

fn subject(project: &ProjectName, instance: &InstanceName, name: &SnapshotName) -> Subject {
    Subject::within(Entity::Snapshot, project, format_args!("{instance}/{name}"))
}
