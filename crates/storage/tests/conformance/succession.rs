//! Copies to another pool in which states of a volume go on sharing what is the same in them.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use coffer_base::Progress;
use coffer_storage::{Class, DriverKind, Pool, Volume, copy_between, copy_between_after, create_pool};
use rustix::fs::{CWD, RenameFlags, XattrFlags};

use crate::cases::{check_class, name, noise};
use crate::custom::data as custom;
use crate::ground::Ground;
use crate::sample::{self, check_same, describe, path_of};

/// The rules, by name.
pub const ALL: &[(&str, fn())] = &[
    ("succession::from_btrfs", || in_succession(DriverKind::Btrfs)),
    ("succession::from_dir", || in_succession(DriverKind::Dir)),
    ("succession::a_volume_that_went_back_is_copied_right", a_volume_that_went_back_is_copied_right),
    ("succession::what_fails_leaves_nothing", what_fails_leaves_nothing),
];

/// Files whose blocks cost something: how many, and the bytes of each and of all.
const LARGE: usize = 5;
const SIZE: usize = 7 << 20;
const BIG: u64 = (LARGE * SIZE) as u64;

/// A pool to copy from and one to copy to, and what they stand on.
struct Pair {
    _grounds: [Ground; 2],
    source: Box<dyn Pool>,
    target: Box<dyn Pool>,
}

/// A pool of a driver and one of btrfs.
fn pair(driver: DriverKind) -> Option<Pair> {
    if !DriverKind::Btrfs.available() {
        println!("     (skipped: no btrfs on this host)");
        return None;
    }
    let ground = |driver: DriverKind| match driver {
        DriverKind::Btrfs => Ground::new(driver).with("size", "512MiB"),
        _ => Ground::new(driver),
    };
    let grounds = [ground(driver), ground(DriverKind::Btrfs)];
    let [source, target] = grounds.each_ref().map(|ground| create_pool(&mut ground.spec("pool"), &|_| ()).unwrap());
    Some(Pair { _grounds: grounds, source, target })
}

fn tree(pool: &dyn Pool, volume: &Volume) -> std::collections::BTreeMap<std::path::PathBuf, String> {
    describe(&path_of(pool.mount(volume).unwrap().as_fd()))
}

/// Changes of every kind, other ones each time.
fn alter(top: &Path, turn: u8) {
    let root = top.join("rootfs");
    let big = File::options().write(true).open(root.join("bin/large-0")).unwrap();
    big.write_all_at(&[turn; 5000], (u64::from(turn) + 1) << 20).unwrap();
    fs::set_permissions(root.join("bin/su"), fs::Permissions::from_mode(0o4700 + u32::from(turn))).unwrap();
    rustix::fs::lsetxattr(root.join("var"), "user.turn", &[turn], XattrFlags::empty()).unwrap();
    fs::write(root.join(format!("etc/new-{turn}")), [turn; 100]).unwrap();
    // Of the same length, and with the time that it had.
    let (hostname, times) = (root.join("etc/hostname"), fs::metadata(root.join("etc/hostname")).unwrap().modified().unwrap());
    let file = File::options().write(true).open(&hostname).unwrap();
    file.write_all_at(&[b'a' + turn], 0).unwrap();
    file.set_modified(times).unwrap();
    let sparse = File::options().write(true).open(root.join("var/sparse")).unwrap();
    sparse.set_len((20 << 20) + u64::from(turn)).unwrap();
    match turn {
        0 => {
            // A directory becomes a link, a link a directory, a file a directory, a device a file.
            fs::rename(root.join("links"), root.join("var/links")).unwrap();
            symlink("var/links", root.join("links")).unwrap();
            fs::remove_file(root.join("etc/empty")).unwrap();
            fs::create_dir_all(root.join("etc/empty/not/any/more")).unwrap();
            fs::remove_file(root.join("dev/null")).unwrap();
            fs::write(root.join("dev/null"), "a file").unwrap();
            rustix::fs::removexattr(root.join("etc"), "user.on-a-directory").unwrap();
        }
        1 => {
            // Names change places, files change names, one file's names become two files'.
            let swap = |one: &str, other: &str| {
                rustix::fs::renameat_with(CWD, root.join(one), CWD, root.join(other), RenameFlags::EXCHANGE).unwrap();
            };
            swap("etc/new-0", "etc/new-1");
            swap("bin", "var/lib");
            swap("var/lib", "bin");
            fs::hard_link(root.join("etc/new-0"), root.join("var/lib/new-0")).unwrap();
            let other = root.join("var/lib/hostname");
            fs::copy(&hostname, root.join("copied")).unwrap();
            fs::rename(root.join("copied"), other).unwrap();
        }
        _ => {
            fs::rename(root.join("var/links"), root.join("moved")).unwrap();
            fs::remove_dir_all(root.join("etc/empty")).unwrap();
            fs::remove_file(root.join("etc/new-1")).unwrap();
            fs::remove_file(root.join("dev/fifo")).unwrap();
        }
    }
}

/// A volume with states `s0` and `s1` behind it.
fn volume_with_past(pool: &dyn Pool) -> Volume {
    let volume = custom("web");
    let large = noise();
    pool.create(&volume, &mut |top| {
        sample::fill(top)?;
        let bin = path_of(top).join("rootfs/bin");
        (0..LARGE).try_for_each(|number| fs::write(bin.join(format!("large-{number}")), &large[..SIZE]))?;
        Ok(())
    })
    .unwrap();
    for turn in 0..2 {
        pool.snapshots().unwrap().snapshot(&volume, &name(&format!("s{turn}"))).unwrap();
        alter(&path_of(pool.mount(&volume).unwrap().as_fd()), turn);
    }
    volume
}

