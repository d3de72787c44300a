//! A pool in a Ceph cluster, and Ceph's programs to work on it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use coffer_base::Bytes;
use coffer_base::run::{Output, Program, RunError};
use coffer_model::Config;

use super::report::{self, Image};
use crate::mounted::Fault;

/// How long one of Ceph's programs may take: the flattening of a large image is the longest.
const DEADLINE: Duration = Duration::from_secs(1800);

/// How long a cluster may take to answer at all, in seconds.
const PATIENCE: &str = "20";

/// How long a cluster is believed to be there after it answered: asking takes one of its programs, which need up to a second to
/// connect, and every use of a pool asks.
const BELIEVED: Duration = Duration::from_secs(30);

/// The features of an image that the kernel's driver knows.
///
/// Source: rbd(8), `--image-feature`; Linux 5.3 knows all of these.
pub(crate) const FEATURES: [&str; 5] = ["layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"];

/// Where the kernel lists the images that are devices.
///
/// Source: Linux, Documentation/ABI/testing/sysfs-bus-rbd.
const DEVICES: &str = "/sys/bus/rbd/devices";

/// Where it is told to unmap one: the first of these that is there.
const UNMAP: [&str; 2] = ["/sys/bus/rbd/remove_single_major", "/sys/bus/rbd/remove"];

/// An OSD pool of a cluster, and who we are there.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) user: String,
    pub(super) pool: String,
    /// The pool that holds the data, where that is another one: an erasure-coded pool.
    data_pool: Option<String>,
    /// What images can do; the kernel's driver does not know all of it.
    features: String,
    /// The cluster's identity, once it was needed.
    id: OnceLock<String>,
    /// When one of its programs last succeeded.
    answered: Mutex<Option<Instant>>,
}

impl Cluster {
    /// Reads the keys of a storage pool.
    pub(super) fn of(config: &Config, pool: &str) -> Self {
        let key = |name: &str, default: &str| config.get(name).unwrap_or(default).to_owned();
        Self {
            name: key("ceph.cluster_name", "ceph"),
            user: key("ceph.user.name", "admin"),
            pool: pool.to_owned(),
            data_pool: config.get("ceph.osd.data_pool_name").map(str::to_owned),
            features: key("ceph.rbd.features", "layering"),
            id: OnceLock::new(),
            answered: Mutex::default(),
        }
    }

    /// Makes the OSD pool.
    pub(super) fn create(&self, groups: u32, copies: Option<u32>) -> Result<(), Fault> {
        let groups = groups.to_string();
        let copies = copies.map(|copies| copies.to_string());
        let size = copies.iter().flat_map(|copies| ["--size", copies]);
        self.ceph(["osd", "pool", "create", &self.pool, &groups, &groups, "replicated"].into_iter().chain(size))?;
        self.rbd(["pool", "init", &self.pool]).map(drop)
    }

    /// Removes the OSD pool with all that is in it.
    pub(super) fn destroy(&self) -> Result<(), Fault> {
        self.ceph(["osd", "pool", "delete", &self.pool, &self.pool, "--yes-i-really-really-mean-it"]).map(drop)
    }

    /// Bytes in use and free.
    pub(super) fn room(&self) -> Result<(u64, u64), Fault> {
        let output = self.ceph(["df", "--format", "json"])?;
        let pool = self.data_pool.as_deref().unwrap_or(&self.pool);
        if let Some(room) = report::room(&output.stdout, pool) {
            return Ok(room);
        }
        // One that was made just now is in no report yet; one that is gone is told from it by its name.
        self.ceph(["osd", "pool", "get", pool, "size"])?;
        report::free(&output.stdout).map(|free| (0, free)).ok_or_else(|| not_understood("ceph df"))
    }

