//! System calls that the monitor makes in the place of their caller: what is harmless is done, everything else is what it always was.

mod fuse;
mod mount;

use std::path::{Path, PathBuf};

use coffer_test_images::Release;
use coffer_testkit::{Daemon, images};

use crate::setting::{holds, ready_daemon};

/// Runs a script in an instance.
#[track_caller]
fn script(daemon: &Daemon, instance: &str, text: &str) -> String {
    daemon.coffer(["exec", instance, "--", "sh", "-c", text]).ok()
}

/// Runs a command in an instance that must fail, and returns what it says.
#[track_caller]
fn refused(daemon: &Daemon, instance: &str, text: &str) -> String {
    let done = daemon.coffer(["exec", instance, "--", "sh", "-c", text]).run();
    assert_ne!(done.code, 0, "{text}: {done}");
    done.to_string()
}

fn intercepting(calls: &[&str]) -> Option<Daemon> {
    let daemon = ready_daemon()?;
    daemon.create_instance("small", "c1");
    for call in calls {
        daemon.coffer(["config", "set", "c1", &format!("security.syscalls.intercept.{call}=true")]).ok();
    }
    daemon.change_state("c1", "start");
    Some(daemon)
}

#[test]
fn nodes_of_harmless_devices_are_made_and_no_others() {
    let Some(mut daemon) = intercepting(&["mknod"]) else { return };
    let made = script(
        &daemon,
        "c1",
        "mkdir /srv/dev && cd /srv/dev && mknod -m 666 null c 1 3 && mknod -m 666 zero c 1 5 && mknod full c 1 7 && mknod random c 1 8 && \
         mknod urandom c 1 9 && mknod -m 600 tty c 5 0 && mknod -m 600 console c 5 1 && mknod whiteout c 0 0 && \
         stat -c '%n %t:%T %u:%g %F' * && stat -c %a null tty && echo lost > null && head -c 3 zero | busybox od -An -tx1",
    );
    let nodes = ["console 5:1", "full 1:7", "null 1:3", "random 1:8", "tty 5:0", "urandom 1:9", "whiteout 0:0", "zero 1:5"];
    for node in nodes {
        holds(&made, &[&format!("{node} 0:0 character special file")]);
    }
    holds(&made, &["666\n600\n", "00 00 00"]);
    // The host's console stays the host's.
    holds(&refused(&daemon, "c1", "cat /srv/dev/console"), &["Operation not permitted"]);
    for other in ["b 8 0", "c 1 1", "c 1 2", "c 10 229", "c 5 2", "c 4 0", "b 1 3", "c 257 3"] {
        holds(&refused(&daemon, "c1", &format!("mknod /srv/dev/other {other}")), &["Operation not permitted"]);
    }
    // Who has no right to make nodes gets none by this, nor where the caller could not write.
    script(&daemon, "c1", "mkdir -m 777 /srv/open");
    let user = daemon.coffer(["exec", "c1", "--user", "1000", "--", "mknod", "/srv/open/null", "c", "1", "3"]).run();
    assert_ne!(user.code, 0, "{user}");
    script(&daemon, "c1", "[ ! -e /srv/open/null ] && mkdir -m 700 /srv/of && chown 1000 /srv/of && mknod /srv/of/null c 1 3");
    holds(&refused(&daemon, "c1", "mknod /proc/null c 1 3"), &["mknod"]);
    holds(&refused(&daemon, "c1", "mknod /srv/dev/null c 1 3"), &["File exists"]);
    // Without the key nothing is made.
    daemon.run_instance("small", "c2");
    holds(&refused(&daemon, "c2", "mknod /srv/null c 1 3"), &["Operation not permitted"]);
    // It is the monitor's work: a daemon that dies takes nothing from it.
    daemon.kill9();
    daemon.launch();
    script(&daemon, "c1", "mknod /srv/again c 1 3 && [ -c /srv/again ]");
}