#[track_caller]
fn check_copy(source: &dyn Pool, from: &Volume, target: &dyn Pool, to: &Volume) {
    check_same(&tree(source, from), &tree(target, to));
}

fn used(pool: &dyn Pool) -> u64 {
    rustix::fs::syncfs(File::open(pool.path()).unwrap()).unwrap();
    pool.resources().unwrap().space_used
}

fn finish(pool: Box<dyn Pool>, volumes: &[Volume]) {
    for volume in volumes {
        pool.delete_volume(volume).unwrap();
    }
    assert_eq!(pool.clear_temporaries().unwrap(), 0, "a copy left temporaries");
    pool.delete().unwrap();
}

fn in_succession(driver: DriverKind) {
    let Some(Pair { _grounds, source, target }) = pair(driver) else { return };
    let (volume, copy, progress) = (volume_with_past(source.as_ref()), custom("copy"), Progress::default());
    let before = used(target.as_ref());
    copy_between(source.as_ref(), &volume, target.as_ref(), &copy, &[name("s0"), name("s1")], &progress).unwrap();
    for state in ["s0", "s1"] {
        check_copy(source.as_ref(), &volume.snapshot(&name(state)), target.as_ref(), &copy.snapshot(&name(state)));
    }
    check_copy(source.as_ref(), &volume, target.as_ref(), &copy);
    let cost = used(target.as_ref()) - before;
    assert!(cost < BIG * 3 / 2, "three states cost {cost} bytes, the large files alone have {BIG}");
    // Later a new state, and what the volume is now; from a moment in which it is not written to.
    source.snapshots().unwrap().snapshot(&volume, &name("s2")).unwrap();
    alter(&path_of(source.mount(&volume).unwrap().as_fd()), 2);
    let before = used(target.as_ref());
    let refreshed = [(volume.snapshot(&name("s2")), copy.snapshot(&name("s2")), "s1"), (volume.clone(), copy.snapshot(&name("now")), "s2")];
    for (from, to, common) in &refreshed {
        copy_between_after(source.as_ref(), from, target.as_ref(), to, &name(common), &progress).unwrap();
        check_copy(source.as_ref(), from, target.as_ref(), to);
    }
    let cost = used(target.as_ref()) - before;
    assert!(cost < BIG / 2, "two more states cost {cost} bytes");
    let states =
        |of: &Volume, names: &[&str]| -> Vec<Volume> { names.iter().map(|state| of.snapshot(&name(state))).chain([of.clone()]).collect() };
    finish(source, &states(&volume, &["s0", "s1", "s2"]));
    finish(target, &states(&copy, &["s0", "s1", "s2", "now"]));
}

/// The kernel's numbers tell what changed only from a state that the present one came from.
fn a_volume_that_went_back_is_copied_right() {
    let Some(Pair { _grounds, source, target }) = pair(DriverKind::Btrfs) else { return };
    let (volume, copy, progress) = (volume_with_past(source.as_ref()), custom("copy"), Progress::default());
    let power = source.history().unwrap();
    let known = |earlier: &str, later: &Volume| power.difference(&volume.snapshot(&name(earlier)), later).unwrap().is_some();
    assert!(known("s0", &volume.snapshot(&name("s1"))) && known("s1", &volume), "one line");
    assert!(!known("s1", &volume.snapshot(&name("s0"))), "time does not go back");
    source.snapshots().unwrap().restore(&volume, &name("s0")).unwrap();
    assert!(!known("s1", &volume), "it comes from another state");
    source.snapshots().unwrap().snapshot(&volume, &name("s2")).unwrap();
    copy_between(source.as_ref(), &volume, target.as_ref(), &copy, &[name("s0"), name("s1"), name("s2")], &progress).unwrap();
    for state in ["s0", "s1", "s2"] {
        check_copy(source.as_ref(), &volume.snapshot(&name(state)), target.as_ref(), &copy.snapshot(&name(state)));
    }
    check_copy(source.as_ref(), &volume, target.as_ref(), &copy);
    for (pool, of) in [(source, &volume), (target, &copy)] {
        finish(pool, &[of.snapshot(&name("s0")), of.snapshot(&name("s1")), of.snapshot(&name("s2")), of.clone()]);
    }
}

fn what_fails_leaves_nothing() {
    let Some(Pair { _grounds, source, target }) = pair(DriverKind::Btrfs) else { return };
    let (volume, copy) = (volume_with_past(source.as_ref()), custom("copy"));
    // The second of the states is not there.
    let states = [name("s0"), name("none")];
    let failed = copy_between(source.as_ref(), &volume, target.as_ref(), &copy, &states, &Progress::default());
    assert!(format!("{:?}", failed.unwrap_err()).contains("none"));
    assert_eq!(target.list().unwrap(), []);
    copy_between(source.as_ref(), &volume, target.as_ref(), &copy, &[], &Progress::default()).unwrap();
    let taken = copy_between(source.as_ref(), &volume, target.as_ref(), &copy, &[name("s0")], &Progress::default());
    check_class(taken, Class::Exists, "default_copy already");
    finish(source, &[volume.snapshot(&name("s0")), volume.snapshot(&name("s1")), volume]);
    finish(target, &[copy]);
}
