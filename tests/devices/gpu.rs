//! `gpu`: cards by what the kernel says of them, and devices by their CDI names. This host has neither: the kernel's tree of
//! cards and the specifications are the test's own, the nodes in them real ones.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use super::{add, inside, refused, remove};
use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Puts cards into what the daemon sees of the kernel: one of a vendor with two nodes, one of another with one.
fn cards(daemon: &Daemon) {
    let seen = daemon.scratch().join("sysfs");
    std::fs::create_dir(&seen).expect("a directory for a whole sysfs");
    // The kernel lets an instance have a sysfs only where a whole one is in sight.
    daemon.inside("mount", ["-t", "sysfs", "none", &seen.to_string_lossy()]).clean();
    let script = "
        mount -t tmpfs none /sys/class
        card() { # device vendor product node number
            mkdir -p /sys/class/fake/$1/drm/$4 /sys/class/drm
            echo 0x$2 > /sys/class/fake/$1/vendor; echo 0x$3 > /sys/class/fake/$1/device
            echo $5 > /sys/class/fake/$1/drm/$4/dev
            ln -s ../.. /sys/class/fake/$1/drm/$4/device
            ln -s ../fake/$1/drm/$4 /sys/class/drm/$4
        }
        card 0000:01:00.0 10de 1c03 card0 1:3
        card 0000:01:00.0 10de 1c03 renderD128 1:5
        card 0000:02:00.0 1002 67df card1 1:7";
    daemon.inside("sh", ["-e", "-c", script]).clean();
}

/// Puts a specification where the host's are.
fn specification(daemon: &Daemon, text: &Value) {
    let script = "mountpoint -q /run || mount -t tmpfs none /run; mkdir -p /run/cdi; cat > /run/cdi/test.json";
    daemon.inside("sh", ["-e", "-c", script]).input(text.to_string()).clean();
}

const NODES: &str = "ls /dev/dri 2>/dev/null | tr '\\n' ' '";

#[test]
fn cards_are_chosen_by_number_address_and_vendor() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    cards(&daemon);
    daemon.run_instance("small", "c1");
    daemon.lxc(["config", "device", "add", "c1", "gpu0", "gpu", "id=0", "gid=44", "mode=0666"]).clean();
    assert_eq!(inside(&daemon, "c1", NODES), "card0 renderD128");
    assert_eq!(inside(&daemon, "c1", "stat -c '%F %u:%g %a %t:%T' /dev/dri/renderD128"), "character special file 0:44 666 1:5");
    assert_eq!(inside(&daemon, "c1", "head -c 4 /dev/dri/renderD128 | od -An -tx1"), "00 00 00 00");
    daemon.change_state("c1", "restart");
    assert_eq!(inside(&daemon, "c1", NODES), "card0 renderD128");
    daemon.lxc(["config", "device", "remove", "c1", "gpu0"]).clean();
    assert_eq!(inside(&daemon, "c1", NODES), "");
    for (keys, expect) in [
        (json!({"type": "gpu", "pci": "0000:02:00.0"}), "card1"),
        (json!({"type": "gpu", "vendorid": "10de", "productid": "1C03"}), "card0 renderD128"),
        (json!({"type": "gpu", "gputype": "physical"}), "card0 card1 renderD128"),
    ] {
        add(&daemon, "c1", "gpu", &keys);
        assert_eq!(inside(&daemon, "c1", NODES), expect, "{keys}");
        remove(&daemon, "c1", "gpu");
    }
    let text = refused(&daemon, "c1", &json!({"type": "gpu", "id": "7"}));
    holds(&text, &["device dev", "no such graphics card among its 2", "info --resources"]);
}

