//! What two ZFS pools have in common is not sent between them again, and stays shared there.

use std::fs::{self, File};
use std::io::Seek;
use std::os::fd::{AsFd, BorrowedFd};

use coffer_base::Progress;
use coffer_base::progress::{Listener, Step};
use coffer_storage::{Class, DriverKind, Pool, Volume, copy_between, create_pool};

use crate::cases::{check_class, delete, name, noise, path, read, write};
use crate::custom::data;
use crate::ground::Ground;
use crate::sample::{check_same, describe};

/// The rules, by name.
pub const ALL: &[(&str, fn())] = &[
    ("streams::what_pools_have_in_common_is_sent_once", what_pools_have_in_common_is_sent_once),
    ("streams::what_cannot_come_through_leaves_nothing", what_cannot_come_through_leaves_nothing),
    ("streams::what_comes_from_outside_is_looked_through", what_comes_from_outside_is_looked_through),
];

/// Two pools, if the host has ZFS.
fn on_two_pools(sizes: [&str; 2], test: fn(&dyn Pool, &dyn Pool)) {
    if !DriverKind::Zfs.available() {
        return println!("     (skipped: no zfs on this host)");
    }
    let grounds = sizes.map(|size| Ground::new(DriverKind::Zfs).with("size", size));
    let [source, target] = grounds.each_ref().map(|ground| create_pool(&mut ground.spec("pool"), &|_| ()).unwrap());
    test(source.as_ref(), target.as_ref());
    for pool in [source, target] {
        assert_eq!(pool.list().unwrap(), []);
        assert_eq!(pool.clear_temporaries().unwrap(), 0, "temporaries are left");
        pool.delete().unwrap();
    }
}

/// Puts so many MiB into a volume, in files of 4 MiB.
fn fill_with_noise(pool: &dyn Pool, volume: &Volume, size: usize) {
    let (top, noise) = (path(pool, volume), noise());
    for number in 0..size / 4 {
        fs::write(top.join(format!("noise-{number}")), &noise[..4 << 20]).unwrap();
    }
}

/// How much of a pool is in use once ZFS has written down what it was told, in MiB.
fn used(pool: &dyn Pool) -> u64 {
    let synced = std::process::Command::new("zpool").arg("sync").status().unwrap();
    assert!(synced.success());
    pool.resources().unwrap().space_used >> 20
}

fn what_pools_have_in_common_is_sent_once() {
    on_two_pools(["512MiB", "512MiB"], |source, target| {
        let (volume, copy) = (data("web"), data("copy"));
        let [s0, s1, s2] = ["s0", "s1", "s2"].map(name);
        let keep = |name| source.snapshots().unwrap().snapshot(&volume, name).unwrap();
        let take = |from: &Volume, to: &Volume, names: &[_]| copy_between(source, from, target, to, names, &Progress::default());
        let same =
            |of: &dyn Fn(&Volume) -> Volume| check_same(&describe(&path(source, &of(&volume))), &describe(&path(target, &of(&copy))));
        source.create(&volume, &mut crate::sample::fill).unwrap();
        fill_with_noise(source, &volume, 24);
        write(source, &volume, "zero");
        keep(&s0);
        write(source, &volume, "one");
        keep(&s1);
        write(source, &volume, "two");
        take(&volume, &copy, &[s0.clone(), s1.clone()]).unwrap();
        same(&Clone::clone);
        for name in [&s0, &s1] {
            same(&|volume| volume.snapshot(name));
        }
        // Three states of 24 MiB, which the source keeps once.
        let once = used(target);
        assert!((24..40).contains(&once), "{once} MiB");
        check_class(take(&volume, &copy, &[]), Class::Exists, "has volume default_copy already");

        // Bringing the copy up to date: what is new alone.
        keep(&s2);
        take(&volume.snapshot(&s2), &copy.snapshot(&s2), &[]).unwrap();
        same(&|volume| volume.snapshot(&s2));
        assert!(used(target) < once + 8, "{} MiB after {once} MiB", used(target));

        // Each state comes back, whatever it was a change of, and also once what it was a change of is gone.
        for (name, text) in [(&s0, "zero"), (&s2, "two"), (&s1, "one")] {
            target.snapshots().unwrap().restore(&copy, name).unwrap();
            assert_eq!(read(target, &copy), text);
        }
        delete(target, &[&copy.snapshot(&s0)]);
        target.copy(&copy.snapshot(&s2), &data("other"), &[], &Progress::default()).unwrap();
        assert_eq!((read(target, &data("other")), read(target, &copy)), ("two".into(), "one".into()));
        // And back again.
        copy_between(target, &copy, source, &data("back"), &[s1.clone(), s2.clone()], &Progress::default()).unwrap();
        assert_eq!((read(source, &data("back")), read(source, &data("back").snapshot(&s2))), ("one".into(), "two".into()));

        let back = data("back");
        delete(source, &[&back.snapshot(&s1), &back.snapshot(&s2), &back]);
        delete(source, &[&volume.snapshot(&s0), &volume.snapshot(&s1), &volume.snapshot(&s2), &volume]);
        delete(target, &[&copy.snapshot(&s2), &copy.snapshot(&s1), &copy, &data("other")]);
        assert!(used(target) < 8, "{} MiB are left", used(target));
    });
}

