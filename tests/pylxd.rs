//! pylxd from PyPI works with our daemon unchanged: all that it offers for containers, and that clusters are refused.

use coffer_testkit::python;

use crate::setting::{holds, ready_daemon};

/// What a user of the library writes: instances, and everything else.
const SCRIPTS: [&str; 2] = [include_str!("pylxd.py"), include_str!("pylxd_more.py")];

#[test]
fn pylxd_works_unchanged() {
    let Some(python) = python() else { return };
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    for script in SCRIPTS {
        let said = daemon.inside(&python.display().to_string(), ["-c", script]).ok();
        holds(&said, &["all done"]);
    }
    daemon.expect_nothing_since(&before);
}
