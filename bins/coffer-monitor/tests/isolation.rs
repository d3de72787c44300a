//! What a hostile root file system or root inside tries, and what can be changed while an instance runs.

#![allow(clippy::unwrap_used, reason = "a test fails that way")]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use coffer_runtime_spec::{
    Action, Address, Answer, CreateTarget, Device, DeviceKind, Mount, MountSource, Nic, RefusalKind, Request, Rlimit, Route, Seccomp,
    SeccompRule, Signal, Source, Veth,
};
use support::{Place, Running, command};

fn mount(source: MountSource, target: &str) -> Mount {
    Mount {
        source,
        target: target.into(),
        readonly: false,
        nosuid: false,
        nodev: false,
        noexec: false,
        recursive: false,
        owner: None,
        idmapped: true,
        propagation: Default::default(),
        create: CreateTarget::Matching,
        optional: false,
    }
}

fn of_host(path: impl AsRef<Path>, target: &str) -> Mount {
    mount(MountSource::Host(Source::Path(path.as_ref().to_owned())), target)
}

/// CVE-2015-1335, CVE-2019-19921 and their like: the image chooses where our mounts land.
#[test]
fn images_with_links_for_mount_points_are_refused() {
    let check = |name: &str, target: &str, expect: &str| {
        let place = Place::idle();
        std::fs::remove_dir(place.root().join(name)).unwrap();
        symlink(target, place.root().join(name)).unwrap();
        place.check_refused(expect);
        assert!(std::fs::read_dir(place.root().join("tmp")).unwrap().next().is_none());
    };
    let text = |stage: &str, name: &str| {
        format!(
            "{stage}: /{name} in the root file system is no directory that can be mounted on: Too many levels of symbolic links (os error 40)"
        )
    };
    check("proc", "/tmp", &text("mounting /proc", "proc"));
    check("dev", "/proc", &text("making /dev", "dev"));
    check("sys", "..", &text("mounting /sys", "sys"));
    let place = Place::idle();
    std::fs::remove_dir(place.root().join("proc")).unwrap();
    std::fs::write(place.root().join("proc"), "").unwrap();
    place.check_refused(
        "mounting /proc: /proc in the root file system is no directory that can be mounted on: Not a directory (os error 20)",
    );
}

#[test]
fn mount_targets_over_links_are_refused() {
    let mut place = Place::idle();
    symlink("/etc", place.root().join("mnt/link")).unwrap();
    place.spec.mounts = vec![of_host("/usr/share", "/mnt/link/inside")];
    place.check_refused("attaching mounts: mounting at /mnt/link/inside: Too many levels of symbolic links (os error 40)");
    for target in ["/", "/proc", "/./sys/", "/dev", "/mnt/../proc"] {
        place.spec.mounts = vec![of_host("/usr/share", target)];
        let expect = format!("opening what the spec names: opening the source of the mount for {target}: Invalid argument (os error 22)");
        place.check_refused(&expect);
    }
}

#[test]
fn missing_mount_points_are_made() {
    let place = Place::idle();
    for name in ["proc", "dev", "sys"] {
        std::fs::remove_dir(place.root().join(name)).unwrap();
    }
    let mut running = place.start();
    assert_eq!(running.sh("stat -c '%u %F' /proc /dev/null /sys/class"), "65534 directory\n0 character special file\n65534 directory\n");
    place.kill(running);
    // A directory made by the start belongs to root inside, who is root on disk because of the mapping.
    assert_eq!(std::fs::metadata(place.root().join("proc")).unwrap().uid(), 0);
}

