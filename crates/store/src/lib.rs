//! Durable facts: SQLite, numbered migrations, one file per entity, typed functions in and `model` out.
//!
//! Never: a table without an explicit primary key, a trigger, AUTOINCREMENT; a clock or randomness of its own (both are
//! passed in); a write of an instance or profile that did not pass the gate; an overwrite of a database that it cannot read.
//!
//! All access is by closures over one transaction, so that a check and the write that depends on it are one step:
//!
//! ```no_run
//! # use coffer_store::{Store, StoreError, instance};
//! # use coffer_model::ProjectName;
//! # fn example(store: &Store) -> Result<(), StoreError> {
//! let project = ProjectName::default_project();
//! let all = store.read(|conn| instance::list(conn, Some(&project)))?;
//! store.write(|tx| instance::delete(tx, &project, &all[0].name))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Files
//! The directory (mode 0700) holds `coffer.db` (0600) with SQLite's `-wal` and `-shm` beside it, `coffer.db.bak-N` as it
//! was before the step from version N, and `lock`, which a running server holds. What is true of one cluster member
//! only (its addresses, its raft log) will be in a file of its own, `local.db`: nothing of that kind goes into `coffer.db`.

mod conn;
mod error;
mod migration;
mod open;
mod store;

pub mod alias;
pub mod backup;
pub mod certificate;
pub mod image;
pub mod instance;
pub mod kept_backup;
pub mod network;
pub mod operation_log;
pub mod origin;
pub mod pool;
pub mod profile;
pub mod project;
pub mod server;
pub mod snapshot;
pub mod usage;
pub mod volume;
pub mod volume_snapshot;
pub mod warning;

pub use conn::{Conn, Tx};
pub use error::{Entity, StoreError, Subject};
pub use store::Store;

#[cfg(test)]
mod tests;
