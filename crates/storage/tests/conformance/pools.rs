//! Making pools: what is refused, what is filled in, what failing leaves.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use coffer_base::{Bytes, Progress, chain};
use coffer_model::Config;
use coffer_storage::{Class, DriverKind, Found, config, create_pool, open_pool};

use crate::cases::instance;
use crate::ground::Ground;
use crate::sample::path_of;

/// The rules, by name.
pub const ALL: &[(&str, fn())] = &[
    ("pools::unfit_sources_are_refused", unfit_sources_are_refused),
    ("pools::what_is_left_open_is_filled_in", what_is_left_open_is_filled_in),
    ("pools::a_used_device_is_wiped_only_when_told", a_used_device_is_wiped_only_when_told),
    ("pools::a_pool_in_a_file_grows", a_pool_in_a_file_grows),
    ("pools::a_failed_creation_leaves_nothing", a_failed_creation_leaves_nothing),
    ("pools::mount_options_take_effect", mount_options_take_effect),
    ("pools::layers_take_no_marks_of_layers", layers_take_no_marks_of_layers),
    ("pools::a_full_pool_loses_nothing", a_full_pool_loses_nothing),
];

#[track_caller]
fn refused(ground: &Ground, keys: &[(&str, &str)], expect: &str) {
    let mut spec = ground.spec("pool");
    spec.config.merge(&keys.iter().copied().collect());
    let error = create_pool(&mut spec, &|warning| panic!("{warning}")).err().expect("it should be refused");
    assert!(chain(&error).contains(expect), "{}", chain(&error));
    assert!(!ground.path("state/storage-pools/pool").exists() && !ground.path("state/disks/pool.img").exists());
}

fn unfit_sources_are_refused() {
    for driver in DriverKind::ALL.into_iter().filter(|driver| driver.available()) {
        let mut ground = Ground::new(driver);
        let inside = ground.path("state/inside");
        fs::create_dir_all(&inside).unwrap();
        if driver == DriverKind::Ceph {
            refused(&ground, &[("source", "other")], "ceph.osd.pool_name names another OSD pool");
            ground.config.unset("ceph.osd.pool_name");
        }
        let state = match driver {
            DriverKind::Lvm | DriverKind::Zfs => "it is no block device",
            DriverKind::Ceph => "it is no name of an OSD pool",
            DriverKind::Cephfs => "is no directory of a file system of the cluster",
            DriverKind::Dir | DriverKind::Overlay | DriverKind::Btrfs => "inside the server's state directory",
        };
        refused(&ground, &[("source", inside.to_str().unwrap())], state);
        fs::create_dir(ground.path("full")).unwrap();
        fs::write(ground.path("full/file"), "").unwrap();
        let full = match driver {
            DriverKind::Dir | DriverKind::Overlay => "it is not empty",
            DriverKind::Btrfs => "it is not on a btrfs",
            DriverKind::Lvm | DriverKind::Zfs => "it is no block device",
            DriverKind::Ceph => "it is no name of an OSD pool",
            DriverKind::Cephfs => "is no directory of a file system of the cluster",
        };
        refused(&ground, &[("source", ground.path("full").to_str().unwrap())], full);
        refused(&ground, &[("source", ground.path("no/where").to_str().unwrap())], "source");
        refused(&ground, &[("no.such_key", "x")], "unknown storage pool configuration key \"no.such_key\"");
    }
    let ground = Ground::new(DriverKind::Dir);
    let open = ground.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&ground, &[("source", open.to_str().unwrap())], "it can be changed by others than root");
    refused(&ground, &[("size", "1GiB")], "unknown storage pool configuration key \"size\"");
    let ground = Ground::new(DriverKind::Btrfs);
    fs::write(ground.path("file"), "").unwrap();
    refused(&ground, &[("source", ground.path("file").to_str().unwrap())], "it is neither a block device nor a directory");
    refused(&ground, &[("source", "/dev/null")], "it is neither a block device nor a directory");
    refused(&ground, &[("size", "10MiB")], "a btrfs file system needs at least 128.00MiB");
    refused(&ground, &[("btrfs.mount_options", "bind")], "mount option \"bind\" is not allowed");
}

fn what_is_left_open_is_filled_in() {
    let ground = Ground::new(DriverKind::Dir);
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|_| ()).unwrap();
    let place = ground.path("state/storage-pools/pool");
    assert_eq!(spec.config, [("source", place.to_str().unwrap())].into_iter().collect::<Config>());
    let error = create_pool(&mut ground.spec("pool"), &|_| ()).err().expect("it exists");
    assert_eq!(error.class(), Class::Exists);
    pool.delete().unwrap();
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    let ground = Ground::new(DriverKind::Btrfs);
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|_| ()).unwrap();
    let size: Bytes = spec.config.parse("size").unwrap();
    assert!((5 << 30..=30 << 30).contains(&size.0) && size.0.is_multiple_of(1 << 30), "{size}");
    assert_eq!(spec.config.get("source"), ground.path("state/disks/pool.img").to_str());
    assert_eq!(spec.config.get("volatile.initial_source"), None);
    let mode = |path: &str| fs::metadata(ground.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state/disks"), mode("state/disks/pool.img")), (0o700, 0o600));
    pool.delete().unwrap();

    let ground = Ground::new(DriverKind::Btrfs).device().unwrap();
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|_| ()).unwrap();
    assert_eq!(spec.config.get("source").unwrap().len(), 36);
    assert_eq!(spec.config.get("volatile.initial_source"), ground.config.get("source"));
    pool.unmount().unwrap();
    open_pool(&spec).unwrap();
    pool.delete().unwrap();
}

