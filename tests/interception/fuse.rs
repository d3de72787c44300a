//! `mount` by a FUSE program of the instance's: it is started where its caller is, with what its caller has.

use std::path::Path;

use coffer_testkit::Daemon;

use super::mount::{Disk, content, set};
use super::{refused, script};
use crate::setting::{holds, ready_daemon};

/// The genuine programs, the host's: an instance sees its `/usr`, as busybox has no libraries.
fn with_programs(programs: &[&str]) -> Option<Daemon> {
    if let Some(missing) = programs.iter().find(|program| !Path::new("/usr/bin").join(program).exists()) {
        coffer_testkit::skipped(&format!("{missing} is not installed"));
        return None;
    }
    let daemon = ready_daemon()?;
    daemon.create_instance("small", "c1");
    set(&daemon, "", "true");
    daemon.coffer(["config", "device", "add", "c1", "host", "disk", "source=/usr", "path=/host"]).ok();
    Some(daemon)
}

/// Starts the instance and has programs find their libraries.
fn start(daemon: &Daemon, programs: &[&str]) {
    daemon.change_state("c1", "start");
    script(
        daemon,
        "c1",
        &format!(
            "mkdir -p /lib /usr/local/bin && ln -s /host/lib/*-linux-gnu /host/lib/ld-linux* /lib/ 2>/dev/null; ln -s /host/lib64 /lib64; \
             for program in {}; do ln -s /host/bin/$program /usr/local/bin/; done",
            programs.join(" ")
        ),
    );
}

#[test]
fn genuine_programs_mount_what_they_are_for() {
    let programs = ["fuse2fs", "squashfuse"];
    let Some(mut daemon) = with_programs(&programs) else { return };
    let content = content(&daemon);
    let Some(ext4) = Disk::new("ext4", "ext4", &content, &daemon.scratch()) else { return };
    let Some(squashfs) = Disk::new("squashfs", "squashfs", &content, &daemon.scratch()) else { return };
    set(&daemon, ".fuse", "ext4=fuse2fs,squashfs=/usr/local/bin/squashfuse");
    ext4.give(&daemon, "c1", "ext4");
    squashfs.give(&daemon, "c1", "squashfs");
    start(&daemon, &programs);
    let mounted = script(
        &daemon,
        "c1",
        "mkdir /srv/s /srv/e && mount -t squashfs -o ro,nosuid,noexec /dev/squashfs /srv/s && cat /srv/s/file && grep ' /srv/s ' /proc/mounts",
    );
    holds(&mounted, &["from outside", " /srv/s fuse", "ro,nosuid,nodev,noexec"]);
    let mounted = script(
        &daemon,
        "c1",
        "mount -t ext4 /dev/ext4 /srv/e && cat /srv/e/file && echo inside > /srv/e/new && grep ' /srv/e ' /proc/mounts",
    );
    holds(&mounted, &["from outside", " /srv/e fuse"]);
    // Nodes on it are none, as the kernel has it of everything that is mounted inside.
    refused(&daemon, "c1", "cat /srv/e/null");
    // It is a process of the instance's as any other, and its end is the file system's.
    let compared = "for field in Uid Gid CapPrm CapEff CapBnd Seccomp Seccomp_filters; do \
                    one=$(grep \"^$field:\" /proc/self/status); other=$(grep \"^$field:\" /proc/$(pidof fuse2fs)/status); \
                    [ \"$one\" = \"$other\" ] || echo \"$one but $other\"; done; readlink /proc/self/ns/* | grep -v mnt > /tmp/one; \
                    readlink /proc/$(pidof fuse2fs)/ns/* | grep -v mnt | diff - /tmp/one && diff /proc/self/cgroup /proc/$(pidof fuse2fs)/cgroup";
    assert_eq!(script(&daemon, "c1", compared), "");
    let host = daemon.inside("cat", ["/proc/self/mountinfo"]).ok();
    assert!(!host.contains("fuse2fs") && !host.contains(&ext4.node) && !host.contains("/dev/ext4"), "{host}");
    script(&daemon, "c1", "umount /srv/e && umount /srv/s && [ ! -e /srv/e/file ]");
    // The monitor starts them, whatever the daemon does; what was written is on the device.
    daemon.kill9();
    daemon.launch();
    assert_eq!(
        script(&daemon, "c1", "mount -t ext4 -o ro /dev/ext4 /srv/e && cat /srv/e/new && ! touch /srv/e/no 2>/dev/null"),
        "inside\n"
    );
    script(&daemon, "c1", "umount /srv/e");
    // In a mount namespace of its own it is there alone.
    script(
        &daemon,
        "c1",
        "busybox unshare -m sh -c 'mount -t squashfs /dev/squashfs /srv/s && [ -e /srv/s/file ]' && [ ! -e /srv/s/file ]",
    );
    // What a program refuses is refused.
    holds(&refused(&daemon, "c1", "mount -t squashfs /dev/ext4 /srv/s"), &["Invalid argument"]);
    // It takes effect at once.
    set(&daemon, ".fuse", "ext4=fuse2fs");
    holds(&refused(&daemon, "c1", "mount -t squashfs /dev/squashfs /srv/s"), &["ermi"]);
    assert_eq!(script(&daemon, "c1", "grep -c ' /srv/. ' /proc/mounts; true").trim(), "0");
}

