//! Our own `coffer file`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::files::inside;
use crate::setting::{holds, ready_daemon};

/// What a tree holds: kind, permissions and content by path.
fn tree(top: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a file that was listed");
        let name = path.strip_prefix(top).unwrap_or(&path).display().to_string();
        let mode = metadata.mode() & 0o777;
        let fact = if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            format!("directory {mode:o}")
        } else if metadata.is_symlink() {
            format!("link {}", fs::read_link(&path).unwrap_or_default().display())
        } else {
            let content = fs::read(&path).unwrap_or_default();
            format!("file {mode:o} {} {:x?}", content.len(), content.iter().map(|byte| u64::from(*byte)).sum::<u64>())
        };
        all.insert(name, fact);
    }
    all
}

#[test]
fn a_tree_goes_in_and_comes_back_as_it_was() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let source = daemon.scratch().join("tree");
    for directory in ["", "a", "a/b", "a/empty", "name with spaces"] {
        fs::create_dir_all(source.join(directory)).unwrap();
    }
    for number in 0..300_u32 {
        fs::write(source.join(format!("a/file{number}")), number.to_string().repeat(number as usize)).unwrap();
    }
    // Around the size of a piece, and far beyond.
    for size in [0, 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 9_000_000] {
        fs::write(source.join(format!("a/b/size{size}")), [b'x', b'y', b'z'].into_iter().cycle().take(size).collect::<Vec<_>>()).unwrap();
    }
    fs::write(source.join("name with spaces/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(source.join("name with spaces/tool"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("../file7", source.join("a/b/relative")).unwrap();
    symlink("/nowhere/at/all", source.join("a/b/dangling")).unwrap();
    for running in [false, true] {
        if running {
            daemon.change_state("c1", "start");
        }
        daemon.coffer(["file", "push", "-r", &source.display().to_string(), "c1/root/"]).clean();
        // Once more over what is there.
        daemon.coffer(["file", "push", "-r", &source.display().to_string(), "c1/root/"]).clean();
        let back = daemon.scratch().join(format!("back-{running}"));
        daemon.coffer(["file", "pull", "-r", "-p", "c1/root/tree", &format!("{}/", back.display())]).clean();
        assert_eq!(tree(&back.join("tree")), tree(&source));
    }
    assert_eq!(inside(&daemon, "c1", "find /root/tree | wc -l").trim(), tree(&source).len().to_string());
}

#[test]
fn single_files_standard_streams_owners_and_parents() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let file = daemon.scratch().join("file");
    fs::write(&file, "content\n").unwrap();
    let file = file.display().to_string();
    daemon.coffer(["file", "push", "-p", "--uid", "5", "--gid", "6", "--mode", "0604", &file, "c1/srv/new/file"]).clean();
    assert_eq!(inside(&daemon, "c1", "stat -c '%u %g %a' /srv/new/file /srv/new"), "5 6 604\n5 6 755\n");
    daemon.coffer(["file", "push", "-", "c1/srv/input"]).input("from stdin").clean();
    assert_eq!(daemon.coffer(["file", "pull", "c1/srv/input", "-"]).clean(), "from stdin");
    holds(&daemon.coffer(["file", "pull", "c1/proc/version", "-"]).clean(), &["Linux"]);
    daemon.coffer(["file", "edit", "c1/srv/new/file"]).input("edited\n").clean();
    assert_eq!(inside(&daemon, "c1", "cat /srv/new/file; stat -c '%u %a' /srv/new/file"), "edited\n5 604\n");
    daemon.coffer(["file", "delete", "c1/srv/new/file", "c1/srv/new"]).clean();
    holds(&daemon.coffer(["file", "pull", "c1/srv/new/file", "-"]).fails(), &["/srv/new/file", "No such file"]);
    holds(&daemon.coffer(["file", "push", &file, "c1/no/such/place"]).fails(), &["/no/such/place", "No such file"]);
    holds(&daemon.coffer(["file", "pull", "c1/etc", &file]).fails(), &["--recursive"]);
    holds(&daemon.coffer(["file", "push", &file, "nobody/root/x"]).fails(), &["nobody"]);
}

/// Whoever is root inside chooses names and links; the user's machine must not be written beside the target.
#[test]
fn a_pulled_tree_stays_below_its_target() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let scratch = daemon.scratch();
    fs::create_dir(scratch.join("outside")).unwrap();
    let outside = scratch.join("outside").display().to_string();
    inside(&daemon, "c1", &format!("mkdir -p /root/t/d; ln -s {outside} /root/t/link; mkfifo /root/t/pipe; echo x > /root/t/d/x"));
    let target = scratch.join("target");
    // Twice: the second time the link stands here already.
    for _ in 0..2 {
        daemon.coffer(["file", "pull", "-r", "-p", "c1/root/t", &format!("{}/", target.display())]).clean();
    }
    assert_eq!(fs::read_to_string(target.join("t/d/x")).unwrap(), "x\n");
    // What was a link becomes a directory with a file in it.
    inside(&daemon, "c1", "rm /root/t/link; mkdir /root/t/link; echo y > /root/t/link/y");
    daemon.coffer(["file", "pull", "-r", "c1/root/t", &format!("{}/", target.display())]).fails();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}
