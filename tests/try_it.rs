//! `cargo xtask try` ends with a container's own output.

use std::process::Command;
use std::time::Duration;

use coffer_testkit::{Invocation, can_run, skipped};

use crate::setting::holds;

#[test]
fn one_command_shows_a_container() {
    if !can_run() {
        return;
    }
    if std::env::var_os("CI").is_none() && std::env::var_os("COFFER_TEST_TRY").is_none() {
        // It may install packages: nothing that running one test by hand should do.
        return skipped("only in continuous integration, or with COFFER_TEST_TRY=1");
    }
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for _ in 0..2 {
        let mut command = Command::new(env!("CARGO"));
        // Built it is: building now would take the programs away from under the other tests.
        command.args(["xtask", "try", "--built"]).current_dir(top);
        let text = Invocation::new(command, "cargo xtask try --built").deadline(Duration::from_secs(300)).ok();
        holds(&text, &["Hello from first", "uid=0(root)", "RUNNING", "To go on"]);
    }
}
