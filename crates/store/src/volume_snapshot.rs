//! Snapshots of users' storage volumes.

use coffer_model::{CustomVolume, Phase, PoolName, SnapshotName, Time, VolumeKey, VolumeSnapshot};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::instance::{phase_of, phase_word};
use crate::volume;

const COLUMNS: &str = "t.name, t.description, t.config, t.created_at, t.expires_at, t.phase, t.renamed_from";

/// Adds a snapshot of a volume. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for the volume.
pub fn insert(tx: &Tx<'_>, of: &CustomVolume, snapshot: &VolumeSnapshot) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::VolumeSnapshot, "volume_snapshots")?;
    let values = params![
        id,
        volume::id(tx, &of.pool, &of.project, &of.name)?,
        snapshot.name.as_str(),
        snapshot.description,
        json(&snapshot.config),
        snapshot.created_at.to_string(),
        snapshot.expires_at.map(|time| time.to_string()),
        phase_word(snapshot.phase),
        snapshot.renamed_from.as_ref().map(SnapshotName::as_str),
    ];
    let sql = "INSERT INTO volume_snapshots (id, volume_id, name, description, config, created_at, expires_at, phase, renamed_from)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    tx.run(&subject(of, &snapshot.name), sql, values)?;
    Ok(id)
}

/// Reads one snapshot of a volume.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, of: &CustomVolume, name: &SnapshotName) -> Result<Option<VolumeSnapshot>, StoreError> {
    Ok(list(conn, of)?.into_iter().find(|snapshot| snapshot.name == *name))
}

/// Reads a volume's snapshots, the oldest first.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, of: &CustomVolume) -> Result<Vec<VolumeSnapshot>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM volume_snapshots t JOIN volumes v ON v.id = t.volume_id JOIN pools s ON s.id = v.pool_id
        JOIN projects p ON p.id = v.project_id WHERE s.name = ?1 AND p.name = ?2 AND v.name = ?3 ORDER BY t.created_at, t.id"
    );
    conn.all(Entity::VolumeSnapshot, &sql, [of.pool.as_str(), of.project.as_str(), of.name.as_str()], decode)
}

/// A snapshot that goes by itself: the pool and the key of its volume, its name, and when it goes.
pub type Expiring = ((PoolName, VolumeKey), SnapshotName, Time);

/// The whole snapshots that go by themselves, the next one first.
///
/// # Errors
/// Only the database's.
pub fn expiring(conn: &Conn) -> Result<Vec<Expiring>, StoreError> {
    let sql = "SELECT s.name, p.name, v.name, t.name, t.expires_at FROM volume_snapshots t JOIN volumes v ON v.id = t.volume_id
        JOIN pools s ON s.id = v.pool_id JOIN projects p ON p.id = v.project_id
        WHERE t.expires_at IS NOT NULL AND t.phase = 'ready' ORDER BY s.name, p.name, v.name, t.name";
    let read = |columns: &mut Columns<'_>| {
        let place = (columns.parse()?, VolumeKey { project: columns.parse()?, name: columns.parse()? });
        Ok((place, columns.parse()?, columns.parse::<Time>()?))
    };
    let mut all = conn.all(Entity::VolumeSnapshot, sql, [], read)?;
    // As text, times with and without a fraction of a second are not in order.
    all.sort_by_key(|(_, _, at)| *at);
    Ok(all)
}

/// Replaces the description and expiry of a snapshot.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, of: &CustomVolume, snapshot: &VolumeSnapshot) -> Result<(), StoreError> {
    let values = params![
        volume::id(tx, &of.pool, &of.project, &of.name)?,
        snapshot.name.as_str(),
        snapshot.description,
        snapshot.expires_at.map(|time| time.to_string()),
    ];
    let sql = "UPDATE volume_snapshots SET description = ?3, expires_at = ?4 WHERE volume_id = ?1 AND name = ?2";
    tx.change(&subject(of, &snapshot.name), sql, values)
}

/// Notes how far a snapshot's creation or deletion is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_phase(tx: &Tx<'_>, of: &CustomVolume, name: &SnapshotName, phase: Phase) -> Result<(), StoreError> {
    let values = params![volume::id(tx, &of.pool, &of.project, &of.name)?, name.as_str(), phase_word(phase)];
    tx.change(&subject(of, name), "UPDATE volume_snapshots SET phase = ?3 WHERE volume_id = ?1 AND name = ?2", values)
}

/// Gives a snapshot another name, and remembers that on disk it still has the old one.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, of: &CustomVolume, name: &SnapshotName, new: &SnapshotName) -> Result<(), StoreError> {
    if get(tx, of, name)?.is_none() {
        return Err(StoreError::NotFound(subject(of, name)));
    }
    let values = params![volume::id(tx, &of.pool, &of.project, &of.name)?, name.as_str(), new.as_str()];
    tx.change(&subject(of, new), "UPDATE volume_snapshots SET name = ?3, renamed_from = ?2 WHERE volume_id = ?1 AND name = ?2", values)
}

/// Notes that a snapshot has its name on disk too.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn renamed(tx: &Tx<'_>, of: &CustomVolume, name: &SnapshotName) -> Result<(), StoreError> {
    let values = params![volume::id(tx, &of.pool, &of.project, &of.name)?, name.as_str()];
    tx.change(&subject(of, name), "UPDATE volume_snapshots SET renamed_from = NULL WHERE volume_id = ?1 AND name = ?2", values)
}

/// Removes a snapshot.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, of: &CustomVolume, name: &SnapshotName) -> Result<(), StoreError> {
    let values = params![volume::id(tx, &of.pool, &of.project, &of.name)?, name.as_str()];
    tx.change(&subject(of, name), "DELETE FROM volume_snapshots WHERE volume_id = ?1 AND name = ?2", values)
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<VolumeSnapshot> {
    Ok(VolumeSnapshot {
        name: columns.parse()?,
        description: columns.get()?,
        config: columns.json()?,
        created_at: columns.parse()?,
        expires_at: columns.parse_some()?,
        phase: columns.word(phase_of)?,
        renamed_from: columns.parse_some()?,
    })
}

fn subject(of: &CustomVolume, name: &SnapshotName) -> Subject {
    Subject::within(Entity::VolumeSnapshot, &of.project, format!("{}/{name}", of.name))
}