#[test]
fn read_only_stays_read_only() {
    let mut place = Place::idle();
    let shared = place.dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("file"), "kept").unwrap();
    let file = place.dir.path().join("one-file");
    std::fs::write(&file, "kept").unwrap();
    place.spec.mounts = vec![
        Mount { readonly: true, nosuid: true, ..of_host(&shared, "/mnt/ro") },
        of_host(&shared, "/mnt/rw"),
        Mount { readonly: true, ..of_host(&file, "/mnt/file") },
        mount(MountSource::Filesystem { kind: "tmpfs".into(), options: [("size".into(), "64k".into())].into() }, "/mnt/fresh"),
    ];
    let mut running = place.start();
    let inside = "echo x > /mnt/ro/file; mount -o remount,rw,bind /mnt/ro; mount -o remount,suid,ro,bind /mnt/ro; \
                  mount -o remount,rw,bind /mnt/file; echo x > /mnt/ro/file; echo x > /mnt/file; unshare -m mount -o remount,rw,bind /mnt/ro";
    let said = running.sh(inside);
    assert_eq!(said.matches("Read-only file system").count(), 3, "{said}");
    assert_eq!(said.matches("ermission denied").count() + said.matches("not permitted").count(), 4, "{said}");
    assert_eq!(
        running.sh("echo y > /mnt/rw/new; stat -c %u /mnt/rw/new; cat /mnt/ro/new; echo z > /mnt/fresh/z; cat /mnt/fresh/z"),
        "0\ny\nz\n"
    );
    place.kill(running);
    assert_eq!(std::fs::metadata(shared.join("new")).unwrap().uid(), 0);
    assert_eq!(std::fs::read_to_string(shared.join("file")).unwrap(), "kept");
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let mut place = Place::idle();
    place.spec.root.readonly = true;
    let mut running = place.start();
    assert!(running.sh("touch /x").contains("Read-only file system"));
    place.kill(running);
}

#[test]
fn mounts_come_and_go_while_it_runs() {
    let place = Place::idle();
    let shared = place.dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("file"), "kept").unwrap();
    let mut running = place.start();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let request = |readonly| Request::AttachMount { mount: Box::new(Mount { readonly, ..of_host(&shared, "/opt/a/b") }) };
    running.ask(request(false)).unwrap();
    assert_eq!(running.sh("cat /opt/a/b/file; touch /opt/a/b/new; stat -c ' %u' /opt/a/b/new"), "kept 0\n");
    running.ask(Request::DetachMount { target: "/opt/a/b".into() }).unwrap();
    assert_eq!(running.sh("ls /opt/a/b"), "");
    running.ask(request(true)).unwrap();
    assert!(running.sh("mount -o remount,rw,bind /opt/a/b; touch /opt/a/b/x").contains("Read-only file system"));
    running.ask(Request::DetachMount { target: "/opt/a/b".into() }).unwrap();
    let refusal = running.ask(Request::DetachMount { target: "/opt/a/b".into() }).unwrap_err();
    assert_eq!(refusal.to_string(), "attaching mounts: unmounting /opt/a/b: Invalid argument (os error 22)");
    symlink("/tmp", place.root().join("opt/link")).unwrap();
    let refusal = running.ask(Request::AttachMount { mount: Box::new(of_host(&shared, "/opt/link/x")) }).unwrap_err();
    assert_eq!(refusal.to_string(), "attaching mounts: mounting at /opt/link/x: Too many levels of symbolic links (os error 40)");
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), before);
    place.kill(running);
}

#[test]
fn devices_are_those_of_the_spec() {
    let mut place = Place::idle();
    let kmsg = Device { path: "/dev/log/kmsg".into(), kind: DeviceKind::Char, major: 1, minor: 11, mode: 0o640, uid: 5, gid: 6 };
    place.spec.devices = vec![kmsg.clone()];
    let mut running = place.start();
    assert_eq!(running.sh("stat -c '%F %t:%T %a %u %g' /dev/log/kmsg"), "character special file 1:b 640 5 6\n");
    assert_eq!(
        running
            .sh("for i in null zero full random urandom tty; do stat -c '%F %a %u' /dev/$i; done | grep -c 'character special file 666 0'"),
        "6\n"
    );
    assert!(running.sh("mknod /tmp/sda b 8 0").contains("Operation not permitted"));
    // Loop devices exist on most hosts; nobody inside may open one that the spec does not name.
    let zero = Device { path: "/dev/more".into(), kind: DeviceKind::Char, major: 1, minor: 5, mode: 0o666, uid: 0, gid: 0 };
    running.ask(Request::AttachDevice { device: zero.clone() }).unwrap();
    assert_eq!(running.sh("head -c 3 /dev/more | wc -c"), "3\n");
    running.ask(Request::AttachDevice { device: zero.clone() }).unwrap();
    let other = Device { minor: 8, ..zero.clone() };
    assert!(running.ask(Request::AttachDevice { device: other }).is_err(), "its place is taken");
    running.ask(Request::DetachDevice { path: zero.path }).unwrap();
    assert!(running.sh("cat /dev/more").contains("No such file or directory"));
    let elsewhere = Device { path: "/tmp/x".into(), ..kmsg };
    assert_eq!(
        running.ask(Request::AttachDevice { device: elsewhere }).unwrap_err().text,
        "making device /tmp/x: Invalid argument (os error 22)"
    );
    place.kill(running);
}

