//! Backups of instances: making, keeping, handing out and importing them.

mod create;
mod files;
mod import;
mod keep;