#[test]
fn a_node_is_made_where_its_maker_means_it() {
    let Some(daemon) = intercepting(&["mknod"]) else { return };
    script(
        &daemon,
        "c1",
        "mkdir -p /srv/root/bin /srv/root/sub && cp /bin/busybox /srv/root/bin && ln -s /sub /srv/root/link && \
         busybox chroot /srv/root /bin/busybox mknod /link/null c 1 3 && [ -c /srv/root/sub/null ] && [ ! -e /sub ]",
    );
    script(&daemon, "c1", "busybox chroot /srv/root /bin/busybox mknod ../../../up c 1 3 && [ -c /srv/root/up ]");
    script(&daemon, "c1", "cd /srv && ln -s ../tmp there && mknod there/null c 1 3 && [ -c /tmp/null ]");
    script(&daemon, "c1", "cd /tmp && mkdir 'a b' && cd 'a b' && mknod ./null c 1 3 && [ -c '/tmp/a b/null' ]");
    script(&daemon, "c1", "umask 027 && mknod /srv/masked c 1 5 && [ $(stat -c %a /srv/masked) = 640 ]");
    // Links of /proc would be followed in the monitor's place.
    for magic in ["/proc/1/root/srv", "/proc/self/cwd", "/proc/self/root/srv", "/proc/thread-self/root/srv"] {
        holds(&refused(&daemon, "c1", &format!("mknod {magic}/magic c 1 3")), &["symbolic links"]);
    }
    for (path, said) in [("/srv/none/null", "No such file"), ("/srv/masked/null", "Not a directory"), ("/srv/slash/", "No such file")] {
        holds(&refused(&daemon, "c1", &format!("mknod {path} c 1 3")), &[said]);
    }
    // A read-only place stays so.
    let failed = refused(&daemon, "c1", "mount -t tmpfs none /mnt && mount -o remount,ro none /mnt && mknod /mnt/null c 1 3");
    holds(&failed, &["Read-only"]);
    // Many at once, and callers that are killed while they wait: all that live get their answer.
    let many = "mkdir /srv/many && cd /srv/many && for i in $(seq 1 120); do mknod $i c 1 3 & done; wait; ls | busybox wc -l; \
                for i in $(seq 1 40); do mknod k$i c 1 3 & kill -9 $! ; done; wait; mknod last c 1 3 && [ -c last ] && echo done";
    assert_eq!(script(&daemon, "c1", many).lines().map(str::trim).collect::<Vec<_>>(), ["120", "done"]);
}

#[test]
fn the_memory_that_is_told_is_the_instances() {
    let Some(daemon) = intercepting(&["sysinfo"]) else { return };
    // What busybox works out of this and of /proc/meminfo together is of no use; the first column is the call's.
    let total = |name: &str, kibibytes: u64| script(&daemon, name, &format!("busybox free | sed -n 's/^Mem: *\\({kibibytes}\\).*/\\1/p'"));
    daemon.run_instance("small", "c2");
    assert_eq!(total("c1", 80 << 10), "", "without a limit it is the host's");
    daemon.coffer(["config", "set", "c1", "limits.memory=80MiB"]).ok();
    daemon.coffer(["config", "set", "c2", "limits.memory=80MiB"]).ok();
    assert_eq!(total("c1", 80 << 10).trim(), "81920");
    assert_eq!(total("c2", 80 << 10), "", "it was not asked for there");
    holds(&script(&daemon, "c1", "busybox uptime"), &["up 0 min"]);
}

/// Makes a call by its number and prints its error number; Debian has perl, busybox has no program that makes these.
fn perl(call: &str) -> String {
    format!("perl -e '{call} == 0 ? print \"done\" : print $!+0'")
}

/// Sets an extended attribute. Perl hands over only what could be changed.
fn mark(file: &str, name: &str, value: &str, size: usize) -> String {
    format!("syscall(188, my $file = \"{file}\", my $name = \"{name}\", my $value = \"{value}\", {size}, 0)")
}

/// Gives the control groups on the way to an instance's some real time, where the kernel gives none to new ones.
fn give_real_time(daemon: &Daemon, instance: &str) {
    let pid = daemon.instance_state(instance)["pid"].as_u64().expect("it runs");
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
    let Some((_, path)) = groups.lines().find_map(|line| line.split_once(":cpu:")) else { return };
    let mut at = PathBuf::from("/sys/fs/cgroup/cpu");
    for part in Path::new(path).components().skip(1) {
        at.push(part);
        let budget = at.join("cpu.rt_runtime_us");
        if std::fs::read_to_string(&budget).is_ok_and(|now| now.trim() == "0") {
            std::fs::write(&budget, "20000").expect("there is real time to give");
        }
    }
}