/// The streams of a volume and its snapshots, as an archive has them.
fn archive(pool: &dyn Pool, states: &[Volume]) -> Vec<File> {
    let send = |number: usize| {
        let file = tempfile::tempfile().unwrap();
        let base = number.checked_sub(1).map(|before| &states[before]);
        pool.streams().unwrap().send(&states[number], base, file.as_fd()).unwrap();
        (&file).rewind().unwrap();
        file
    };
    (0..states.len()).map(send).collect()
}

fn what_comes_from_outside_is_looked_through() {
    on_two_pools(["512MiB", "512MiB"], |source, target| {
        let (volume, copy, [s0, s1]) = (data("web"), data("copy"), ["s0", "s1"].map(name));
        let keep = |name| source.snapshots().unwrap().snapshot(&volume, name).unwrap();
        source.create(&volume, &mut |_| Ok(())).unwrap();
        fill_with_noise(source, &volume, 24);
        write(source, &volume, "zero");
        keep(&s0);
        write(source, &volume, "one");
        keep(&s1);
        let states = [volume.snapshot(&s0), volume.snapshot(&s1), volume.clone()];
        let copies = [copy.snapshot(&s0), copy.snapshot(&s1), copy.clone()];
        let receive = |streams: Vec<File>, settle: coffer_storage::Settle<'_>| {
            target.foreign().unwrap().receive_foreign(copies.iter().cloned().zip(streams).collect(), settle)
        };
        let fine = &mut |_: usize, _: BorrowedFd<'_>| Ok(());

        // Each state is given to whoever looks through it, who may change what is in it.
        let mut seen = Vec::new();
        let settle = &mut |number: usize, top: BorrowedFd<'_>| {
            let state = crate::sample::path_of(top).join("state");
            seen.push((number, fs::read_to_string(&state)?));
            Ok(fs::write(state, format!("settled {number}"))?)
        };
        receive(archive(source, &states), settle).unwrap();
        assert_eq!(seen, [(0, "zero".into()), (1, "one".into()), (2, "one".into())]);
        for (number, copy) in copies.iter().enumerate() {
            assert_eq!(read(target, copy), format!("settled {number}"));
        }
        let once = used(target);
        assert!((24..40).contains(&once), "{once} MiB");
        target.snapshots().unwrap().restore(&copy, &s0).unwrap();
        assert_eq!(read(target, &copy), "settled 0");
        // Its number is whatever somebody wrote: nothing of ours is taken for it.
        copy_between(source, &states[1], target, &data("ours"), &[], &Progress::default()).unwrap();
        assert_eq!(read(target, &data("ours")), "one");
        delete(target, &[&data("ours"), &copies[0], &copies[1], &copies[2]]);
        assert!(used(target) < 8, "{} MiB are left", used(target));

        // What fails leaves nothing, and what could name something of this host's is refused.
        let torn: coffer_storage::Settle<'_> = &mut |number, _| if number == 1 { Err("torn".into()) } else { Ok(()) };
        assert!(receive(archive(source, &states), torn).is_err_and(|error| coffer_base::chain(&error).contains("torn")));
        assert_eq!(target.list().unwrap(), []);
        copy_between(source, &states[0], target, &data("ours"), &[], &Progress::default()).unwrap();
        let mut streams = archive(source, &states);
        streams.remove(0);
        check_class(receive(streams, fine), Class::Invalid, "what the stream changes is not in the archive before it");
        delete(target, &[&data("ours")]);
        check_class(receive(vec![with_properties(source)], fine), Class::Invalid, "more than one dataset, or properties");
        assert_eq!(target.list().unwrap(), []);
        delete(source, &[&states[0], &states[1], &volume]);
    });
}

/// A stream that says how a dataset is to be mounted.
fn with_properties(pool: &dyn Pool) -> File {
    let root = std::process::Command::new("zfs").args(["list", "-H", "-t", "snapshot", "-o", "name"]).output().unwrap();
    let names = String::from_utf8(root.stdout).unwrap();
    let snapshot = names.lines().find(|name| name.contains("/custom/default_web@")).unwrap();
    assert_eq!(pool.driver(), DriverKind::Zfs);
    let file = tempfile::tempfile().unwrap();
    let sent = std::process::Command::new("zfs").args(["send", "-p", snapshot]).stdout(file.try_clone().unwrap()).status().unwrap();
    assert!(sent.success());
    (&file).rewind().unwrap();
    file
}

/// Wants nothing more after the first MiB.
struct Impatient(std::sync::atomic::AtomicBool);

impl Listener for Impatient {
    fn hear(&self, step: Step) {
        self.0.fetch_or(step.done > 1 << 20, std::sync::atomic::Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn what_cannot_come_through_leaves_nothing() {
    on_two_pools(["512MiB", "128MiB"], |source, target| {
        let (volume, copy, s0) = (data("web"), data("copy"), name("s0"));
        source.create(&volume, &mut |_| Ok(())).unwrap();
        source.snapshots().unwrap().snapshot(&volume, &s0).unwrap();
        fill_with_noise(source, &volume, 16);
        let take = |progress: &Progress| copy_between(source, &volume, target, &copy, std::slice::from_ref(&s0), progress);
        let cancelled = take(&Progress::told_to(Impatient(false.into()))).map_err(|error| coffer_base::chain(&error));
        assert!(cancelled.as_ref().is_err_and(|said| said.contains("it was cancelled")), "{cancelled:?}");
        assert_eq!(target.list().unwrap(), []);
        fill_with_noise(source, &volume, 80);
        check_class(take(&Progress::default()), Class::NoSpace, "has no room for volume default_copy");
        assert_eq!(target.list().unwrap(), []);
        delete(source, &[&volume.snapshot(&s0), &volume]);
    });
}
