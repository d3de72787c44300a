//! What pools are made on: file systems in files, mounted in this process's own namespace.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use coffer_model::Config;
use coffer_storage::{DriverKind, PoolSpec};
use coffer_sys::loop_device::LoopDevice;
use rustix::mount::{MountFlags, UnmountFlags};

/// A kind of ground.
pub struct Maker {
    pub name: &'static str,
    pub make: fn() -> Result<Ground, String>,
}

/// Every kind of ground.
pub const ALL: &[Maker] = &[
    Maker { name: "dir_on_host", make: || Ok(Ground::new(DriverKind::Dir)) },
    Maker { name: "dir_on_tmpfs", make: || Ok(Ground::new(DriverKind::Dir).mount("tmpfs", Path::new("tmpfs"), "state", "")) },
    Maker { name: "dir_on_ext4", make: || dir_on("ext4", &["-q"]) },
    Maker { name: "dir_on_xfs", make: || dir_on("xfs", &["-q"]) },
    Maker { name: "dir_on_ext4_with_quotas", make: || with_quotas(Ground::new(DriverKind::Dir), "ext4", EXT4_QUOTAS) },
    Maker { name: "dir_on_btrfs", make: || dir_on("btrfs", &["-q"]) },
    Maker { name: "overlay_on_host", make: || overlay(Ok) },
    Maker { name: "overlay_on_tmpfs", make: || overlay(|ground| Ok(ground.mount("tmpfs", Path::new("tmpfs"), "state", ""))) },
    Maker { name: "overlay_on_ext4", make: || overlay(|ground| Ok(ground.file_system("ext4", &["-q"], "host")?.directory("host/pool"))) },
    Maker { name: "overlay_on_xfs", make: || overlay(|ground| Ok(ground.file_system("xfs", &["-q"], "host")?.directory("host/pool"))) },
    Maker { name: "overlay_on_ext4_with_quotas", make: || overlay(|ground| with_quotas(ground, "ext4", EXT4_QUOTAS)) },
    Maker { name: "overlay_on_xfs_with_quotas", make: || overlay(|ground| with_quotas(ground, "xfs", &["-q"])) },
    Maker { name: "btrfs_in_file", make: || btrfs(|ground| Ok(ground.with("size", "1GiB"))) },
    Maker { name: "btrfs_on_device", make: || btrfs(Ground::device) },
    Maker { name: "btrfs_in_directory", make: || btrfs(|ground| Ok(ground.file_system("btrfs", &["-q"], "host")?.directory("host/pool"))) },
    Maker {
        name: "btrfs_in_new_subvolume",
        make: || btrfs(|ground| Ok(ground.file_system("btrfs", &["-q"], "host")?.source("host/pool"))),
    },
    Maker {
        name: "btrfs_in_place",
        make: || btrfs(|ground| Ok(ground.file_system("btrfs", &["-q"], "state")?.source("state/storage-pools/pool"))),
    },
    Maker { name: "lvm_thin_in_file", make: || lvm(|ground| Ok(ground.with("size", "3GiB").with("volume.size", "192MiB"))) },
    Maker {
        name: "lvm_thick_in_file",
        make: || lvm(|ground| Ok(ground.with("size", "5GiB").with("volume.size", "192MiB").with("lvm.use_thinpool", "false"))),
    },
    Maker {
        name: "lvm_thin_on_device_with_xfs",
        make: || lvm(|ground| Ok(ground.device()?.with("volume.size", "320MiB").with("volume.block.filesystem", "xfs"))),
    },
    Maker {
        name: "lvm_thin_in_file_with_btrfs",
        make: || lvm(|ground| Ok(ground.with("size", "3GiB").with("volume.size", "256MiB").with("volume.block.filesystem", "btrfs"))),
    },
    Maker { name: "zfs_in_file", make: || zfs(|ground| Ok(ground.with("size", "2GiB"))) },
    Maker { name: "zfs_on_device_with_refquota", make: || zfs(|ground| Ok(ground.device()?.with("volume.zfs.use_refquota", "true"))) },
    Maker { name: "zfs_in_new_dataset", make: || zfs(|ground| Ok(ground.zpool()?.dataset("new", false))) },
    Maker {
        name: "zfs_in_empty_dataset_with_full_copies",
        make: || zfs(|ground| Ok(ground.zpool()?.dataset("there", true).with("zfs.clone_copy", "false"))),
    },
    Maker { name: "ceph_in_new_pool", make: || ceph(|ground| ground.with("volume.size", "192MiB").with("ceph.osd.pg_num", "8")) },
    Maker {
        name: "ceph_in_empty_pool_with_btrfs",
        make: || ceph(|ground| ground.osd_pool().with("volume.size", "256MiB").with("volume.block.filesystem", "btrfs")),
    },
    Maker {
        name: "ceph_in_empty_pool_with_xfs",
        make: || ceph(|ground| ground.osd_pool().with("volume.size", "320MiB").with("volume.block.filesystem", "xfs")),
    },
    Maker { name: "cephfs_in_new_directory", make: || cluster(DriverKind::Cephfs, |ground| ground) },
    Maker {
        name: "ceph_in_empty_pool_with_full_copies",
        make: || {
            ceph(|ground| {
                let features = "layering,exclusive-lock,object-map,fast-diff";
                let ground = ground.osd_pool().with("volume.size", "192MiB").with("ceph.osd.data_pool_name", "bulk");
                ground.with("ceph.rbd.clone_copy", "false").with("ceph.rbd.features", features)
            })
        },
    },
];

