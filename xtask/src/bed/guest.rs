//! The guest's root file system and kernel, made of Debian packages.

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::run::{build_directory, finish, line, quiet};

/// What the guest is made of. It boots from an NVMe drive, because Debian's kernel for clouds has that and ext4 built in:
/// no initial RAM disk is needed.
const PACKAGES: &[&str] = &[
    "linux-image-cloud-amd64",
    "kmod",
    "busybox-static",
    "util-linux",
    "procps",
    "lvm2",
    "thin-provisioning-tools",
    "e2fsprogs",
    "xfsprogs",
    "btrfs-progs",
    "iproute2",
    "nftables",
    "dnsmasq-base",
    "squashfs-tools",
    "xz-utils",
    "zstd",
    "uidmap",
    "zfsutils-linux",
    "lxd-client",
    "apparmor",
    "ceph-common",
    "ceph-mon",
    "ceph-mgr",
    "ceph-osd",
    "ceph-mds",
];

/// The release whose programs this build's own programs run beside; older hosts' programs run there too.
pub const RELEASE: &str = "bookworm";

/// The keys that its packages are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the guest runs first and only.
const INIT: &str = include_str!("init.sh");

/// How large the guest's root is; the file holds only what was written.
const ROOT_SIZE: &str = "24G";

/// A guest that is ready to boot.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its root drive.
    pub root: PathBuf,
    /// Its kernel.
    pub kernel: PathBuf,
    /// The kernel's release.
    pub release: String,
}

/// Makes the guest, or takes the one that was made from the same recipe.
///
/// # Errors
/// A program that failed, in its own words above.
pub fn ensure() -> Result<Guest, String> {
    let recipe = format!("3 {RELEASE} {PACKAGES:?} {ROOT_SIZE} {INIT}");
    let home = kept("guest", &recipe)?;
    if let Ok(guest) = made(&home) {
        return Ok(guest);
    }
    println!("Making the bed's guest out of Debian packages; this takes a minute or two.");
    let work = fresh(&home.with_extension("work"))?;
    build(&work)?;
    rename(&work, &home)?;
    made(&home)
}

fn made(home: &Path) -> Result<Guest, String> {
    let release = home.join("release");
    let release = std::fs::read_to_string(&release).map_err(|error| format!("reading {}: {error}", release.display()))?;
    Ok(Guest { root: home.join("root.img"), kernel: home.join("vmlinuz"), release })
}

/// What every root made for the bed is made with: the least that the packages need, and none of what nobody reads.
pub fn bootstrap(components: &str) -> Vec<String> {
    let mut arguments = vec!["--variant=minbase".into(), format!("--components={components}"), "--dpkgopt=force-confold".into()];
    arguments.push(format!("--keyring={KEYRING}"));
    arguments.push("--aptopt=Apt::Install-Recommends \"false\"".into());
    arguments.extend(["doc", "man", "locale"].map(|unread| format!("--dpkgopt=path-exclude=/usr/share/{unread}/*")));
    arguments
}

fn build(work: &Path) -> Outcome {
    let root = work.join("root");
    let mut arguments = bootstrap("main,contrib");
    // Nobody boots from the RAM disk that the kernel's package would make.
    arguments.push("--setup-hook=mkdir -p \"$1\"/etc/initramfs-tools".into());
    arguments.push("--setup-hook=echo update_initramfs=no > \"$1\"/etc/initramfs-tools/update-initramfs.conf".into());
    arguments.push(format!("--include={}", PACKAGES.join(",")));
    arguments.extend([RELEASE.into(), root.display().to_string()]);
    nice("mmdebstrap", &arguments)?;
    let release = kernel_release(&root)?;
    nice("depmod", &["--basedir".into(), root.display().to_string(), release.clone()])?;
    let bed = root.join("bed");
    let place = |error: std::io::Error| format!("laying out the bed's guest: {error}");
    std::fs::create_dir_all(bed.join("payload")).map_err(place)?;
    std::fs::write(bed.join("init"), INIT).map_err(place)?;
    nice("chmod", &["0755".into(), bed.join("init").display().to_string()])?;
    for unread in ["var/cache/apt", "var/lib/apt/lists"] {
        std::fs::remove_dir_all(root.join(unread)).map_err(place)?;
    }
    std::fs::copy(root.join("boot").join(format!("vmlinuz-{release}")), work.join("vmlinuz")).map_err(place)?;
    drive(&root, &work.join("root.img"), ROOT_SIZE)?;
    std::fs::write(work.join("release"), &release).map_err(place)?;
    std::fs::remove_dir_all(&root).map_err(place)
}

/// Makes a drive with a file system that holds a directory's content.
///
/// # Errors
/// mke2fs failed.
pub fn drive(content: &Path, image: &Path, size: &str) -> Outcome {
    let mut arguments: Vec<String> =
        ["-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", "-d"].map(str::to_owned).into();
    arguments.extend([content.display().to_string(), image.display().to_string(), size.into()]);
    nice("mke2fs", &arguments)
}

/// The place in the build directory of what is made from a recipe.
///
/// # Errors
/// The running program does not lie in a build directory.
pub fn kept(what: &str, recipe: &str) -> Result<PathBuf, String> {
    // FNV-1a: stable over time, which std's own hasher does not promise.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = recipe.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    Ok(build_directory()?.join("bed").join(format!("{what}-{hash:016x}")))
}

/// Makes an empty directory, whatever was there.
///
/// # Errors
/// The kernel's answers, in words.
pub fn fresh(path: &Path) -> Result<PathBuf, String> {
    if path.exists() {
        std::fs::remove_dir_all(path).map_err(|error| format!("removing {}: {error}", path.display()))?;
    }
    std::fs::create_dir_all(path).map_err(|error| format!("making {}: {error}", path.display()))?;
    Ok(path.to_owned())
}

/// Gives what was made its place.
///
/// # Errors
/// The kernel's answers, in words.
pub fn rename(from: &Path, to: &Path) -> Outcome {
    std::fs::rename(from, to).map_err(|error| format!("moving {} to {}: {error}", from.display(), to.display()))
}

/// The release of the one kernel that is installed below a root.
fn kernel_release(root: &Path) -> Result<String, String> {
    let modules = std::fs::read_dir(root.join("lib/modules")).map_err(|error| format!("looking for the guest's kernel: {error}"))?;
    let first = modules.flatten().next().ok_or("the guest has no kernel")?;
    Ok(first.file_name().to_string_lossy().into_owned())
}

/// Runs a step of building with low priority, saying what is run.
///
/// # Errors
/// The program is missing or failed.
pub fn nice(program: &str, arguments: &[String]) -> Outcome {
    let mut command = quiet("nice", ["--adjustment=10", program].into_iter().map(str::to_owned).chain(arguments.iter().cloned()));
    println!("+ {}", line(&command));
    finish(program, command.status())
}
