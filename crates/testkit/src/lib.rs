//! Runs the real product for tests: a daemon in its own state directory, its own network, mount and cgroup namespaces.
//!
//! Never: a change to the host that outlives the test (the pen takes everything with it, even when the test program is
//! killed); a part of the product linked in, so that what is tested is what users run.
//!
//! A test that cannot run here prints `skipped: why` and returns; `cargo xtask test` counts those lines.

mod api;
mod authority;
mod daemon;
mod events;
mod image_server;
pub mod images;
mod invocation;
mod oci_registry;
mod pen;
pub mod random_tree;
pub mod soak;
mod sockets;
mod terminal;
pub mod tree;
mod uevents;
mod wait;
mod world;

pub use api::{Answer, Api};
pub use authority::Authority;
pub use daemon::{Daemon, Options, has_fault_points};
pub use events::Events;
pub use image_server::{ImageServer, Offer, Request};
pub use invocation::{Done, Invocation};
pub use oci_registry::{OciImage, OciRegistry, Packing, sha256};
pub use pen::{Pen, program};
pub use terminal::Terminal;
pub use world::World;

/// Says that a test cannot run here, and why; the test returns after it.
pub fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Returns true on a machine where containers can be started at all; else says why not.
#[must_use]
pub fn can_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("containers need root");
    }
    root
}

/// Says whether the genuine `lxc` client is installed; else prints why the test is skipped.
#[must_use]
pub fn has_genuine_client() -> bool {
    let there = std::path::Path::new(daemon::GENUINE_CLIENT).exists();
    if !there {
        skipped("the genuine lxc client is not installed (package lxd-client)");
    }
    there
}

/// The Python interpreter that has the packages which `cargo xtask` fetches for tests; without it prints why the test is skipped.
#[must_use]
pub fn python() -> Option<std::path::PathBuf> {
    let found = std::env::var_os("COFFER_TEST_PYTHON").map(std::path::PathBuf::from);
    let beside = || pen::build_directory().map(|directory| directory.join("python/bin/python3"));
    let found = found.or_else(beside).filter(|path| path.is_file());
    if found.is_none() {
        skipped("the packages of distro/packages.python are not there; `cargo xtask test` fetches them from PyPI");
    }
    found
}

/// The interpreter, and the directory of the files that `cargo xtask` takes out of packages for tests; without them prints why the
/// test is skipped.
#[must_use]
pub fn python_files() -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    let python = python()?;
    let files = python.parent()?.parent()?.join("picked");
    if files.is_dir() {
        return Some((python, files));
    }
    skipped("the files of distro/files.python are not there; `cargo xtask test` fetches them from PyPI");
    None
}

/// Says whether LXD itself is installed; else prints why the test is skipped.
#[must_use]
pub fn has_genuine_lxd() -> bool {
    let there = std::path::Path::new(daemon::GENUINE_LXD).exists();
    if !there {
        skipped("genuine LXD is not installed (package lxd)");
    }
    there
}