#[test]
fn a_cdi_device_is_nodes_files_links_and_variables() {
    let Some(mut daemon) = ready_daemon() else { return };
    let driver = daemon.scratch().join("driver");
    std::fs::create_dir(&driver).expect("a directory of the host");
    std::fs::write(driver.join("libtest.so.1"), "library").expect("a file of the host");
    let edits = json!({
        "env": ["TEST_GPU=zero"],
        "deviceNodes": [{"path": "/dev/test/gpu0", "hostPath": "/dev/zero", "permissions": "rw", "fileMode": 438}],
    });
    let text = json!({
        "cdiVersion": "0.6.0",
        "kind": "example.com/gpu",
        "devices": [{"name": "0", "containerEdits": edits}],
        "containerEdits": {
            "env": ["TEST_ALL=yes"],
            "deviceNodes": [{"path": "/dev/testctl", "hostPath": "/dev/null"}],
            "mounts": [{"hostPath": driver.join("libtest.so.1"), "containerPath": "/opt/gpu/libtest.so.1", "options": ["ro", "nosuid", "bind"]}],
            "hooks": [
                {"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
                 "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "libtest.so.1::/opt/gpu/libtest.so"]},
                {"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
                 "args": ["nvidia-cdi-hook", "update-ldcache", "--folder", "/opt/gpu"]},
            ],
        },
    });
    specification(&daemon, &text);
    let look = |daemon: &Daemon| {
        let script = "head -c 2 /dev/test/gpu0 | od -An -tx1; cat /opt/gpu/libtest.so; echo; echo $TEST_GPU $TEST_ALL; \
                      stat -c '%a %t:%T' /dev/test/gpu0 /dev/testctl; (echo x > /opt/gpu/libtest.so.1) 2>/dev/null || echo read-only";
        inside(daemon, "c1", script)
    };
    const THERE: &str = "00 00\nlibrary\nzero yes\n666 1:5\n666 1:3\nread-only";
    let gone = |daemon: &Daemon| {
        let script = "ls /dev/test/gpu0 /dev/testctl /opt/gpu/libtest.so 2>/dev/null; cat /opt/gpu/libtest.so.1; echo \"<$TEST_GPU>\"";
        assert_eq!(inside(daemon, "c1", script), "<>");
    };
    // While it runs.
    daemon.run_instance("small", "c1");
    add(&daemon, "c1", "gpu", &json!({"type": "gpu", "id": "example.com/gpu=0"}));
    assert_eq!(look(&daemon), THERE);
    // Another daemon knows what it was given, even after the specification has gone.
    daemon.restart();
    assert_eq!(look(&daemon), THERE);
    daemon.inside("rm", ["/run/cdi/test.json"]).clean();
    remove(&daemon, "c1", "gpu");
    gone(&daemon);
    // From its start, init included.
    specification(&daemon, &text);
    daemon.change_state("c1", "stop");
    add(&daemon, "c1", "gpu", &json!({"type": "gpu", "id": "example.com/gpu=0", "mode": "0666"}));
    daemon.change_state("c1", "start");
    assert_eq!(look(&daemon), THERE);
    holds(&inside(&daemon, "c1", "tr '\\0' ' ' < /proc/1/environ"), &["TEST_GPU=zero", "TEST_ALL=yes"]);
    remove(&daemon, "c1", "gpu");
    gone(&daemon);
    // The library of the host is as it was.
    assert_eq!(std::fs::read_to_string(driver.join("libtest.so.1")).unwrap(), "library");
}

#[test]
fn a_hostile_root_cannot_lead_a_cdi_device_outside() {
    let Some(daemon) = ready_daemon() else { return };
    let bait = daemon.scratch().join("bait");
    std::fs::create_dir(&bait).expect("a directory of the host");
    let edits = |link: &str| {
        json!({"hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
                          "args": ["nvidia-cdi-hook", "create-symlinks", "--link", format!("x::{link}")]}]})
    };
    let of =
        |link: &str| json!({"cdiVersion": "0.6.0", "kind": "example.com/gpu", "devices": [{"name": "0", "containerEdits": edits(link)}]});
    daemon.run_instance("small", "c1");
    inside(&daemon, "c1", &format!("ln -s {} /opt", bait.display()));
    specification(&daemon, &of("/opt/libx.so"));
    // The link leads to where that path is inside, or nowhere: never to the host's.
    let keys = json!({"devices": {"gpu": {"type": "gpu", "id": "example.com/gpu=0"}}});
    let _ = daemon.api().request("PATCH", "/1.0/instances/c1", Some(&keys)).expect("an answer");
    daemon.change_state("c1", "stop");
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&keys));
    let body = json!({"action": "start", "timeout": 30});
    let _ = daemon.api().request("PUT", "/1.0/instances/c1/state", Some(&body)).expect("an answer");
    assert_eq!(std::fs::read_dir(&bait).expect("the bait").count(), 0, "something was written to the host");
}

#[test]
fn what_a_gpu_cannot_be_is_said() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    for (keys, words) in [
        (json!({"type": "gpu", "id": "example.com/gpu=9"}), ["example.com/gpu=9", "/etc/cdi", "nvidia-ctk cdi generate"]),
        (json!({"type": "gpu", "gputype": "mdev"}), ["gputype", "mdev", "virtual machines"]),
        (json!({"type": "gpu", "gputype": "mig", "mig.uuid": "x"}), ["mig.uuid", "not supported", "CDI"]),
        (json!({"type": "gpu", "gputype": "sriov"}), ["gputype", "sriov", "virtual machines"]),
    ] {
        holds(&refused(&daemon, "c1", &keys), &words);
    }
    let text = daemon.api().refused("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"nvidia.runtime": "true"}})), 400);
    holds(&text, &["nvidia.runtime", "CDI", "id=nvidia.com/gpu=all"]);
    // A program that a specification names is not run, and nothing of the device stays.
    let hook = json!({"hookName": "prestart", "path": "/bin/touch", "args": ["touch", daemon.scratch().join("ran")]});
    let nodes = json!([{"path": "/dev/first", "hostPath": "/dev/null"}]);
    let edits = json!({"deviceNodes": nodes, "hooks": [hook]});
    specification(&daemon, &json!({"cdiVersion": "0.6.0", "kind": "a.b/c", "devices": [{"name": "x", "containerEdits": edits}]}));
    holds(&refused(&daemon, "c1", &json!({"type": "gpu", "id": "a.b/c=x"})), &["hook /bin/touch is not run"]);
    assert!(!daemon.scratch().join("ran").exists());
    assert_eq!(inside(&daemon, "c1", "ls /dev/first 2>/dev/null; true"), "");
}
