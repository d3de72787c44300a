//! Which signal asks an init to halt.

use coffer_runtime_spec::Signal;
use coffer_sys::path::Root;

/// Tells the halt signal by the program that is init in this root, links resolved inside it.
///
/// systemd halts on `SIGRTMIN+3` (systemd(1)). busybox init powers off on `SIGUSR2` and does nothing on `SIGPWR` (its
/// `init.c` sets halt on `SIGUSR1`, power off on `SIGUSR2`, reboot on `SIGTERM`). sysvinit and OpenRC's init go to their
/// power failure actions on `SIGPWR`. Whatever else gets `SIGTERM`.
pub(crate) fn halt_signal(root: &Root, argv: &[String]) -> Signal {
    let Some(program) = argv.first() else { return Signal::TERM };
    let program = resolve(root, program);
    let name = program.rsplit('/').next().unwrap_or_default();
    match name {
        "systemd" => Signal::RTMIN_3,
        "busybox" | "busybox.static" | "busybox-static" if is_init(argv) => Signal::USR2,
        "init" | "openrc-init" | "sysvinit" | "upstart" | "finit" | "runit-init" if is_busybox(root, &program) => Signal::USR2,
        "init" | "openrc-init" | "sysvinit" | "upstart" | "finit" => Signal::PWR,
        "runit-init" | "s6-svscan" | "dumb-init" | "tini" => Signal::TERM,
        _ => Signal::TERM,
    }
}

/// Says whether busybox was asked to be init: by the name it is called by or by its first argument.
fn is_init(argv: &[String]) -> bool {
    let called = |text: &String| text.rsplit('/').next().unwrap_or_default().contains("init");
    argv.first().is_some_and(called) || argv.get(1).is_some_and(called)
}

/// Follows links inside the root to the last one's name. A loop ends after as many links as the kernel follows.
fn resolve(root: &Root, program: &str) -> String {
    let mut at = program.to_owned();
    for _ in 0..40 {
        let Ok(target) = root.read_link(&at) else { break };
        let target = target.to_string_lossy().into_owned();
        at = if target.starts_with('/') { target } else { format!("{}/{target}", at.rsplit_once('/').map_or("", |(dir, _)| dir)) };
    }
    at
}

/// Says whether a file is busybox: a hard link or a copy has its name only inside.
fn is_busybox(root: &Root, program: &str) -> bool {
    let same = |other: &str| {
        let (one, two) = (root.metadata_followed(program).ok()?, root.metadata_followed(other).ok()?);
        Some(one.st_dev == two.st_dev && one.st_ino == two.st_ino)
    };
    ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox"].into_iter().any(|other| same(other).unwrap_or(false))
}
