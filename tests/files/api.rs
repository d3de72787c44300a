//! The files API, header by header.

use crate::files::{ask, inside, put, refused};
use crate::setting::ready_daemon;

#[test]
fn files_directories_and_links_of_a_running_and_of_a_stopped_instance() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.create_instance("small", "c1");
    for running in [false, true] {
        if running {
            daemon.change_state("c1", "start");
        }
        let owner = [("X-LXD-uid", "1000"), ("X-LXD-gid", "2000"), ("X-LXD-mode", "0640"), ("X-LXD-type", "file")];
        let directory = [("X-LXD-type", "directory"), ("X-LXD-mode", "01755"), ("X-LXD-uid", "1000")];
        put(&daemon, "c1", "/root/made", &directory, b"");
        put(&daemon, "c1", "root/made/a", &owner, b"one\n");
        put(&daemon, "c1", "/root/made/a", &[("X-LXD-write", "append"), ("X-LXD-mode", "0777")], b"two\n");
        let answer = ask(&daemon, "GET", "c1", "/root/made/a", &[], b"");
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"one\ntwo\n".as_slice()));
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        // Whose it is and who may what stays as it was made.
        assert_eq!([header("x-lxd-uid"), header("x-lxd-gid"), header("x-lxd-mode")], ["1000", "2000", "0640"]);
        assert_eq!([header("x-lxd-type"), header("content-type")], ["file", "application/octet-stream"]);
        assert_eq!([header("content-length"), header("content-disposition")], ["8", "inline;filename=a"]);
        assert!(header("x-lxd-modified").ends_with("+0000 UTC"), "{}", header("x-lxd-modified"));

        put(&daemon, "c1", "/root/made/link", &[("X-LXD-type", "symlink")], b"../x/y");
        let answer = ask(&daemon, "GET", "c1", "/root/made/link", &[], b"");
        assert_eq!((answer.header("x-lxd-type"), answer.body.as_slice()), (Some("symlink"), b"/root/x/y".as_slice()));
        // The same once more is fine, another is not.
        put(&daemon, "c1", "/root/made/link", &[("X-LXD-type", "symlink")], b"../x/y");
        refused(&daemon, "POST", "c1", "/root/made/link", &[("X-LXD-type", "symlink")], 409);
        put(&daemon, "c1", "/root/made", &directory, b"");

        let answer = ask(&daemon, "GET", "c1", "/root/made", &[], b"");
        assert_eq!((answer.header("x-lxd-type"), answer.header("x-lxd-mode")), (Some("directory"), Some("1755")));
        assert_eq!(answer.json()["metadata"], serde_json::json!(["a", "link"]));
        let answer = ask(&daemon, "HEAD", "c1", "/root/made/a", &[], b"");
        assert_eq!((answer.status, answer.header("x-lxd-mode"), answer.body.len()), (200, Some("0640"), 0));
        if running {
            assert_eq!(
                inside(&daemon, "c1", "stat -c '%u %g %a %F' /root/made/a; cat /root/made/a"),
                "1000 2000 640 regular file\none\ntwo\n"
            );
            // What the kernel makes up has no size, but content.
            assert!(ask(&daemon, "GET", "c1", "/proc/cpuinfo", &[], b"").body.starts_with(b"processor"));
        }
        refused(&daemon, "DELETE", "c1", "/root/made", &[], 409);
        for path in ["/root/made/link", "/root/made/a", "/root/made"] {
            assert_eq!(ask(&daemon, "DELETE", "c1", path, &[], b"").status, 200, "{path}");
            refused(&daemon, "DELETE", "c1", path, &[], 404);
        }
    }
    daemon.coffer(["delete", "--force", "c1"]).ok();
    daemon.expect_nothing_since(&before);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    assert_eq!(refused(&daemon, "GET", "c1", "", &[], 400), "missing path argument");
    for (headers, text) in [
        ([("X-LXD-type", "fifo")], "X-LXD-type"),
        ([("X-LXD-write", "maybe")], "X-LXD-write"),
        ([("X-LXD-mode", "rw-r--r--")], "X-LXD-mode"),
        ([("X-LXD-uid", "root")], "X-LXD-uid"),
    ] {
        assert!(refused(&daemon, "POST", "c1", "/root/x", &headers, 400).contains(text));
    }
    assert!(refused(&daemon, "GET", "c1", "/root/x", &[], 404).contains("/root/x"));
    assert!(refused(&daemon, "POST", "c1", "/no/such/directory/x", &[], 404).contains("c1"));
    assert!(refused(&daemon, "GET", "nobody", "/root/x", &[], 404).contains("nobody"));
    refused(&daemon, "POST", "c1", "/etc", &[], 400);
    refused(&daemon, "GET", "c1", "/etc/passwd/x", &[], 400);
    // An id that the instance does not have.
    refused(&daemon, "POST", "c1", "/root/x", &[("X-LXD-uid", "70000")], 500);
    daemon.api().refused("GET", "/1.0/instances/c1/sftp", None, 400);
}

#[test]
fn a_large_file_goes_both_ways_unchanged() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let content: Vec<u8> = (0..=255_u8).cycle().take(65_521).collect::<Vec<_>>().into_iter().cycle().take(40 << 20).collect();
    put(&daemon, "c1", "/root/large", &[], &content);
    let answer = ask(&daemon, "GET", "c1", "/root/large", &[], b"");
    assert_eq!(answer.header("content-length"), Some(content.len().to_string().as_str()));
    assert!(answer.body == content, "{} bytes came back", answer.body.len());
    // Overwritten by less, nothing of the old is left.
    put(&daemon, "c1", "/root/large", &[], b"short");
    assert_eq!(ask(&daemon, "GET", "c1", "/root/large", &[], b"").body, b"short");
}
