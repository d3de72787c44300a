//! Instances: one use case a file.

pub mod cloud_init;
pub mod console;
pub mod copy;
pub mod cpus;
pub mod create;
mod create_remote;
pub mod delete;
pub mod end;
pub mod exec;
pub mod exec_resumed;
pub mod files;
pub mod ids;
pub mod metadata;
mod modules;
pub mod names;
mod process;
pub mod rebuild;
pub mod refresh;
pub mod relocate;
pub mod resolve;
pub mod start;
pub mod state;
pub mod stop;
pub mod templates;
pub mod update;
pub mod usage;
pub mod view;