#[test]
fn forbidden_devices_cannot_be_opened_even_by_root_of_the_host() {
    let mut place = Place::idle();
    place.spec.idmap = coffer_runtime_spec::IdMap::Privileged;
    let mut running = place.start();
    assert_eq!(running.sh("mknod /tmp/null c 1 3 && echo x > /tmp/null && echo fine"), "fine\n");
    let said = running.sh("mknod /tmp/mem c 1 1; cat /tmp/mem; mknod /tmp/kmsg c 1 11; echo x > /tmp/kmsg");
    assert_eq!(said.matches("Operation not permitted").count(), 2, "{said}");
    let kmsg = Device { path: "/dev/kmsg".into(), kind: DeviceKind::Char, major: 1, minor: 11, mode: 0o600, uid: 0, gid: 0 };
    running.ask(Request::AttachDevice { device: kmsg.clone() }).unwrap();
    assert_eq!(running.sh("test -w /dev/kmsg && true < /dev/kmsg && echo open"), "open\n");
    running.ask(Request::DetachDevice { path: kmsg.path }).unwrap();
    assert!(running.sh("true < /tmp/kmsg").contains("Operation not permitted"));
    place.kill(running);
}

/// Only the three standard streams, no capability that could be inherited, a filter, no way to what is the host's.
#[test]
fn what_runs_inside_has_nothing_of_the_host() {
    let place = Place::idle();
    let mut running = place.start();
    assert_eq!(running.sh("ls /proc/1/fd | tr '\\n' ' '"), "0 1 2 ");
    let own = running.run(&["ls", "/proc/self/fd"]).output;
    assert_eq!(own, "0\n1\n2\n3\n", "the fourth is the directory that ls reads");
    let status = "grep -E 'Cap(Inh|Amb|Bnd)|Seccomp:|NoNewPrivs' /proc/1/status /proc/self/status | cut -d : -f 2- | tr -d '\\t'";
    let expect = "CapInh:0000000000000000\nCapBnd:DROPPED\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n";
    let shown = running.sh(status);
    let bounding = shown.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().to_owned();
    assert_eq!(shown, expect.replace("DROPPED", &bounding).repeat(2));
    // mac_admin, mac_override, sys_module, sys_rawio, sys_time
    let bounding = u64::from_str_radix(&bounding, 16).unwrap();
    assert_eq!(bounding & (1 << 33 | 1 << 32 | 1 << 16 | 1 << 17 | 1 << 25), 0);
    let writes = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/devices/devices.allow",
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/unified/cgroup.freeze",
    ];
    for path in writes {
        let said = running.sh(&format!("echo 1 > {path}"));
        assert!(said.contains("can't create") || said.contains("write error"), "{path}: {said}");
    }
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"] {
        let said = running.sh(&format!("cat {path} 2>&1 | wc -c; cat {path}"));
        assert!(said.starts_with("0\n") || said.contains("No such file"), "{path}: {said}");
    }
    assert_eq!(running.sh("ls /sys/firmware /sys/kernel/slab 2>/dev/null | grep -v :").trim(), "");
    // CVE-2022-0492: a version 1 hierarchy of its own.
    let said = running.sh("mkdir /tmp/cg; unshare -m mount -t cgroup -o rdma cgroup /tmp/cg; mount -t cgroup -o none,name=mine x /tmp/cg");
    assert_eq!(
        said.matches("ermission denied").count() + said.matches("not permitted").count() + said.matches("failed").count(),
        2,
        "{said}"
    );
    // Its control group is all it sees.
    assert_eq!(running.sh("cut -d : -f 3 /proc/self/cgroup | grep -vc '^/$'"), "0\n");
    place.kill(running);
}

#[test]
fn mounts_inside_are_not_seen_outside() {
    let place = Place::idle();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut running = place.start();
    running.sh("mount -t tmpfs x /mnt; mkdir /mnt/y; mount -t tmpfs y /mnt/y; umount /dev/shm");
    let ours = |text: &str| text.lines().filter(|line| line.contains(place.dir.path().to_str().unwrap())).count();
    assert_eq!(ours(&std::fs::read_to_string("/proc/self/mountinfo").unwrap()), ours(&before));
    place.kill(running);
}

