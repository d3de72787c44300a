//! The true images: Debian with systemd, made by mmdebstrap from the distribution's mirrors.

use std::fs;
use std::path::Path;

use crate::cache::write_metadata;
use crate::tool::{ImageError, at, run};

/// A release of Debian that tests boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 12; systemd 252, which takes cgroup v1, hybrid and v2.
    Bookworm,
    /// Debian 13; systemd 257, which takes cgroup v1 only when forced.
    Trixie,
}

impl Release {
    /// Every release, oldest first.
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    /// The release's code name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// The release's number.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Bookworm => "12",
            Self::Trixie => "13",
        }
    }
}

/// What boots and finds its address.
pub const PACKAGES: &str = "systemd,systemd-sysv,systemd-resolved,libnss-resolve,dbus,udev,iproute2,iputils-ping";

/// DHCP on the first interfaces, sending the host name so that neighbours find us.
const NETWORK: &str = "[Match]\nName=eth*\n\n[Network]\nDHCP=yes\nLinkLocalAddressing=ipv6\n\n[DHCPv4]\nUseDomains=yes\nSendHostname=yes\n";

/// Everything that the image depends on, as text.
pub fn recipe(release: Release) -> String {
    format!("2 {} {PACKAGES} {NETWORK}", release.name())
}

/// Makes `work/image`.
pub fn make(work: &Path, release: Release) -> Result<(), ImageError> {
    let image = work.join("image");
    install(&image, release, PACKAGES)?;
    write_metadata(&image, "Debian", release.name(), release.version())
}

/// Makes the root file system of an image with these packages and a few things that make it an image.
pub fn install(image: &Path, release: Release, packages: &str) -> Result<(), ImageError> {
    let root = image.join("rootfs");
    at("creating", image, fs::create_dir_all(image))?;
    let include = format!("--include={packages}");
    let keyring = "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg";
    // Documentation and translations are half of the files and none of the behaviour.
    let lean = [
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
    ];
    let mut args = vec!["--variant=minbase", "--mode=root", "--format=directory", "--aptopt=Acquire::Retries \"3\"", keyring, &include];
    args.extend(lean);
    let target = root.display().to_string();
    args.extend([release.name(), &target, "http://deb.debian.org/debian"]);
    run("mmdebstrap", args)?;
    at("preparing", &root, prepare(&root))
}

/// Takes out what must differ from one instance to the next, and sets the network up.
fn prepare(root: &Path) -> std::io::Result<()> {
    for name in ["etc/hostname", "etc/resolv.conf"] {
        match fs::remove_file(root.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    fs::write(root.join("etc/machine-id"), "")?;
    fs::write(root.join("etc/systemd/network/10-eth.network"), NETWORK)?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    let shadow = root.join("etc/shadow");
    let text = fs::read_to_string(&shadow)?;
    fs::write(&shadow, text.replacen("root:*:", "root::", 1))?;
    std::os::unix::fs::symlink("/run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf"))?;
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    for unit in ["systemd-networkd.service", "systemd-resolved.service"] {
        match std::os::unix::fs::symlink(format!("/lib/systemd/system/{unit}"), wants.join(unit)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    Ok(())
}
