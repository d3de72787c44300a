//! Backups of instances: making, keeping, handing out and importing them.

mod create;
mod files;
pub(crate) mod import;
mod keep;