#[test]
fn rules_limits_and_parameters_of_the_spec_hold() {
    let mut place = Place::idle();
    let rule = SeccompRule { call: "mkdir".into(), action: Action::Errno(121) };
    let other = SeccompRule { call: "mkdirat".into(), action: Action::Errno(121) };
    place.spec.security.seccomp = Seccomp::Default { rules: vec![rule, other], native_only: false };
    place.spec.security.no_new_privs = true;
    place.spec.security.drop_capabilities = Some(vec!["sys_chroot".parse().unwrap()]);
    place.spec.rlimits = vec![Rlimit { resource: "nofile".into(), soft: Some(77), hard: Some(99) }];
    place.spec.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    let mut running = place.start();
    assert!(running.sh("mkdir /tmp/x").contains("Remote I/O error"));
    assert!(running.sh("chroot / /bin/true").contains("Operation not permitted"));
    assert_eq!(running.sh("ulimit -n; ulimit -H -n; cat /proc/sys/net/ipv4/ip_forward"), "77\n99\n1\n");
    assert_eq!(running.sh("grep NoNewPrivs /proc/self/status | cut -f 2"), "1\n");
    place.kill(running);
    place.spec.rlimits = vec![Rlimit { resource: "colour".into(), soft: None, hard: None }];
    place.check_refused("setting resource limits: unknown resource colour");
}

#[test]
fn nesting_keeps_a_complete_proc_and_sys_in_sight() {
    let mut place = Place::idle();
    place.spec.security.nesting = true;
    let mut running = place.start();
    assert_eq!(running.sh("cat /dev/.lxc/proc/1/comm; ls -d /dev/.lxc/sys/class"), "sh\n/dev/.lxc/sys/class\n");
    // Another user namespace inside may mount its own.
    let said = running.sh("unshare -Ufmpnr sh -c 'mount -t proc x /proc && mount -t sysfs x /sys && cat /proc/1/comm'");
    assert_eq!(said, "cat\n");
    place.kill(running);
}

#[test]
fn the_time_namespace_has_its_offset() {
    let mut place = Place::idle();
    place.spec.time = Some(coffer_runtime_spec::TimeOffsets { monotonic: 0, boottime: 100_000_000 });
    let mut running = place.start();
    for line in ["cut -d . -f 1 /proc/uptime", "tr '.' ' ' < /proc/uptime | cut -d ' ' -f 1"] {
        let seconds: u64 = running.sh(line).trim().parse().unwrap();
        assert!(seconds > 100_000_000, "{seconds}");
    }
    place.kill(running);
}

#[test]
fn handles_reach_the_instances_root_with_its_ids() {
    let place = Place::idle();
    let mut running = place.start();
    let (Answer::Handles(handles), fds) = running.client.call(Request::Handles, &[]).unwrap() else { panic!("no handles") };
    let [pidfd, _net, _user, root] = <[OwnedFd; 4]>::try_from(fds).unwrap();
    assert_eq!(running.status().pid, handles.pid);
    coffer_sys::process::signal(pidfd.as_fd(), 0).unwrap();
    let root = coffer_sys::path::Root::from_fd(root);
    assert_eq!(root.read("/proc/1/comm", 100).unwrap(), b"sh\n");
    running.sh("echo tmpfs > /dev/shm/x");
    assert_eq!(root.read("/dev/shm/x", 100).unwrap(), b"tmpfs\n");
    drop((pidfd, root));
    place.kill(running);
}

