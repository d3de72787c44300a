//! Labels of Linux security modules: AppArmor profiles and SELinux contexts.

use std::os::fd::OwnedFd;

use coffer_runtime_spec::Label;
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Says whether the host can apply this label, before anything is started.
pub(crate) fn check(label: &Label) -> Result<(), String> {
    match label {
        Label::Apparmor(profile) => {
            let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
            if enabled.trim() == "Y" { Ok(()) } else { Err(format!("AppArmor profile {profile}: this host has AppArmor off")) }
        }
        Label::Selinux(context) => {
            let enabled = std::fs::exists("/sys/fs/selinux/enforce").unwrap_or(false);
            if enabled { Ok(()) } else { Err(format!("SELinux context {context}: this host has SELinux off")) }
        }
    }
}

/// Sets the label that the next program runs under, through `proc`, a `/proc` of ours that nobody could put anything over.
///
/// Source: apparmor(7), `changeprofile on exec`; selinux(8), `/proc/self/attr/exec`.
pub(crate) fn set_for_exec(label: &Label, proc: &OwnedFd) -> Result<(), String> {
    let pid = rustix::process::getpid().as_raw_nonzero();
    let (files, text) = match label {
        Label::Apparmor(profile) => (&["attr/apparmor/exec", "attr/exec"][..], format!("exec {profile}")),
        Label::Selinux(context) => (&["attr/exec"][..], context.clone()),
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open =
        |file: &&str| coffer_sys::path::openat2(proc, format!("{pid}/{file}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve);
    let file = files.iter().map(open).reduce(|one, other| one.or(other)).unwrap_or(Err(rustix::io::Errno::NOENT));
    let written = file.and_then(|file| rustix::io::write(file, text.as_bytes()));
    written.map(drop).map_err(|error| format!("setting {text:?}: {error}"))
}
