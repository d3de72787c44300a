//! Called `lxc` the command is `lxc`, called `lxd` it is `coffer admin`; the daemon heeds `LXD_DIR`.

use std::os::unix::fs::symlink;

use coffer_testkit::program;

use crate::setting::{holds, ready_daemon};

#[test]
fn the_names_of_old_work() {
    let Some(daemon) = ready_daemon() else { return };
    let bin = daemon.scratch().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(program("coffer"), bin.join("lxc")).unwrap();
    symlink(program("coffer"), bin.join("lxd")).unwrap();
    let lxc = bin.join("lxc").display().to_string();
    let lxd = bin.join("lxd").display().to_string();
    daemon.inside(&lxc, ["launch", "small", "c1"]).ok();
    holds(&daemon.inside(&lxc, ["list"]).ok(), &["NAME", "STATE", "IPV4", "IPV6", "TYPE", "SNAPSHOTS", "c1", "RUNNING"]);
    holds(&daemon.inside(&lxc, ["remote", "list"]).ok(), &["local (current)", "images", "ubuntu", "simplestreams"]);
    daemon.inside(&lxd, ["waitready", "--timeout", "10"]).ok();
    holds(&daemon.inside(&lxd, ["init", "--dump"]).ok(), &["testbr0"]);
    daemon.inside(&lxc, ["rm", "c1"]).fails();
    daemon.inside(&lxc, ["rm", "--force", "c1"]).ok();
}

#[test]
fn output_comes_as_table_json_csv_and_yaml() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    holds(&daemon.coffer(["list"]).clean(), &["+--", "| c1 ", "STOPPED"]);
    assert_eq!(daemon.coffer(["list", "--format", "csv", "-c", "ns"]).clean(), "c1,STOPPED\n");
    let list: serde_json::Value = serde_json::from_str(&daemon.coffer(["list", "--format", "json"]).clean()).unwrap();
    assert_eq!(list[0]["name"], "c1");
    holds(&daemon.coffer(["list", "--format", "yaml"]).clean(), &["name: c1", "status: Stopped"]);
}

#[test]
fn mistakes_end_with_one_and_name_the_word() {
    let Some(daemon) = ready_daemon() else { return };
    for (words, named) in [
        (&["start", "nobody"][..], "nobody"),
        (&["config", "set", "nobody", "a=b"], "nobody"),
        (&["image", "info", "nothing"], "nothing"),
        (&["network", "show", "nowhere"], "nowhere"),
        (&["storage", "show", "nowhere"], "nowhere"),
        (&["profile", "show", "none"], "none"),
        (&["launch", "nothing", "c1"], "nothing"),
    ] {
        let done = daemon.coffer(words).run();
        assert_eq!(done.code, 1, "{done}");
        assert!(done.stderr.starts_with("Error: ") && done.stderr.contains(named), "{done}");
    }
}