    /// Every image of the pool.
    ///
    /// # Errors
    /// [`Fault::Missing`] if the cluster has no such pool.
    pub(super) fn images(&self) -> Result<BTreeMap<String, Image>, Fault> {
        let output = self.rbd(["ls", "--long", "--format", "json"])?;
        report::images(&output.stdout).ok_or_else(|| not_understood("rbd ls"))
    }

    /// Makes an empty image.
    pub(super) fn create_image(&self, name: &str, size: Bytes) -> Result<(), Fault> {
        let size = format!("{}B", size.0);
        let words = ["create", "--no-progress", "--image-feature", &self.features, "--size", &size];
        self.rbd(words.into_iter().chain(self.data()).chain([name])).map(drop)
    }

    /// Makes an image that begins with the content of another one's kept state.
    pub(super) fn clone_image(&self, image: &str, state: &str, to: &str) -> Result<(), Fault> {
        let words = ["clone", "--image-feature", &self.features];
        let from = format!("{}/{image}@{state}", self.pool);
        let to = format!("{}/{to}", self.pool);
        self.rbd(words.into_iter().chain(self.data()).chain([from.as_str(), &to])).map(drop)
    }

    /// Gives a clone all data that it shares, so that it has no parent any more.
    pub(super) fn flatten(&self, image: &str) -> Result<(), Fault> {
        self.rbd(["flatten", "--no-progress", image]).map(drop)
    }

    /// Keeps the present state of an image, protected so that it can be cloned.
    pub(super) fn keep(&self, image: &str, state: &str) -> Result<(), Fault> {
        let name = format!("{image}@{state}");
        self.rbd(["snap", "create", "--no-progress", &name])?;
        self.rbd(["snap", "protect", &name]).map(drop)
    }

    /// Gives up a state that nothing was cloned from.
    pub(super) fn give_up(&self, image: &str, state: &str) -> Result<(), Fault> {
        let name = format!("{image}@{state}");
        match self.rbd(["snap", "unprotect", &name]) {
            // A kill may have come between keeping and protecting it.
            Err(Fault::Tool(RunError::Failed { stderr, .. })) if stderr.contains("already unprotected") => {}
            other => drop(other?),
        }
        self.rbd(["snap", "rm", "--no-progress", &name]).map(drop)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let [from, to] = [from, to].map(|name| format!("{}/{name}", self.pool));
        self.rbd(["rename", &from, &to]).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Fault> {
        self.rbd(["rm", "--no-progress", name]).map(drop)
    }

    pub(super) fn resize(&self, name: &str, size: Bytes) -> Result<(), Fault> {
        self.rbd(["resize", "--no-progress", "--allow-shrink", "--size", &format!("{}B", size.0), name]).map(drop)
    }

    /// Makes an image visible as a device, unless it is.
    pub(super) fn map(&self, name: &str) -> Result<PathBuf, Fault> {
        if let Some(device) = self.device_of(name)? {
            return Ok(device);
        }
        let output = self.rbd(["device", "map"].into_iter().chain(no_udev()).chain([name]))?;
        let device = output.stdout.lines().map(str::trim).find(|line| line.starts_with("/dev/")).map(PathBuf::from);
        let device = device.ok_or_else(|| not_understood("rbd device map"))?;
        let number = device.to_string_lossy().trim_start_matches("/dev/rbd").to_owned();
        if let Ok(id) = std::fs::read_to_string(Path::new(DEVICES).join(number).join("cluster_fsid")) {
            // Looking for it later then needs no program.
            let _ = self.id.set(id.trim().to_owned());
        }
        Ok(device)
    }

    /// Ends that, if it is. Starts no program: the kernel is told by itself which device is not needed any more.
    pub(super) fn unmap(&self, name: &str) -> Result<(), Fault> {
        let Some(device) = self.device_of(name)? else { return Ok(()) };
        let number = device.to_string_lossy().trim_start_matches("/dev/rbd").to_owned();
        let removed = UNMAP.into_iter().find(|file| Path::new(file).exists()).map(|file| std::fs::write(file, &number));
        match removed {
            Some(Err(error)) if error.kind() == ErrorKind::ResourceBusy => Err(Fault::Busy("some program uses its device".into())),
            // It went meanwhile.
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
            Some(removed) => Ok(removed?),
            None => Err(Fault::Missing),
        }
    }

    /// Where an image is as a device. While none of that name is there, no program is started.
    fn device_of(&self, name: &str) -> Result<Option<PathBuf>, Fault> {
        let Ok(devices) = std::fs::read_dir(DEVICES) else { return Ok(None) };
        for device in devices.flatten().map(|entry| entry.path()) {
            let read = |file: &str| std::fs::read_to_string(device.join(file)).unwrap_or_default().trim().to_owned();
            if read("pool") == self.pool && read("name") == name && read("current_snap") == "-" && read("cluster_fsid") == self.id()? {
                let number = device.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                return Ok(Some(Path::new("/dev").join(format!("rbd{number}"))));
            }
        }
        Ok(None)
    }

    /// The cluster's identity: another one may have an OSD pool of the same name.
    fn id(&self) -> Result<&str, Fault> {
        if let Some(id) = self.id.get() {
            return Ok(id);
        }
        let id = self.ceph(["fsid"])?.stdout.trim().to_owned();
        Ok(self.id.get_or_init(|| id))
    }

    fn data(&self) -> impl Iterator<Item = &str> {
        self.data_pool.iter().flat_map(|pool| ["--data-pool", pool])
    }

    fn rbd<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Output, Fault> {
        let who = ["--cluster", &self.name, "--id", &self.user, "--pool", &self.pool, "--client-mount-timeout", PATIENCE];
        self.note(Program::new("rbd").args(who).args(words).deadline(DEADLINE).run().map_err(explain))
    }

    fn ceph<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Output, Fault> {
        self.note(ask(&self.name, &self.user, words))
    }

    /// Says whether the cluster has answered a moment ago, and nothing has failed since.
    pub(super) fn answered_lately(&self) -> bool {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|answered| answered.elapsed() < BELIEVED)
    }