#[test]
fn overlays_are_marked_and_real_time_is_given_within_bounds() {
    if images::debian(Release::Bookworm).is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    let image = images::debian(Release::Bookworm).expect("it was there");
    daemon.import(&image.unified, "deb");
    daemon.coffer(["init", "deb", "c1", "-c", "security.syscalls.intercept.setxattr=true"]).ok();
    daemon.coffer(["config", "set", "c1", "security.syscalls.intercept.sched_setscheduler=true"]).ok();
    daemon.coffer(["start", "c1"]).ok();
    let set = |file: &str, name: &str, value: &str, size: usize| script(&daemon, "c1", &perl(&mark(file, name, value, size)));
    script(
        &daemon,
        "c1",
        "mkdir -p /root/d && ln -sfn d /root/link && touch /root/file && mkdir -m 700 /root/other && chown 1000 /root/other",
    );
    for directory in ["/root/d", "/root/link", "/root/other"] {
        assert_eq!(set(directory, "trusted.overlay.opaque", "y", 1), "done", "{directory}");
    }
    let rootfs = daemon.state_seen().join("storage-pools/default/containers/c1/rootfs/root");
    for directory in ["d", "other"] {
        let seen =
            daemon.inside("getfattr", ["-n", "trusted.overlay.opaque", "--only-values", &rootfs.join(directory).display().to_string()]);
        assert_eq!(seen.ok(), "y", "{directory}");
    }
    // Everything else is between the caller and the kernel.
    assert_eq!(set("/root/d", "user.note", "hello", 5), "done");
    for (file, name, value, size) in [
        ("/root/d", "trusted.overlay.opaque", "n", 1),
        ("/root/d", "trusted.overlay.opaque", "yy", 2),
        ("/root/d", "trusted.overlay.redirect", "/", 1),
        ("/root/d", "trusted.other", "y", 1),
    ] {
        assert_eq!(set(file, name, value, size), "1", "{name}={value}");
    }
    assert_eq!(set("/root/file", "trusted.overlay.opaque", "y", 1), "20", "it is no directory");
    assert_eq!(set("/proc/self/root/root/d", "trusted.overlay.opaque", "y", 1), "40", "links of /proc lead nowhere");
    let user = perl(&mark("/tmp", "trusted.overlay.opaque", "y", 1));
    assert_eq!(daemon.coffer(["exec", "c1", "--user", "1000", "--", "sh", "-c", &user]).ok(), "1");

    give_real_time(&daemon, "c1");
    let class = |thread: &str, class: u32, priority: u32| {
        script(&daemon, "c1", &perl(&format!("syscall(144, {thread}, {class}, my $priority = pack(\"i\", {priority}))")))
    };
    assert_eq!(class("0", 1, 10), "done");
    assert_eq!(class("$$+0", 2, 49), "done");

    assert_eq!(class("0", 1, 50), "1", "the host's own threads come first");
    assert_eq!(class("0", 1, 0), "22");
    assert_eq!(class("99999", 1, 10), "3");
    let policy = "perl -e 'syscall(144, 0, 1, my $priority = pack(\"i\", 7)); open F, \"/proc/self/stat\"; print((split \" \", <F>)[40])'";
    assert_eq!(script(&daemon, "c1", policy), "1", "it is of the class that it asked for");
    let user = perl("syscall(144, 0, 1, my $priority = pack(\"i\", 10))");
    assert_eq!(daemon.coffer(["exec", "c1", "--user", "1000", "--", "sh", "-c", &user]).ok(), "1");
}

#[test]
fn what_is_not_intercepted_is_refused_with_its_reason() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    for (key, value, reason) in [("bpf", "true", "unix-char"), ("bpf.devices", "true", "unix-char")] {
        let key = format!("security.syscalls.intercept.{key}");
        holds(&daemon.coffer(["config", "set", "c1", &format!("{key}={value}")]).fails(), &[&key, reason]);
    }
}
