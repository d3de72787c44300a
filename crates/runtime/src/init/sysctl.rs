//! Kernel parameters.

use std::os::fd::OwnedFd;

use coffer_runtime_spec::Stage;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::Inside;
use crate::failed::{At, Failed};

/// The trees whose parameters belong to a namespace of the instance's own.
const OWN: [&str; 4] = ["net.", "fs.mqueue.", "user.", "kernel.domainname"];

/// Single parameters of the IPC namespace.
const OWN_IPC: [&str; 12] = [
    "kernel.auto_msgmni",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Sets kernel parameters through our own `/proc`, walking over no link and no other mount.
pub(super) fn set(inside: &Inside<'_>, proc: &OwnedFd) -> Result<(), Failed> {
    for (name, value) in &inside.spec.sysctls {
        if !is_own(name) {
            return Err(Failed::new(Stage::Sysctl, format!("{name} belongs to the host, not to an instance")));
        }
        if name == "kernel.domainname" {
            // Its file is the host root's whoever owns the namespace; the call asks the namespace's owner.
            rustix::system::setdomainname(value.as_bytes()).at(Stage::Sysctl, || format!("setting {name} to {value:?}"))?;
            continue;
        }
        let path = format!("sys/{}", path(name));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let file = coffer_sys::path::openat2(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve);
        let written = file.and_then(|file| rustix::io::write(file, value.as_bytes()));
        written.at(Stage::Sysctl, || format!("setting {name} to {value:?}"))?;
    }
    Ok(())
}

/// Whether a parameter is one of ours. A slash stands for a dot in a name, so that dots and slashes could make a way up.
fn is_own(name: &str) -> bool {
    let leads_down = path(name).split('/').all(|part| !matches!(part, "" | "." | ".."));
    leads_down && is_named(name)
}

fn is_named(name: &str) -> bool {
    OWN.iter().any(|own| if own.ends_with('.') { name.starts_with(own) } else { name == *own }) || OWN_IPC.contains(&name)
}

/// `net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`, as sysctl(8) has it.
fn path(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_instances_own_parameters() {
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname"] {
            assert!(is_own(name), "{name}");
        }
        for name in [
            "kernel.core_pattern",
            "vm.swappiness",
            "kernel.domainname2",
            "fs.file-max",
            "network.x",
            "net.//.kernel.core_pattern",
            "net./.x",
            "net..x",
        ] {
            assert!(!is_own(name), "{name}");
        }
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }
}
