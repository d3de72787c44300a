//! Many lives of an instance leave nothing. `cargo xtask soak` does the same for longer.

use coffer_testkit::soak::soak;

use crate::setting::ready_daemon;

#[test]
fn sixty_lives_of_an_instance_leave_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    let report = soak(&daemon, 60);
    println!("{}", report.line());
    assert_eq!(report.complaints(), [""; 0], "{}", report.line());
}
