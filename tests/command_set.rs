//! What the command does for people: aliases, completion, hints, colours, the current project.

use crate::setting::{holds, ready_daemon};

#[test]
fn aliases_are_kept_where_the_genuine_client_keeps_them_and_stand_for_their_words() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["alias", "add", "names", "list -c n --format csv"]).clean();
    daemon.coffer(["alias", "add", "as root", "exec @ARG1@ --user 0 --"]).clean();
    assert_eq!(daemon.coffer(["names"]).ok(), "c1\n");
    assert_eq!(daemon.coffer(["as", "root", "c1", "id", "-u"]).ok(), "0\n");
    daemon.coffer(["alias", "rename", "names", "n"]).clean();
    assert_eq!(daemon.coffer(["n", "c1"]).ok(), "c1\n");
    holds(&daemon.coffer(["alias", "list"]).ok(), &["as root", "list -c n --format csv"]);
    daemon.coffer(["alias", "edit"]).input("ll: list -c ns --format csv\n").clean();
    assert_eq!(daemon.coffer(["ll"]).ok(), "c1,RUNNING\n");
    holds(&daemon.coffer(["alias", "show", "n"]).fails(), &["alias", "n"]);
    daemon.coffer(["alias", "remove", "ll"]).clean();
    holds(&daemon.coffer(["ll"]).fails(), &["ll"]);
}

#[test]
fn a_name_that_is_nearly_right_gets_a_hint() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "database");
    holds(&daemon.coffer(["start", "databse"]).fails(), &["instance databse not found; did you mean database?"]);
    holds(&daemon.coffer(["launch", "smal", "x"]).fails(), &["did you mean small?"]);
    holds(&daemon.coffer(["config", "set", "database", "limits.memroy=1GiB"]).fails(), &["limits.memory"]);
    holds(&daemon.coffer(["lst"]).fails(), &["list"]);
    // A terminal with NO_COLOR stays plain.
    let mut terminal = daemon.on_terminal(daemon.coffer(["start", "nobody"]).env("NO_COLOR", "1"), 100, 20);
    terminal.expect("Error: ");
    assert!(!terminal.shows("\x1b[1;31m"));
}

#[test]
fn shells_complete_words_options_and_names_of_the_server() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["web1", "web2"] {
        daemon.create_instance("small", name);
    }
    let complete = |words: &[&str]| daemon.coffer(["__complete", "--"].iter().chain(words)).ok();
    assert_eq!(complete(&["start", "we"]), "web1\nweb2\n");
    assert_eq!(complete(&["start", "local:we"]), "local:web1\nlocal:web2\n");
    assert_eq!(complete(&["launch", "sm"]), "small\n");
    assert_eq!(complete(&["launch", "small", "x", "--prof"]), "--profile\n");
    assert_eq!(complete(&["config", "set", "web1", "limits.mem"]).lines().next(), Some("limits.memory"));
    // The script of a shell puts it together.
    let script = daemon.coffer(["completion", "bash"]).ok();
    let program = daemon.client_outside([""; 0]).into_command().get_program().to_string_lossy().into_owned();
    for (line, expect) in [("coffer start we", "web1\nweb2\n"), ("coffer start local:we", "web1\nweb2\n"), ("coffer rebu", "rebuild\n")] {
        let ask = format!(
            "coffer() {{ {program} \"$@\"; }}\n{script}\nCOMP_LINE='{line}' COMP_POINT={}\n_coffer\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.len()
        );
        assert_eq!(daemon.inside("bash", ["-c", &ask]).ok(), expect, "{line}");
    }
    for (shell, word) in [("zsh", "compadd"), ("fish", "complete -c coffer")] {
        holds(&daemon.coffer(["completion", shell]).ok(), &[word, "__complete"]);
    }
}

#[test]
fn another_project_becomes_the_current_one() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "here");
    daemon.coffer(["project", "create", "other", "-c", "features.images=false", "-c", "features.profiles=false"]).clean();
    assert_eq!(daemon.coffer(["project", "get-current"]).ok(), "default\n");
    holds(&daemon.coffer(["project", "switch", "nowhere"]).fails(), &["nowhere"]);
    daemon.coffer(["project", "switch", "other"]).clean();
    assert_eq!(daemon.coffer(["project", "get-current"]).ok(), "other\n");
    assert_eq!(daemon.coffer(["list", "-c", "n", "--format", "csv"]).ok(), "");
    assert_eq!(daemon.coffer(["list", "-c", "n", "--format", "csv", "--project", "default"]).ok(), "here\n");
    daemon.coffer(["project", "switch", "default"]).clean();
    assert_eq!(daemon.coffer(["list", "-c", "n", "--format", "csv"]).ok(), "here\n");
}