/// Everything about networks happens in a namespace of this test's own.
#[test]
fn interfaces_move_in_and_out() {
    let thread = std::thread::spawn(|| {
        if let Err(error) = coffer_sys::ns::unshare(coffer_sys::ns::Namespaces::NET) {
            return println!("skipped: no network namespace of our own: {error}");
        }
        let ip = |line: &str| {
            let done = Command::new("ip").args(line.split_whitespace()).output().unwrap();
            assert!(done.status.success(), "ip {line}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        ip("link add outer0 type veth peer name inner0");
        ip("link add outer1 type veth peer name inner1");
        ip("addr add 10.77.0.1/24 dev outer0");
        ip("link set outer0 up");
        let mut place = Place::idle();
        let nic = |host_name: &str, name: &str| Nic {
            host_name: host_name.into(),
            name: name.into(),
            over: None,
            veth: None,
            hwaddr: None,
            mtu: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            up: true,
            give_back: false,
        };
        place.spec.nics = vec![Nic {
            hwaddr: Some("00:16:3e:11:22:33".into()),
            mtu: Some(1300),
            addresses: vec![Address { address: "10.77.0.2".parse().unwrap(), prefix: 24 }],
            routes: vec![Route { destination: None, gateway: Some("10.77.0.1".parse().unwrap()) }],
            ..nic("inner0", "eth0")
        }];
        let mut running = place.start();
        let shown = running
            .sh("cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; ip route; ping -c 1 -W 5 10.77.0.1 > /dev/null && echo answered");
        let expect =
            "00:16:3e:11:22:33\n1300\ndefault via 10.77.0.1 dev eth0 \n10.77.0.0/24 dev eth0 scope link  src 10.77.0.2 \nanswered\n";
        assert_eq!(shown, expect);
        running.ask(Request::AttachNic { nic: Nic { give_back: true, ..nic("inner1", "eth1") } }).unwrap();
        assert!(running.sh("ls /sys/class/net").contains("eth1"));
        let refusal = running.ask(Request::AttachNic { nic: nic("nowhere", "eth2") }).unwrap_err();
        assert_eq!(refusal.to_string(), "setting up the network: moving link nowhere in as eth2: No such device (os error 19)");
        running.ask(Request::DetachNic { name: "eth0".into(), host_name: Some("back0".into()) }).unwrap();
        ip("link show back0");
        let refusal = running.ask(Request::DetachNic { name: "eth0".into(), host_name: None }).unwrap_err();
        assert_eq!((refusal.kind, refusal.text.as_str()), (RefusalKind::NotFound, "there is no interface eth0 inside"));
        place.kill(running);
        // A new pair: one end inside, the other a port of a bridge, both gone with the instance.
        ip("link add br77 type bridge");
        let hwaddr = Some("00:16:3e:11:22:44".to_owned());
        place.spec.nics =
            vec![Nic { veth: Some(Veth { bridge: Some("br77".into()), ..Veth::default() }), hwaddr, ..nic("outer7", "eth0") }];
        let mut running = place.start();
        assert_eq!(running.sh("ls /sys/class/net"), "eth0\nlo\n");
        assert!(ip("link show outer7").contains("master br77"));
        place.kill(running);
        // The one that belongs to the host came back by itself.
        ip("link show inner1");
        place.spec.nics = vec![nic("nowhere", "eth0")];
        place.check_refused("setting up the network: moving link nowhere in as eth0: No such device (os error 19)");
    });
    thread.join().unwrap();
}

/// CVE-2019-5736: whoever joins must not be a file that root inside can write.
#[test]
fn the_monitor_cannot_be_reached_from_inside() {
    let place = Place::idle();
    let mut running = place.start();
    std::fs::write(place.root().join("bin/trap"), "#!/proc/self/exe\n").unwrap();
    running.sh("chmod 755 /bin/trap");
    let refusal = running.exec(command(&["/bin/trap"]));
    if let Ok((id, fds)) = refusal {
        drop(fds);
        running.wait(id);
    }
    // Nothing in its process namespace is the monitor.
    let said = running.sh("for i in /proc/[0-9]*; do readlink $i/exe; done | grep -v busybox");
    assert_eq!(said, "");
    place.kill(running);
}

#[test]
fn two_instances_share_no_id() {
    let (one, other) = (Place::idle(), Place::idle());
    let (mut first, mut second): (Running, Running) = (one.start(), other.start());
    let map = |running: &mut Running| running.sh("tr -s ' ' < /proc/self/uid_map");
    let (a, b) = (map(&mut first), map(&mut second));
    assert_ne!(a, b);
    for text in [a, b] {
        let host: u32 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(host >= 100_000);
    }
    let owner = |running: &mut Running| std::fs::metadata(format!("/proc/{}", running.status().pid)).unwrap().uid();
    assert_ne!(owner(&mut first), owner(&mut second));
    first.ask(Request::Kill { signal: Signal::KILL }).unwrap();
    one.end(first, coffer_runtime_spec::ExitReason::Signal(Signal::KILL));
    other.kill(second);
}