/// What makes an ext4 that can count projects.
const EXT4_QUOTAS: &[&str] = &["-q", "-O", "quota,project", "-E", "quotatype=prjquota"];

/// Something to make a pool on, which goes when this value does.
pub struct Ground {
    pub driver: DriverKind,
    pub config: Config,
    mounts: Vec<PathBuf>,
    device: Option<LoopDevice>,
    zpool: Option<String>,
    directory: tempfile::TempDir,
}

fn dir_on(kind: &str, options: &[&str]) -> Result<Ground, String> {
    Ok(Ground::new(DriverKind::Dir).file_system(kind, options, "host")?.directory("host/pool"))
}

/// A directory of a file system that enforces project quotas, where the kernel has what that takes.
fn with_quotas(ground: Ground, kind: &str, options: &[&str]) -> Result<Ground, String> {
    let ground = ground.file_system_with(kind, options, "host", "prjquota")?.directory("host/pool");
    match coffer_sys::quota::support(open_directory(&ground.path("host")).as_fd()) {
        Ok(coffer_sys::quota::Support::Enabled) => Ok(ground),
        other => Err(format!("no project quotas on {kind} with this kernel: {other:?}")),
    }
}

fn btrfs(make: fn(Ground) -> Result<Ground, String>) -> Result<Ground, String> {
    if DriverKind::Btrfs.available() { make(Ground::new(DriverKind::Btrfs)) } else { Err("no btrfs on this host".into()) }
}

fn overlay(make: fn(Ground) -> Result<Ground, String>) -> Result<Ground, String> {
    if DriverKind::Overlay.available() {
        make(Ground::new(DriverKind::Overlay))
    } else {
        Err("no overlayfs with mapped layers on this host".into())
    }
}

fn lvm(make: fn(Ground) -> Result<Ground, String>) -> Result<Ground, String> {
    if !DriverKind::Lvm.available() {
        return Err("no LVM on this host".into());
    }
    make(Ground::new(DriverKind::Lvm))
}

fn zfs(make: fn(Ground) -> Result<Ground, String>) -> Result<Ground, String> {
    if DriverKind::Zfs.available() { make(Ground::new(DriverKind::Zfs)) } else { Err("no ZFS on this host".into()) }
}

fn ceph(make: fn(Ground) -> Ground) -> Result<Ground, String> {
    cluster(DriverKind::Ceph, make)
}

fn cluster(driver: DriverKind, make: fn(Ground) -> Ground) -> Result<Ground, String> {
    if has_cluster() { Ok(make(Ground::new(driver))) } else { Err("no Ceph cluster for tests".into()) }
}

/// Says whether the bed's cluster is there, with the OSD pool that tests may use: having Ceph's programs is not having one.
pub fn has_cluster() -> bool {
    let ask = || Command::new("rbd").args(["--client-mount-timeout", "5", "ls", "warm"]).output();
    DriverKind::Ceph.available() && ask().is_ok_and(|answer| answer.status.success())
}

