//! The genuine client with a pool of each driver that this host has; the bed has those that others lack.

use coffer_testkit::Daemon;

use super::session;
use crate::on_drivers::drivers;
use crate::setting::ready_for_genuine_client;

/// Read when it is built: the bed has the tests' programs alone.
const TEXT: &str = include_str!("pool.session");

/// Each driver with what its pool is made of. Those of a cluster are in `on_ceph`, which reaches one.
const POOLS: &[(&str, &str)] = &[
    ("dir", ""),
    ("overlay", ""),
    ("btrfs", "size=512MiB"),
    ("zfs", "size=512MiB zfs.pool_name=coffer-client"),
    ("lvm", "size=2GiB volume.size=64MiB lvm.vg_name=coffer-client"),
    ("lvm", "size=1GiB volume.size=64MiB lvm.use_thinpool=false lvm.vg_name=coffer-client"),
];

/// Has the genuine client do with a pool all that it can.
#[track_caller]
pub fn does_all_with(daemon: &Daemon, driver: &str, keys: &str) {
    let words = [("{driver}", driver), ("{keys}", keys), ("{state}", &daemon.state().display().to_string())];
    let text = words.iter().fold(TEXT.to_owned(), |text, (word, meaning)| text.replace(word, meaning));
    session::run_with(daemon, session::Client::Genuine, &session::read(&format!("pool of {driver} {keys}"), &text));
}

#[test]
fn the_client_does_all_with_a_pool_of_each_driver() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let here = drivers(&daemon);
    for (driver, keys) in POOLS.iter().filter(|(driver, _)| here.iter().any(|found| found == driver)) {
        let begun = std::time::Instant::now();
        does_all_with(&daemon, driver, keys);
        println!("{driver} {keys}: {:.1} s", begun.elapsed().as_secs_f32());
    }
}