/// Makes a program inside of a script.
fn program(daemon: &Daemon, name: &str, text: &str) {
    script(daemon, "c1", &format!("mkdir -p /srv/m && cat > /srv/{name} <<'END' && chmod 755 /srv/{name}\n#!/bin/sh\n{text}\nEND"));
}

/// An instance in which each of these programs in `/srv` mounts the file system of its own name.
fn with_scripts(programs: &[(&str, &str)]) -> Option<Daemon> {
    let daemon = ready_daemon()?;
    daemon.create_instance("small", "c1");
    set(&daemon, "", "true");
    daemon.coffer(["config", "set", "c1", "security.syscalls.intercept.mknod=true"]).ok();
    let list: Vec<String> = programs.iter().map(|(name, _)| format!("{name}=/srv/{name}")).collect();
    set(&daemon, ".fuse", &list.join(","));
    daemon.change_state("c1", "start");
    programs.iter().for_each(|(name, text)| program(&daemon, name, text));
    Some(daemon)
}

#[test]
fn a_program_gets_what_its_caller_has_and_its_end_is_the_calls() {
    let said = "echo \"$@\" > /srv/said.txt; grep -E 'NoNewPrivs|CapEff' /proc/self/status >> /srv/said.txt; pwd >> /srv/said.txt; \
                echo \"$(readlink /proc/self/fd/0) $PATH\" >> /srv/said.txt";
    let Some(daemon) = with_scripts(&[("says", said), ("refuses", "exit 3"), ("dies", "kill -9 $$"), ("lost", "exit 0")]) else { return };
    script(&daemon, "c1", "cd /srv/m && mount -t says -o ro,nosuid,noexec,size=3,user=x source /srv/m");
    let told = script(&daemon, "c1", "cat /srv/said.txt; grep CapEff /proc/self/status");
    holds(&told, &["source /srv/m -o ro,nosuid,noexec,", "size=3", "NoNewPrivs:\t0", "\n/srv/m\n", "/dev/null /usr/local/sbin:"]);
    let capabilities: Vec<&str> = told.lines().filter(|line| line.starts_with("CapEff")).collect();
    assert!(capabilities.len() == 2 && capabilities[0] == capabilities[1], "{told}");
    script(&daemon, "c1", "busybox setpriv --nnp mount -t says none /srv/m");
    holds(&script(&daemon, "c1", "cat /srv/said.txt"), &["none /srv/m\n", "NoNewPrivs:\t1"]);
    holds(&refused(&daemon, "c1", "mount -t refuses none /srv/m"), &["Invalid argument"]);
    holds(&refused(&daemon, "c1", "mount -t dies none /srv/m"), &["Input/output error"]);
    script(&daemon, "c1", "rm /srv/lost");
    holds(&refused(&daemon, "c1", "mount -t lost none /srv/m"), &["No such device"]);
    // Programs are those of the caller's root.
    script(&daemon, "c1", "mkdir -p /srv/root/bin /srv/root/mnt && cp /bin/busybox /srv/root/bin");
    holds(&refused(&daemon, "c1", "busybox chroot /srv/root /bin/busybox mount -t says none /mnt"), &["No such device"]);
    // Nobody else has one started.
    script(&daemon, "c1", "rm /srv/said.txt");
    let user = daemon.coffer(["exec", "c1", "--user", "1000", "--", "mount", "-t", "says", "none", "/srv/m"]).run();
    assert_ne!(user.code, 0, "{user}");
    refused(&daemon, "c1", "busybox unshare -U -r -m mount -t says none /srv/m");
    script(&daemon, "c1", "[ ! -e /srv/said.txt ]");
    // Usual mounts, and programs' own, go on beside it.
    script(&daemon, "c1", "mount -t tmpfs none /srv/m && mount -o remount,ro none /srv/m && umount /srv/m");
}

