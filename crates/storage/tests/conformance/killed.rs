//! A server that is killed in the middle of a step leaves whole volumes and temporaries, nothing else.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;

use coffer_base::Progress;
use coffer_model::SnapshotName;
use coffer_storage::{DriverKind, FillError, Found, Pool, PoolSpec, Volume, copy_between, create_from_image, create_pool, open_pool};

use crate::cases::{fingerprint, held};
use crate::ground::{Ground, has_cluster};
use crate::sample::path_of;

/// The rules, by name.
pub const ALL: &[(&str, fn())] = &[
    ("killed::dir", || killed(DriverKind::Dir)),
    ("killed::overlay", || killed(DriverKind::Overlay)),
    ("killed::btrfs", || killed(DriverKind::Btrfs)),
    ("killed::lvm", || killed(DriverKind::Lvm)),
    ("killed::zfs", || killed(DriverKind::Zfs)),
    ("killed::ceph", || killed(DriverKind::Ceph)),
    ("killed::cephfs", || killed(DriverKind::Cephfs)),
];

/// How often a server is killed; less often where each step starts programs, in the middle of which most kills come.
fn rounds(driver: DriverKind) -> usize {
    match driver {
        DriverKind::Dir | DriverKind::Overlay | DriverKind::Btrfs => 40,
        DriverKind::Lvm | DriverKind::Zfs | DriverKind::Ceph | DriverKind::Cephfs => 5,
    }
}

/// What every volume holds, the last of which is written last.
const FILES: usize = 30;

/// Works on a pool until it is killed, saying a byte before each step.
pub fn victim(words: &[String]) -> ExitCode {
    let [driver, state_dir, keys @ ..] = words else { return ExitCode::FAILURE };
    let spec = PoolSpec {
        name: "pool".parse().unwrap(),
        driver: DriverKind::from_str(driver).unwrap(),
        config: keys.iter().filter_map(|key| key.split_once('=')).collect(),
        state_dir: state_dir.into(),
    };
    let pool = open_pool(&spec).unwrap();
    loop {
        work(pool.as_ref(), || std::io::stdout().write_all(b".").and_then(|()| std::io::stdout().flush()).unwrap());
    }
}

fn work(pool: &dyn Pool, step: impl Fn()) {
    let snapshots = pool.snapshots().unwrap();
    let (one, two, three) = (held(pool, "one"), held(pool, "two"), held(pool, "three"));
    let name: SnapshotName = "s0".parse().unwrap();
    step();
    create_from_image(pool, &one, &fingerprint('e'), &mut fill).unwrap();
    fs::write(path_of(pool.mount(&one).unwrap().as_fd()).join("rootfs/changed"), "changed").unwrap();
    step();
    snapshots.snapshot(&one, &name).unwrap();
    step();
    snapshots.restore(&one, &name).unwrap();
    step();
    pool.copy(&one, &two, std::slice::from_ref(&name), &Progress::default()).unwrap();
    let mut more = Vec::new();
    if pool.succession().is_some() {
        // As to another pool of its kind, whose steps would be the same.
        let four = held(pool, "four");
        step();
        copy_between(pool, &one, pool, &four, std::slice::from_ref(&name), &Progress::default()).unwrap();
        more = vec![four.snapshot(&name), four];
    }
    step();
    pool.rename(&two, &three).unwrap();
    for volume in [one.snapshot(&name), one, three.snapshot(&name), three].into_iter().chain(more) {
        step();
        pool.delete_volume(&volume).unwrap();
    }
    if pool.images().is_some() {
        step();
        pool.delete_volume(&Volume::image(&fingerprint('e'))).unwrap();
    }
}

fn fill(directory: BorrowedFd<'_>) -> Result<(), FillError> {
    let top = path_of(directory).join("rootfs");
    fs::create_dir(&top)?;
    for number in 0..FILES {
        fs::create_dir(top.join(format!("directory-{number}")))?;
        fs::write(top.join(format!("directory-{number}/file")), vec![1; 10_000])?;
    }
    Ok(())
}

fn killed(driver: DriverKind) {
    if !driver.available() || (matches!(driver, DriverKind::Ceph | DriverKind::Cephfs) && !has_cluster()) {
        return println!("     (skipped: no {driver} on this host)");
    }
    let mut ground = Ground::new(driver);
    match driver {
        DriverKind::Dir | DriverKind::Overlay | DriverKind::Cephfs => {}
        DriverKind::Btrfs | DriverKind::Lvm | DriverKind::Zfs => ground = ground.with("size", "512MiB"),
        DriverKind::Ceph => ground = ground.with("volume.size", "64MiB"),
    }
    let mut spec = ground.spec("pool");
    drop(create_pool(&mut spec, &|_| ()).unwrap());
    let mut found = 0;
    for round in 0..rounds(driver) {
        kill_in_step(&spec, round);
        let pool = open_pool(&spec).unwrap();
        found += pool.clear_temporaries().unwrap();
        for volume in pool.list().unwrap().into_iter().rev() {
            let Found::Volume(volume) = volume else { panic!("{volume:?} is no volume") };
            let top = path_of(pool.mount(&volume).unwrap().as_fd()).join("rootfs");
            for number in 0..FILES {
                assert_eq!(fs::metadata(top.join(format!("directory-{number}/file"))).unwrap().len(), 10_000, "{volume}");
            }
            pool.delete_volume(&volume).unwrap();
        }
        assert_eq!(pool.list().unwrap(), []);
        crate::roots::no_layers(pool.as_ref());
    }
    assert!(found > 0, "no kill hit anything half done: the test proves nothing");
    open_pool(&spec).unwrap().delete().unwrap();
}

/// Starts a victim and kills it some steps on, at another moment of the step each time.
fn kill_in_step(spec: &PoolSpec, round: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["victim", spec.driver.as_str(), spec.state_dir.to_str().unwrap()]);
    child.args(spec.config.iter().map(|(key, value)| format!("{key}={value}")));
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = vec![0; 1 + round % 14];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    for _ in 0..(round * 7919) % 40_000 {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
