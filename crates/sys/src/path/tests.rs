use super::*;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coffer-path-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("root/etc")).unwrap();
        std::fs::write(path.join("secret"), "outside").unwrap();
        Self(path)
    }

    fn root(&self) -> Root {
        Root::open(self.0.join("root")).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[track_caller]
fn check_errno<T>(result: io::Result<T>, expect: i32) {
    let got = result.map(|_| 0).unwrap_or_else(|error| error.raw_os_error().unwrap_or(-1));
    assert_eq!(got, expect);
}

#[test]
fn nothing_leads_out() {
    let place = Place::new("out");
    let root = place.root();
    root.symlink("../secret", "up").unwrap();
    root.symlink(place.0.join("secret"), "absolute").unwrap();
    root.symlink("/proc/self/root/etc/hostname", "magic").unwrap();
    for path in ["../secret", "/../secret", "up", "absolute", "etc/../../secret", "magic"] {
        check_errno(root.read(path, 100), libc::ENOENT);
    }
    std::fs::write(place.0.join("root/secret"), "inside").unwrap();
    assert_eq!(root.read("../secret", 100).unwrap(), b"inside");
    assert_eq!(root.read("up", 100).unwrap(), b"inside");
    check_errno(root.strict().unwrap().read("up", 100), libc::ELOOP);
    check_errno(Root::open("/proc/self").unwrap().read("cwd/x", 1), libc::ELOOP);
}

#[test]
fn files_are_made_read_replaced_renamed_and_removed() {
    let place = Place::new("files");
    let root = place.root();
    root.create_dir_all("a/b/c", 0o755).unwrap();
    root.create_file("a/b/f", 0o600).unwrap().write_all(b"one").unwrap();
    check_errno(root.create_file("a/b/f", 0o600), libc::EEXIST);
    root.replace_file("a/b/f", b"two", 0o640).unwrap();
    assert_eq!(root.read("a/b/f", 3).unwrap(), b"two");
    check_errno(root.read("a/b/f", 2), libc::EFBIG);
    assert_eq!(root.metadata("a/b/f").unwrap().st_mode & 0o777, 0o640);
    root.rename("a/b/f", "g").unwrap();
    root.create_file("h", 0o600).unwrap();
    check_errno(root.rename_new("g", "h"), libc::EEXIST);
    root.exchange("g", "h").unwrap();
    assert_eq!(root.read("h", 9).unwrap(), b"two");
    root.change_mode("h", 0o400).unwrap();
    let mut names: Vec<_> = root.entries("/").unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, ["a", "etc", "g", "h"]);
    root.remove_all("a").unwrap();
    root.remove_all("nothing/there").unwrap();
    assert!(!root.exists("a"));
}

#[test]
fn pipes_and_directories_are_not_opened_as_files() {
    let place = Place::new("kinds");
    let root = place.root();
    root.make_node("pipe", FileType::Fifo, 0o600, 0, 0).unwrap();
    check_errno(root.open_file("pipe"), libc::EINVAL);
    check_errno(root.open_file("etc"), libc::EINVAL);
    check_errno(root.create_dir("..", 0o755), libc::EINVAL);
    check_errno(root.remove_dir("/"), libc::EINVAL);
}

#[test]
fn very_deep_trees_are_removed_and_links_are_not_followed() {
    let place = Place::new("deep");
    let root = place.root();
    root.create_dir("deep", 0o755).unwrap();
    let mut at = root.dir("deep").unwrap();
    for _ in 0..700 {
        at.create_dir("d", 0o755).unwrap();
        at = at.dir("d").unwrap();
    }
    at.symlink(place.0.as_path(), "link").unwrap();
    root.remove_all("deep").unwrap();
    assert!(!root.exists("deep"));
    assert!(place.0.join("secret").exists());
}

#[test]
fn renames_elsewhere_do_not_make_a_walk_fail() {
    let place = Place::new("renames");
    let root = place.root();
    root.symlink("../../..", "up").unwrap();
    let (one, other) = (place.0.join("one"), place.0.join("other"));
    std::fs::create_dir_all(one.join("moving")).unwrap();
    std::fs::create_dir(&other).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(relaxed) {
                std::fs::rename(one.join("moving"), other.join("moving")).unwrap();
                std::fs::rename(other.join("moving"), one.join("moving")).unwrap();
            }
        });
        let results: Vec<_> = (0..20_000).map(|_| root.handle("up/etc/../up/etc").map(drop)).collect();
        done.store(true, relaxed);
        assert_eq!(results.iter().filter_map(|result| result.as_ref().err()).map(ToString::to_string).next(), None);
    });
}
