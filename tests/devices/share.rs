//! `share` and `unshare`: a project directory whose files have the right owner on both sides.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use coffer_testkit::{Daemon, Done, Invocation, Options};

use super::inside;
use crate::setting::{holds, ready_daemon, ready_daemon_with};

/// A directory that belongs to some user of the host, with a file in it.
fn project(daemon: &Daemon, uid: u32) -> std::path::PathBuf {
    let directory = daemon.scratch().join("proj");
    fs::create_dir_all(directory.join("sub")).expect("the project's directory");
    fs::write(directory.join("code"), "main\n").expect("the project's directory");
    for path in [directory.clone(), directory.join("sub"), directory.join("code")] {
        chown(path, Some(uid), Some(uid)).expect("the project's directory");
    }
    fs::set_permissions(directory.join("code"), fs::Permissions::from_mode(0o600)).expect("the project's directory");
    directory
}

/// Who may use the daemon.
const GROUP: u32 = 4711;

/// Our command as a user of the host who may use the daemon.
fn as_user(daemon: &Daemon, uid: u32, args: &[&str]) -> Invocation {
    let program = coffer_testkit::program("coffer").display().to_string();
    let (uid, gid, groups) = (format!("--reuid={uid}"), format!("--regid={uid}"), format!("--groups={GROUP}"));
    let words = [vec![uid.as_str(), gid.as_str(), groups.as_str(), "--", program.as_str()], args.to_vec()].concat();
    daemon.inside("setpriv", words)
}

fn run_as(daemon: &Daemon, instance: &str, user: &str, script: &str) -> Done {
    daemon.coffer(["exec", instance, "--user", user, "--group", user, "--", "sh", "-c", script]).run()
}

#[test]
fn the_callers_files_are_the_users_inside_and_back() {
    let Some(daemon) = ready_daemon_with(Options::default().group(GROUP)) else { return };
    daemon.run_instance("small", "dev");
    // One below the ids that instances have, one of a directory service far above.
    for uid in [1007, 4_000_000] {
        let directory = project(&daemon, uid);
        let text = directory.display().to_string();
        let told = as_user(&daemon, uid, &["share", "dev", &text, "/src", "--as", "1000"]).clean();
        holds(&told, &[&text, "/src", &format!("{uid}:{uid} here is 1000:1000 there")]);
        assert_eq!(inside(&daemon, "dev", "stat -c %u:%g /src /src/code /src/sub | sort -u"), "1000:1000", "nothing is nobody's");
        let done = run_as(&daemon, "dev", "1000", "cat /src/code && echo new > /src/sub/made && chmod 640 /src/sub/made && rm /src/code");
        assert_eq!((done.code, done.text().as_str()), (0, "main\n"), "{done}");
        let made = fs::metadata(directory.join("sub/made")).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (uid, uid, 0o640));

        // What root inside leaves there, set-id bits and all, is nobody's of this host.
        inside(&daemon, "dev", "cp /bin/busybox /src/trap && chown 0:0 /src/trap && chmod 4755 /src/trap");
        let trap = fs::metadata(directory.join("trap")).unwrap();
        assert!(trap.uid() >= 100_000 && trap.uid() != uid, "{}", trap.uid());

        holds(&daemon.coffer(["config", "device", "show", "dev"]).clean(), &["share-src:", &format!("owner.host: {uid}:{uid}")]);
        daemon.change_state("dev", "restart");
        assert_eq!(inside(&daemon, "dev", "stat -c %u /src/sub"), "1000");
        as_user(&daemon, uid, &["unshare", "dev", "/src"]).clean();
        assert_eq!(inside(&daemon, "dev", "ls /src"), "");
        fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn root_inside_is_the_caller_unless_said() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "dev");
    let directory = project(&daemon, 1007);
    // Called by root it is the directory's owner whose files are shared.
    daemon.coffer(["share", "dev", &directory.display().to_string()]).clean();
    assert_eq!(inside(&daemon, "dev", "stat -c %u:%g /proj/code; echo x > /proj/made"), "0:0");
    assert_eq!(fs::metadata(directory.join("made")).unwrap().uid(), 1007);
    holds(&daemon.coffer(["share", "dev", &directory.display().to_string()]).fails(), &["dev", "share-proj"]);
    holds(&daemon.coffer(["unshare", "dev", "/nothing"]).fails(), &["dev", "shared directory", "/nothing"]);
    daemon.coffer(["unshare", "dev", &directory.display().to_string()]).clean();
    assert_eq!(daemon.coffer(["config", "device", "list", "dev"]).clean().trim(), "");
}

#[test]
fn a_tilde_after_source_is_the_callers_home() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "dev");
    let home = daemon.scratch().join("proj");
    let _ = project(&daemon, 1000);
    let words = ["config", "device", "add", "dev", "src", "disk", "source=~/proj", "path=/src", "shift=true"];
    daemon.coffer(words).env("HOME", &daemon.scratch().display().to_string()).clean();
    assert_eq!(inside(&daemon, "dev", "stat -c %u:%g /src/code"), "1000:1000");
    assert_eq!(daemon.coffer(["config", "device", "get", "dev", "src", "source"]).clean().trim(), home.display().to_string());
}