fn a_used_device_is_wiped_only_when_told() {
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    let ground = Ground::new(DriverKind::Btrfs).device().unwrap();
    let device = ground.config.get("source").unwrap().to_owned();
    let made = std::process::Command::new("mkfs.ext4").args(["-q", &device]).status().unwrap();
    assert!(made.success());
    refused(&ground, &[], "mkfs.btrfs failed");
    let mut spec = ground.spec("pool");
    spec.config.set("source.wipe", "true");
    let pool = create_pool(&mut spec, &|_| ()).unwrap();
    assert_eq!(spec.config.get("source.wipe"), None);
    refused_in_use(&ground);
    pool.delete().unwrap();
}

fn refused_in_use(ground: &Ground) {
    let error = create_pool(&mut ground.spec("second"), &|_| ()).err().expect("the device is in use");
    assert!(chain(&error).contains("the device is in use"), "{}", chain(&error));
}

fn a_pool_in_a_file_grows() {
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    let ground = Ground::new(DriverKind::Btrfs).with("size", "256MiB");
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|_| ()).unwrap();
    let before = pool.resources().unwrap().space_total;
    let old = spec.config.clone();
    spec.config.set("size", "1GiB");
    config::check_change(&spec.name, spec.driver, &old, &spec.config).unwrap();
    pool.update(&spec.config).unwrap();
    assert_eq!((before, pool.resources().unwrap().space_total), (256 << 20, 1 << 30));
    pool.delete().unwrap();
}

fn a_failed_creation_leaves_nothing() {
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    // The pool's place is taken, which shows only after the file was made and formatted.
    let ground = Ground::new(DriverKind::Btrfs).with("size", "256MiB");
    fs::create_dir_all(ground.path("state/storage-pools/pool/mine")).unwrap();
    let error = create_pool(&mut ground.spec("pool"), &|warning| panic!("{warning}")).err().expect("the place is taken");
    assert_eq!(error.class(), Class::Exists, "{}", chain(&error));
    assert!(!ground.path("state/disks/pool.img").exists());
    assert!(ground.path("state/storage-pools/pool/mine").exists());
}

fn mount_options_take_effect() {
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    let ground = Ground::new(DriverKind::Btrfs).with("size", "256MiB").with("btrfs.mount_options", "compress=zstd:2,relatime");
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|_| ()).unwrap();
    let options = || {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        table.lines().find(|line| line.contains(pool.path().to_str().unwrap())).unwrap().to_owned()
    };
    assert!(options().contains("relatime") && options().contains("compress=zstd:2"), "{}", options());
    spec.config.set("btrfs.mount_options", "compress=zstd:5,user_subvol_rm_allowed");
    pool.update(&spec.config).unwrap();
    assert!(options().contains("compress=zstd:5") && options().contains("user_subvol_rm_allowed"), "{}", options());
    pool.delete().unwrap();
}

fn a_full_pool_loses_nothing() {
    let small = Ground::new(DriverKind::Dir).mount("tmpfs", "tmpfs".as_ref(), "state", "size=32m");
    let mut grounds = vec![small];
    if DriverKind::Btrfs.available() {
        grounds.push(Ground::new(DriverKind::Btrfs).with("size", "128MiB"));
    }
    for ground in grounds {
        let pool = create_pool(&mut ground.spec("pool"), &|_| ()).unwrap();
        let (small, big) = (instance("small"), instance("big"));
        pool.create(&small, &mut |directory| Ok(fs::write(path_of(directory).join("file"), vec![1; 20 << 20])?)).unwrap();
        let mut fill = |directory: std::os::fd::BorrowedFd<'_>| {
            let file = path_of(directory).join("file");
            fs::write(&file, vec![1; 200 << 20])?;
            Ok(fs::File::open(&file)?.sync_all()?)
        };
        let error = pool.create(&big, &mut fill).unwrap_err();
        assert_eq!(error.class(), Class::NoSpace, "{}", chain(&error));
        if pool.driver() == DriverKind::Dir {
            let error = pool.copy(&small, &big, &[], &Progress::default()).unwrap_err();
            assert_eq!(error.class(), Class::NoSpace, "{}", chain(&error));
        }
        assert_eq!(pool.list().unwrap(), [Found::Volume(small.clone())]);
        assert_eq!(pool.clear_temporaries().unwrap(), 0);
        assert_eq!(fs::metadata(path_of(pool.mount(&small).unwrap().as_fd()).join("file")).unwrap().len(), 20 << 20);
        pool.delete_volume(&small).unwrap();
        pool.delete().unwrap();
    }
}

fn layers_take_no_marks_of_layers() {
    if !DriverKind::Overlay.available() {
        return println!("     (skipped: no overlayfs with mapped layers on this host)");
    }
    let ground = Ground::new(DriverKind::Overlay);
    let pool = create_pool(&mut ground.spec("pool"), &|_| ()).unwrap();
    let mark = pool.create(&instance("web"), &mut |top| {
        fs::create_dir(path_of(top).join("rootfs"))?;
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
        Ok(rustix::fs::mknodat(top, "rootfs/gone", kind, mode, 0)?)
    });
    assert!(chain(&mark.unwrap_err()).contains("rootfs/gone is a device node with the numbers 0:0"));
    assert_eq!(pool.list().unwrap(), []);
    pool.delete().unwrap();
}
