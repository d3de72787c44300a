//! pylxd from PyPI works with our daemon unchanged: instances, files, snapshots, commands, backups, devices.

use coffer_testkit::python;

use crate::setting::{holds, ready_daemon};

/// What a user of the library writes.
const SCRIPT: &str = include_str!("pylxd.py");

#[test]
fn pylxd_works_unchanged() {
    let Some(python) = python() else { return };
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    let said = daemon.inside(&python.display().to_string(), ["-c", SCRIPT]).ok();
    holds(&said, &["all done"]);
    daemon.expect_nothing_since(&before);
}