#[test]
fn programs_that_hang_hold_nobody_else_up_and_end_with_their_callers() {
    let hangs = "exec 3>/srv/held; echo begun >&3; read line < /srv/never";
    let Some(daemon) = with_scripts(&[("hangs", hangs), ("mounts", "exec mount -t tmpfs none $2")]) else { return };
    // More of them than are waited for at a time.
    let hanging = "cd /srv && mkfifo held never && exec 4<>held && for i in 1 2 3 4 5 6; do mount -t hangs none /srv/m 4>&- & all=\"$! $all\"; done; \
                   for i in 1 2 3 4; do read line <&4; echo $line; done; mknod /srv/null c 1 3 && [ -c /srv/null ] && \
                   mount -t tmpfs none /srv/m && umount /srv/m && echo served; exec 5<held; exec 4>&-; kill -9 $all; wait; cat <&5 | grep -v begun; echo gone";
    assert_eq!(script(&daemon, "c1", hanging), "begun\nbegun\nbegun\nbegun\nserved\ngone\n");
    // Many at once, all of them done.
    let many = "for i in $(seq 1 20); do mount -t mounts none /srv/m & done; wait; grep -c ' /srv/m tmpfs' /proc/mounts; \
                while umount /srv/m 2>/dev/null; do :; done; grep -c ' /srv/m tmpfs' /proc/mounts; true";
    assert_eq!(script(&daemon, "c1", many).split_whitespace().collect::<Vec<_>>(), ["20", "0"]);
    // Callers that are killed as they come.
    script(
        &daemon,
        "c1",
        "for i in $(seq 1 30); do mount -t mounts none /srv/m & kill -9 $!; done; wait; mount -t mounts none /srv/m && grep -q ' /srv/m tmpfs' /proc/mounts",
    );
    // An instance stops whatever hangs in it.
    daemon
        .coffer([
            "exec",
            "c1",
            "--",
            "sh",
            "-c",
            "exec 4<>/srv/held; mount -t hangs none /srv/m 4>&- </dev/null >/dev/null 2>&1 & read line <&4",
        ])
        .ok();
    daemon.coffer(["stop", "--force", "c1"]).ok();
}

#[test]
fn bad_lists_of_programs_are_refused_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let key = "security.syscalls.intercept.mount.fuse";
    let put = |list: &str| daemon.coffer(["config", "set", "c1", &format!("{key}={list}")]);
    for (list, told) in [
        ("ext4", "ext4=fuse2fs"),
        ("ext4=fuse2fs -o x", "\"fuse2fs -o x\""),
        ("ext4=../fuse2fs", "\"../fuse2fs\""),
        ("fuse.sshfs=sshfs", "\"fuse.sshfs\""),
        ("ext4=a,ext4=b", "twice"),
    ] {
        holds(&put(list).fails(), &[key, told]);
    }
    // The kernel and a program cannot both.
    set(&daemon, ".allowed", "ext4");
    holds(&put("ext4=fuse2fs").fails(), &[key, "\"ext4\"", "security.syscalls.intercept.mount.allowed"]);
    put("squashfs=squashfuse").ok();
    daemon.coffer(["config", "set", "c1", "security.syscalls.intercept.mount.allowed=squashfs"]).fails();
}
