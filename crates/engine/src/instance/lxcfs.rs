//! What `/proc` tells an instance of memory, processors and uptime: its own, where the host runs lxcfs.
//!
//! Without lxcfs they are the host's: the kernel knows no others. Programs that read `/proc/meminfo` to size themselves then
//! ask for more than their limit.

use std::os::fd::OwnedFd;

use coffer_runtime_spec as spec;
use coffer_sys::path::Root;

use crate::device::{RunConfig, add_fd};

/// Where lxcfs is mounted, by its own default.
const MOUNTED: &str = "/var/lib/lxcfs";

/// The files of lxcfs, and where each belongs.
///
/// Source: lxcfs(8).
const FILES: [&str; 8] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "sys/devices/system/cpu/online",
];

/// `f_type` of FUSE. Source: statfs(2).
const FUSE: i64 = 0x6573_5546;

/// Gives an instance that is about to start the files of lxcfs, as far as it runs and has them.
pub(super) fn mount(fds: &mut Vec<OwnedFd>, devices: &mut RunConfig) {
    let Ok(root) = Root::open(MOUNTED) else { return };
    // The package's empty directory stays where lxcfs does not run.
    if !rustix::fs::fstatfs(&root).is_ok_and(|fs| fs.f_type == FUSE) {
        return;
    }
    for file in FILES {
        // Versions differ in what they have; one that has died has nothing.
        if let Ok(opened) = root.handle(file) {
            let mount = spec::Mount::of_descriptor(add_fd(fds, opened), format!("/{file}"));
            // What this kernel does not have needs no cover.
            devices.mounts.push(spec::Mount { create: spec::CreateTarget::Never, optional: true, ..mount });
        }
    }
}
