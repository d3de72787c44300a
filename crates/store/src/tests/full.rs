//! A disk without room: a small tmpfs in a mount namespace of its own.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use super::*;

const INSIDE: &str = "COFFER_STORE_TEST_SMALL_DISK";

#[test]
fn a_full_disk_costs_nothing() {
    if let Some(directory) = std::env::var_os(INSIDE) {
        return on_a_small_disk(Path::new(&directory));
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root to mount a small tmpfs");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let result = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "tests::full::a_full_disk_costs_nothing", "--nocapture"])
        .env(INSIDE, directory.path())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
    assert!(result.status.success() && text.contains("1 passed"), "{text}");
}

fn on_a_small_disk(directory: &Path) {
    rustix::mount::mount("tmpfs", directory, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=1m")).unwrap();
    let filler = directory.join("filler");

    // No room for a database at all.
    fill(&filler);
    let refused = says(Store::open(&directory.join("database"))).replace(&directory.display().to_string(), "DIR");
    assert!(refused.starts_with("the disk that holds DIR/database/coffer.db is full; nothing was changed"), "{refused}");
    std::fs::remove_file(&filler).unwrap();

    // Room runs out in the middle of work.
    let store = with_pool(directory);
    File::create(&filler).unwrap().write_all(&[0; 300 << 10]).unwrap();
    let mut kept: Vec<Instance> = Vec::new();
    let error = loop {
        let mut instance = some_instance(&format!("i{:04}", kept.len()));
        instance.config.set("user.text", "x".repeat(10_000));
        match add(&store, instance.clone()) {
            Ok(_) => kept.push(instance),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(!kept.is_empty());
    let list = |store: &Store| store.read(|conn| instance::list(conn, None)).unwrap();
    assert!(list(&store) == kept, "what was committed is there, and nothing else");

    // The instance's own file: the old one stays.
    let own = directory.join("own");
    std::fs::create_dir(&own).unwrap();
    fill(&directory.join("filler2"));
    let fd = File::open(&own).unwrap();
    let document = crate::backup::Document { profiles: vec![Default::default(); 5000], ..Default::default() };
    let refused = crate::backup::write(std::os::fd::AsFd::as_fd(&fd), &document).unwrap_err();
    assert!(coffer_base::chain(&refused).contains("No space left on device"), "{refused}");
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    std::fs::remove_file(directory.join("filler2")).unwrap();

    // With room again it goes on, without a restart.
    std::fs::remove_file(&filler).unwrap();
    let mut more = some_instance("more");
    more.config.set("user.text", "x".repeat(10_000));
    add(&store, more.clone()).unwrap();
    kept.push(more);
    assert!(list(&store) == kept);

    // A server that ends and starts on a full disk keeps all too.
    fill(&filler);
    drop(store);
    let refused = Store::open(&directory.join("database"));
    assert!(matches!(refused, Ok(_) | Err(StoreError::Full { .. })), "{refused:?}");
    drop(refused);
    std::fs::remove_file(&filler).unwrap();
    assert!(list(&open(directory)) == kept);
}

/// Takes all the room there is, to the last byte.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 << 10, 4096, 1] {
        while file.write(&vec![0; size]).is_ok_and(|written| written == size) {}
    }
}
