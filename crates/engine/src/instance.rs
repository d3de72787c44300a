//! Instances: one use case a file.

pub mod console;
pub mod create;
mod create_remote;
pub mod delete;
pub mod end;
pub mod exec;
pub mod files;
pub mod ids;
mod metadata;
mod modules;
pub mod names;
pub mod rename;
pub mod resolve;
pub mod start;
pub mod state;
pub mod stop;
pub mod templates;
pub mod update;
pub mod usage;
pub mod view;
