//! The genuine `lxc file`.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::files::inside;
use crate::setting::ready_for_genuine_client;

#[test]
fn pushes_pulls_edits_and_deletes() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.create_instance("small", "c1");
    let scratch = daemon.scratch();
    std::fs::write(scratch.join("one"), "one\n").unwrap();
    let at = |name: &str| scratch.join(name).display().to_string();
    for running in [false, true] {
        if running {
            daemon.change_state("c1", "start");
        }
        daemon.lxc(["file", "push", "--uid", "7", "--gid", "8", "--mode", "0600", &at("one"), "c1/root/one"]).ok();
        assert_eq!(daemon.lxc(["file", "pull", "c1/root/one", "-"]).ok(), "one\n");
        daemon.lxc(["file", "push", "-", "c1/root/two"]).input("from stdin").ok();
        daemon.lxc(["file", "pull", "c1/root/two", &at("two")]).ok();
        assert_eq!(std::fs::read_to_string(scratch.join("two")).unwrap(), "from stdin");
        daemon.lxc(["file", "edit", "c1/root/one"]).input("edited\n").ok();
        assert_eq!(daemon.lxc(["file", "pull", "c1/root/one", "-"]).ok(), "edited\n");
        daemon.lxc(["file", "push", "-p", &at("one"), "c1/root/new/below/one"]).ok();
        if running {
            assert_eq!(inside(&daemon, "c1", "stat -c '%u %g %a' /root/one /root/new/below"), "7 8 600\n0 0 750\n");
        }
        daemon.lxc(["file", "delete", "c1/root/one", "c1/root/two", "c1/root/new/below/one", "c1/root/new/below", "c1/root/new"]).ok();
        assert!(daemon.lxc(["file", "pull", "c1/root/one", "-"]).fails().contains("No such file"));
    }
}

#[test]
fn pushes_and_pulls_trees() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    let tree = daemon.scratch().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    for number in 0..20 {
        std::fs::write(tree.join(format!("a/file{number}")), format!("{number}\n")).unwrap();
    }
    std::fs::write(tree.join("a/b/tool"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(tree.join("a/b/tool"), std::fs::Permissions::from_mode(0o750)).unwrap();
    symlink("file3", tree.join("a/link")).unwrap();
    daemon.lxc(["file", "push", "-r", &tree.display().to_string(), "c1/root/"]).ok();
    let listed = inside(&daemon, "c1", "cd /root/tree; find . | sort | wc -l; cat a/link; stat -c %a a/b/tool");
    assert_eq!(listed, "25\n3\n750\n");
    let back = daemon.scratch().join("back");
    std::fs::create_dir(&back).unwrap();
    daemon.lxc(["file", "pull", "-r", "c1/root/tree", &back.display().to_string()]).ok();
    assert_eq!(std::fs::read_to_string(back.join("tree/a/file19")).unwrap(), "19\n");
    assert_eq!(std::fs::symlink_metadata(back.join("tree/a/b/tool")).unwrap().permissions().mode() & 0o777, 0o750);
}
