//! One side of the comparison: a daemon in a pen, and its own client.

use std::path::Path;
use std::time::Duration;

use coffer_test_images::{Image, Release};
use coffer_testkit::{Daemon, Done, Options, images};
use serde_json::json;

use crate::samples::Side;

/// A daemon and its client.
pub struct Contender {
    /// Which side it is.
    pub side: Side,
    /// The daemon.
    pub daemon: Daemon,
}

impl Contender {
    /// Starts Coffer.
    #[must_use]
    pub fn ours() -> Self {
        // The same view of the host as LXD gets.
        Self { side: Side::Ours, daemon: Daemon::start_with(Options::default().host_cgroups()) }
    }

    /// Starts LXD.
    ///
    /// # Errors
    /// It is not installed.
    pub fn lxd() -> Result<Self, String> {
        if !Path::new("/usr/bin/lxd").exists() {
            return Err("LXD is not installed (`cargo xtask packages bench`), and --no-lxd was not said".into());
        }
        Ok(Self { side: Side::Lxd, daemon: Daemon::start_genuine_lxd() })
    }

    /// Ends the daemon and what it runs, so that nothing of it stays on the host.
    pub fn end(&self) {
        if let Err(why) = self.daemon.api().request("PUT", "/internal/shutdown", None) {
            eprintln!("{:?}: ending the daemon: {why}", self.side);
        }
    }

    /// Makes the pools, the bridge and the busybox image.
    ///
    /// # Errors
    /// The image cannot be imported.
    pub fn set_up(&self) -> Result<(), String> {
        let api = self.daemon.api();
        api.expect("POST", "/1.0/storage-pools", Some(&json!({"name": "dir", "driver": "dir", "config": {}})));
        let plain = match self.side {
            Side::Ours => "overlay",
            Side::Lxd | Side::Runtime | Side::Crun | Side::CrunUser | Side::Lxc => "dir",
        };
        api.expect("POST", "/1.0/storage-pools", Some(&json!({"name": "host", "driver": plain, "config": {}})));
        api.expect("POST", "/1.0/storage-pools", Some(&json!({"name": "btrfs", "driver": "btrfs", "config": {"size": "12GiB"}})));
        let bridge = json!({"ipv4.address": "10.98.7.1/24", "ipv4.nat": "true", "ipv6.address": "none"});
        api.expect("POST", "/1.0/networks", Some(&json!({"name": "benchbr0", "type": "bridge", "config": bridge})));
        let devices = json!({
            "root": {"type": "disk", "path": "/", "pool": "dir"},
            "eth0": {"type": "nic", "network": "benchbr0", "name": "eth0"},
        });
        api.expect("PUT", "/1.0/profiles/default", Some(&json!({"config": {}, "description": "", "devices": devices})));
        self.import(&images::busybox(), "bb").map(drop)
    }

    /// Imports the Debian image and returns how long it took.
    ///
    /// # Errors
    /// It is not made, or cannot be imported.
    pub fn import_debian(&self) -> Result<Duration, String> {
        let image = images::debian(Release::Bookworm).ok_or("the Debian image is not made; `cargo xtask images bookworm` makes it")?;
        self.import(&image, "deb")
    }

    fn import(&self, image: &Image, alias: &str) -> Result<Duration, String> {
        let squashfs = image.squashfs.as_ref().ok_or("the image has no squashfs: mksquashfs is missing")?;
        self.cli(&["image", "import", &image.metadata.display().to_string(), &squashfs.display().to_string(), "--alias", alias])
    }

    /// Runs the contender's own client to its end and returns how long it took.
    ///
    /// # Errors
    /// It did not end well; the text says how.
    pub fn cli(&self, words: &[&str]) -> Result<Duration, String> {
        self.done(words).map(|done| done.took)
    }

    /// Runs the contender's own client to its end.
    ///
    /// # Errors
    /// It did not end well; the text says how.
    pub fn done(&self, words: &[&str]) -> Result<Done, String> {
        let done = self.daemon.client_outside(words).deadline(Duration::from_secs(300)).run();
        if done.code == 0 { Ok(done) } else { Err(done.to_string()) }
    }
}