impl Ground {
    pub fn new(driver: DriverKind) -> Self {
        let directory = tempfile::Builder::new().prefix(&prefix()).tempdir().unwrap();
        std::fs::create_dir(directory.path().join("state")).unwrap();
        let mut config = Config::default();
        // Groups and ZFS pools are seen by the whole host, unlike what is mounted in this namespace.
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        match driver {
            DriverKind::Lvm => config.set("lvm.vg_name", name),
            DriverKind::Zfs => config.set("zfs.pool_name", name),
            DriverKind::Ceph => config.set("ceph.osd.pool_name", name),
            DriverKind::Cephfs => config.set("source", format!("files/{name}")),
            DriverKind::Dir | DriverKind::Overlay | DriverKind::Btrfs => {}
        }
        Self { driver, config, mounts: Vec::new(), device: None, zpool: None, directory }
    }

    /// Makes a ZFS pool of somebody else's.
    pub fn zpool(mut self) -> Result<Self, String> {
        // The product loads the module when it makes a pool of its own.
        let loaded = Command::new("modprobe").arg("zfs").status().map_err(|error| format!("modprobe: {error}"))?;
        assert!(loaded.success());
        let file = self.path("zpool.img");
        File::create(&file).unwrap().set_len(2 << 30).unwrap();
        let name = format!("{}-host", self.directory.path().file_name().unwrap().to_str().unwrap());
        let words = ["create", "-o", "cachefile=none", "-m", "none", "-O", "compression=on", &name];
        let made = Command::new("zpool").args(words).arg(&file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.zpool = Some(name);
        Ok(self)
    }

    /// Takes a dataset of that pool as the source, which may be there.
    pub fn dataset(mut self, name: &str, make: bool) -> Self {
        let name = format!("{}/{name}", self.zpool.as_deref().unwrap());
        if make {
            assert!(Command::new("zfs").args(["create", &name]).status().unwrap().success());
        }
        self.config.unset("zfs.pool_name");
        self.with("source", &name)
    }

    /// Takes the OSD pool that is there in the bed's cluster.
    fn osd_pool(mut self) -> Self {
        self.config.unset("ceph.osd.pool_name");
        self.with("source", "warm")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.config.set(key, value);
        self
    }

    pub fn source(self, name: &str) -> Self {
        let path = self.path(name);
        self.with("source", path.to_str().unwrap())
    }

    pub fn directory(self, name: &str) -> Self {
        std::fs::create_dir(self.path(name)).unwrap();
        self.source(name)
    }

    pub fn spec(&self, name: &str) -> PoolSpec {
        PoolSpec { name: name.parse().unwrap(), driver: self.driver, config: self.config.clone(), state_dir: self.path("state") }
    }

    /// Makes a file system in a file and mounts it.
    pub fn file_system(self, kind: &str, options: &[&str], name: &str) -> Result<Self, String> {
        self.file_system_with(kind, options, name, "")
    }

    /// The same with options of the mount; a kernel that lacks what they ask for is the reason why this ground cannot be.
    fn file_system_with(self, kind: &str, options: &[&str], name: &str, data: &str) -> Result<Self, String> {
        let file = self.path(&format!("{name}.img"));
        File::create(&file).unwrap().set_len(1 << 30).unwrap();
        let made =
            Command::new(format!("mkfs.{kind}")).args(options).arg(&file).output().map_err(|error| format!("mkfs.{kind}: {error}"))?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let device = LoopDevice::attach(open(&file).as_fd()).map_err(|error| format!("loop device: {error}"))?;
        let target = self.path(name);
        match self.try_mount(kind, &device.path(), name, data) {
            Ok(ground) => Ok(ground),
            Err(errno) if data.is_empty() => panic!("mounting {kind} at {}: {errno}", target.display()),
            Err(errno) => {
                let _ = device.detach();
                Err(format!("this kernel does not mount {kind} with {data}: {errno}"))
            }
        }
    }

    pub fn mount(self, kind: &str, device: &Path, name: &str, data: &str) -> Self {
        self.try_mount(kind, device, name, data).unwrap()
    }

    fn try_mount(mut self, kind: &str, device: &Path, name: &str, data: &str) -> Result<Self, rustix::io::Errno> {
        let target = self.path(name);
        std::fs::create_dir_all(&target).unwrap();
        let data = std::ffi::CString::new(data).unwrap();
        rustix::mount::mount(device, &target, kind, MountFlags::empty(), Some(data.as_c_str()))?;
        self.mounts.push(target);
        Ok(self)
    }

    /// Takes a block device as the source.
    pub fn device(mut self) -> Result<Self, String> {
        let file = self.path("device.img");
        File::create(&file).unwrap().set_len(3 << 30).unwrap();
        let device = LoopDevice::attach(open(&file).as_fd()).map_err(|error| format!("loop device: {error}"))?;
        self.config.set("source", device.path().to_str().unwrap());
        self.device = Some(device);
        Ok(self)
    }

    /// After a pool was deleted its ground must be as it was.
    pub fn check_untouched(&self) {
        if let Some(device) = &self.device {
            let opened = open(&device.path());
            assert_eq!(coffer_sys::btrfs::superblock_id(opened.as_fd()).unwrap(), None, "the device still holds a file system");
            let mut label = [0; 8];
            std::os::unix::fs::FileExt::read_exact_at(&opened, &mut label, 512).unwrap();
            assert_ne!(&label, b"LABELONE", "the device is still a physical volume");
        }
        if let Some(pool) = &self.zpool {
            let listed = Command::new("zfs").args(["list", "-H", "-r", "-t", "all", "-o", "name,coffer:pool", pool]).output().unwrap();
            let there = self.config.get("source").unwrap().ends_with("/there");
            let expect = if there { format!("{pool}\t-\n{pool}/there\t-\n") } else { format!("{pool}\t-\n") };
            assert_eq!(String::from_utf8_lossy(&listed.stdout), expect);
        }
        if self.driver == DriverKind::Ceph {
            let there = self.config.get("source") == Some("warm");
            let pool = self.config.get("ceph.osd.pool_name").unwrap_or("warm");
            let listed = Command::new("rbd").args(["ls", pool]).output().unwrap();
            assert_eq!((String::from_utf8_lossy(&listed.stdout).as_ref(), listed.status.success()), ("", there));
        }
        let source = self.path("host/pool");
        if self.mounts.contains(&self.path("host")) {
            let made_by_us = self.config.get("source").is_some() && !source.exists();
            assert!(made_by_us || std::fs::read_dir(source).unwrap().next().is_none());
        }
        let disks = self.path("state/disks");
        assert!(!disks.exists() || std::fs::read_dir(disks).unwrap().next().is_none());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let pools = self.path("state/storage-pools");
        for pool in std::fs::read_dir(pools).into_iter().flatten().flatten() {
            // Only there if a case failed.
            let _ = rustix::mount::unmount(pool.path(), UnmountFlags::DETACH);
        }
        for mount in self.mounts.iter().rev() {
            rustix::mount::unmount(mount, UnmountFlags::DETACH).unwrap();
        }
        if let Some(pool) = self.zpool.take() {
            assert!(Command::new("zpool").args(["destroy", "-f", &pool]).status().unwrap().success());
        }
        if let Some(device) = self.device.take() {
            let _ = device.detach();
        }
    }
}

/// What the kernel holds for others to see: loop devices that are attached to files of these tests, and mounts.
pub struct Leaks {
    loops: usize,
    mounts: Vec<String>,
}

impl Leaks {
    pub fn now() -> Self {
        Self { loops: loops().len(), mounts: mounts() }
    }

    #[track_caller]
    pub fn check(&self) {
        let left: Vec<_> = mounts().into_iter().filter(|mount| !self.mounts.contains(mount)).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        assert_eq!(loops().len(), self.loops, "loop devices are left: {:?}", loops());
    }
}

/// All mounts. Those that were there when this namespace was made may go at any time: the kernel takes them away when
/// somebody elsewhere removes the directory below.
fn mounts() -> Vec<String> {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned).collect()
}

fn loops() -> Vec<String> {
    let attached = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("loop/backing_file")).ok();
    let files = std::fs::read_dir("/sys/block").unwrap().flatten().filter_map(attached);
    files.filter(|file| file.contains(&prefix())).collect()
}

/// What the names of this run's directories begin with: others may run beside it.
fn prefix() -> String {
    format!("coffer-storage-{}-", std::process::id())
}

fn open_directory(path: &Path) -> File {
    File::open(path).unwrap()
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}