    /// Remembers whether the cluster answered. A failure, of whatever kind, means that it is asked next time.
    fn note(&self, answer: Result<Output, Fault>) -> Result<Output, Fault> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = answer.is_ok().then(Instant::now);
        answer
    }
}

/// Asks a cluster something, or tells it to do something.
pub(crate) fn ask<'a>(cluster: &str, user: &str, words: impl IntoIterator<Item = &'a str>) -> Result<Output, Fault> {
    let who = ["--cluster", cluster, "--id", user, "--connect-timeout", PATIENCE];
    Program::new("ceph").args(who).args(words).deadline(DEADLINE).run().map_err(explain)
}

/// Who waits for udev where there is none waits for ever.
fn no_udev<'a>() -> impl Iterator<Item = &'a str> {
    let words: &[&str] = if Path::new("/run/udev/control").exists() { &[] } else { &["--options", "noudev"] };
    words.iter().copied()
}

fn not_understood(program: &str) -> Fault {
    Fault::Refused(format!("what {program} answered is not understood"))
}

/// Tells from what a program said what it means.
pub(crate) fn explain(error: RunError) -> Fault {
    let RunError::Failed { stderr, .. } = &error else { return Fault::Tool(error) };
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if says(&["conf_read_file", "error connecting", "couldn't connect", "find a keyring"]) {
        // That the cluster cannot be reached says nothing about what is in it.
        Fault::Tool(error)
    } else if says(&["No such file or directory", "ENOENT"]) {
        Fault::Missing
    } else if says(&["Device or resource busy", "EBUSY", "has watchers"]) {
        Fault::Busy("some program or host uses it".into())
    } else if says(&["No space left", "ENOSPC"]) {
        Fault::Kernel(std::io::Error::new(ErrorKind::StorageFull, error))
    } else {
        Fault::Tool(error)
    }
}