#[test]
fn what_is_not_done_is_refused_by_name_with_what_helps() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    for (words, hints) in [
        (&["network", "acl", "list"][..], &["network acl", "not supported", "port_isolation"][..]),
        (&["network", "forward", "create", "testbr0", "10.99.7.50"], &["network forward", "not supported", "proxy"]),
        (&["network", "peer", "list", "testbr0"], &["network peer", "not supported", "Open Virtual Network"]),
        (&["network", "zone", "create", "example.org"], &["network zone", "not supported", "dns.domain"]),
        (&["cluster", "list", "--format", "json"], &["cluster", "not supported", "between remotes"]),
        (&["storage", "bucket", "create", "default", "b1"], &["storage bucket", "not supported", "object store"]),
    ] {
        holds(&daemon.coffer(words.iter().copied()).fails(), hints);
    }
    // Other clients are told too.
    for (path, what) in [
        ("/1.0/network-acls", "network ACLs"),
        ("/1.0/network-zones/x", "network zones"),
        ("/1.0/networks/testbr0/forwards", "network forwards"),
        ("/1.0/networks/testbr0/peers", "network peers"),
        ("/1.0/storage-pools/default/buckets", "storage buckets"),
    ] {
        holds(&daemon.api().refused("GET", path, None, 501), &[what, "not supported"]);
    }
}

#[test]
fn files_are_made_inside() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["file", "create", "-p", "c1/srv/new/empty", "--uid", "7", "--gid", "8", "--mode", "0640"]).clean();
    daemon.coffer(["file", "create", "c1/srv/dir/"]).clean();
    daemon.coffer(["file", "create", "--type", "symlink", "c1/srv/link", "new/empty"]).clean();
    holds(&daemon.coffer(["file", "create", "c1/srv/new/empty"]).fails(), &["c1", "already has a file", "/srv/new/empty"]);
    daemon.coffer(["file", "create", "--force", "c1/srv/new/empty"]).clean();
    holds(&daemon.coffer(["file", "create", "--type", "symlink", "c1/srv/other"]).fails(), &["where the link points to"]);
    daemon.coffer(["start", "c1"]).clean();
    let seen = daemon.coffer(["exec", "c1", "--", "stat", "-c", "%n %F %u:%g %a", "/srv/new/empty", "/srv/dir", "/srv/link"]).ok();
    assert_eq!(seen, "/srv/new/empty regular empty file 7:8 640\n/srv/dir directory 0:0 755\n/srv/link symbolic link 0:0 777\n");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "readlink", "/srv/link"]).ok(), "new/empty\n");
}

#[test]
fn top_shows_the_busiest_first() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["idle", "busy"] {
        daemon.coffer(["launch", "small", name]).ok();
    }
    daemon.create_instance("small", "off");
    let script = "while :; do :; done >/dev/null 2>&1 & echo started";
    assert_eq!(daemon.coffer(["exec", "busy", "--", "sh", "-c", script]).ok(), "started\n");
    let told: serde_json::Value = serde_json::from_str(&daemon.coffer(["top", "-f", "json", "--refresh", "1"]).ok()).unwrap();
    let names: Vec<_> = told.as_array().unwrap().iter().map(|usage| usage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["busy", "idle"], "{told}");
    assert!(told[0]["cpu_percent"].as_f64().unwrap() > told[1]["cpu_percent"].as_f64().unwrap(), "{told}");
    assert!(told[0]["memory_bytes"].as_i64().unwrap() > 0 && told[0]["processes"].as_i64().unwrap() > 1, "{told}");
    holds(&daemon.coffer(["top", "--refresh", "1"]).ok(), &["NAME", "CPU%", "busy"]);
    holds(&daemon.coffer(["top", "-c", "nx"]).fails(), &["unknown column 'x'"]);
}
