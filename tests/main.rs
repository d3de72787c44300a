//! End-to-end tests of the whole product: real daemon, real kernel, real clients; one module a subject.
//!
//! Each test has a daemon in a pen of its own, so they run side by side. `cargo xtask test MODULE` runs one subject.

mod backups;
mod bad_input;
mod cloud_init;
mod command_set;
mod compatibility_names;
mod console_viewers;
mod copies;
mod debian;
mod devices;
mod events;
mod exec;
mod exec_many;
mod exec_outlive;
mod faults;
mod files;
mod first_launch;
mod genuine_lxc;
mod guest_api;
mod https;
mod image_servers;
mod keys;
mod lifecycle;
mod limits;
mod metrics;
mod network;
mod oci;
mod oci_tokens;
mod on_drivers;
mod operations;
mod outlive;
mod overlay;
mod policy;
mod pools;
mod projects;
mod publish;
mod remotes;
mod resources;
mod setting;
mod snapshots;
mod storage;
mod templates;
mod try_it;
mod volumes;
mod warnings;
