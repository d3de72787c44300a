//! The server's configuration.

use coffer_model::Config;

use crate::conn::{Conn, Tx};
use crate::error::{Entity, StoreError, Subject};

/// Reads the server's configuration.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn) -> Result<Config, StoreError> {
    let pair = conn.all(Entity::Server, "SELECT key, value FROM server_config", [], |columns| {
        Ok((columns.get::<String>()?, columns.get::<String>()?))
    })?;
    Ok(pair.into_iter().collect())
}

/// Replaces the server's configuration.
///
/// # Errors
/// Only the database's.
pub fn set(tx: &Tx<'_>, config: &Config) -> Result<(), StoreError> {
    let what = Subject::new(Entity::Server, "");
    tx.run(&what, "DELETE FROM server_config", [])?;
    for (key, value) in config.iter() {
        tx.run(&what, "INSERT INTO server_config (key, value) VALUES (?1, ?2)", [key, value])?;
    }
    Ok(())
}
