//! How long the frequent things take: printed, never judged.

use std::time::{Duration, Instant};

use super::*;

fn median(what: &str, mut run: impl FnMut()) {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: {:?} (best {:?})", times[10], times[0]);
}

#[test]
fn two_hundred_instances() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let map = IdMap { host: IdRange { start: 1_000_000, size: 65536 } }.to_volatile();
    for number in 0..200 {
        let mut instance = some_instance(&format!("i{number:03}"));
        for key in ["volatile.idmap.next", "volatile.idmap.current", "volatile.last_state.idmap"] {
            instance.config.set(key, &map);
        }
        for key in ["image.os", "image.release", "image.description", "image.serial", "volatile.eth0.hwaddr", "volatile.uuid"] {
            instance.config.set(key, "5f0c0c4e-7c3e-4d5c-9f8e-0a1b2c3d4e5f");
        }
        add(&store, instance).unwrap();
    }
    let read_all = |conn: &Conn| instance::list(conn, None);
    median("list of 200 instances", || assert_eq!(store.read(read_all).unwrap().len(), 200));
    median("id ranges of 200 instances", || assert_eq!(store.read(instance::id_ranges).unwrap().len(), 200));
    let (project, web): (ProjectName, InstanceName) = (default_project(), name("i100"));
    median("one instance", || assert!(store.read(|conn| instance::get(conn, &project, &web)).unwrap().is_some()));
    median("one durable write", || {
        store.write(|tx| instance::set_volatile(tx, &project, &web, &[("volatile.last_state.power", Some("RUNNING"))])).unwrap();
    });
    drop(store);
    median("opening with 200 instances", || drop(open(directory.path())));
}
