//! ZFS modules for the guest's kernel: built by this host's own processor in a root of their own, never under emulation.

use std::path::{Path, PathBuf};

use super::guest::{Guest, RELEASE, bootstrap, fresh, kept, nice};
use crate::Outcome;

/// What building needs beside the headers of the guest's kernel.
const PACKAGES: [&str; 2] = ["build-essential", "zfs-dkms"];

/// Builds the modules, or takes those that were built for the same kernel. They lie in a directory that
/// `modprobe --dirname` takes.
///
/// # Errors
/// A program that failed, in its own words above.
pub fn ensure(guest: &Guest) -> Result<PathBuf, String> {
    let home = kept("zfs", &format!("1 {RELEASE} {} {PACKAGES:?}", guest.release))?;
    if !home.exists() {
        println!("Building the ZFS modules for the bed's kernel; this takes some minutes.");
        let work = fresh(&home.with_extension("work"))?;
        build(&guest.release, &work)?;
        super::guest::rename(&work.join("modules"), &home)?;
        std::fs::remove_dir_all(&work).map_err(|error| format!("removing {}: {error}", work.display()))?;
    }
    Ok(home)
}

fn build(release: &str, work: &Path) -> Outcome {
    let root = work.join("root");
    let mut arguments = bootstrap("main,contrib");
    arguments.push(format!("--include=linux-headers-{release},{}", PACKAGES.join(",")));
    // The package builds for the kernel that runs, which is the host's: the guest's has to be named.
    arguments.push(format!("--customize-hook=chroot \"$1\" dkms autoinstall -k {release}"));
    arguments.extend([RELEASE.into(), root.display().to_string()]);
    nice("mmdebstrap", &arguments)?;
    let built = Path::new("lib/modules").join(release).join("updates");
    let modules = work.join("modules");
    let target = modules.join(&built);
    let words = [root.join(&built), target.clone()].map(|path| path.display().to_string());
    std::fs::create_dir_all(target.parent().unwrap_or(&target)).map_err(|error| format!("making {}: {error}", target.display()))?;
    nice("cp", &["--recursive".into(), words[0].clone(), words[1].clone()])?;
    nice("depmod", &["--basedir".into(), modules.display().to_string(), release.into()])?;
    std::fs::remove_dir_all(&root).map_err(|error| format!("removing {}: {error}", root.display()))
}
