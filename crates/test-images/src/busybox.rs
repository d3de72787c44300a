//! The small image: one static program that is everything.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::cache::write_metadata;
use crate::tool::{ImageError, at, run};

/// The applets that get a link of their own; the rest is reached as `busybox NAME`.
const APPLETS: &[&str] = &[
    "ash",
    "awk",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "getty",
    "grep",
    "halt",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "killall",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mknod",
    "mkfifo",
    "mount",
    "mv",
    "nc",
    "nslookup",
    "pidof",
    "ping",
    "poweroff",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "reboot",
    "rm",
    "rmdir",
    "route",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "su",
    "sync",
    "syslogd",
    "tail",
    "tar",
    "tee",
    "test",
    "top",
    "touch",
    "tr",
    "true",
    "tty",
    "udhcpc",
    "umount",
    "uname",
    "uniq",
    "unshare",
    "uptime",
    "vi",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];

const INITTAB: &str = "\
::sysinit:/etc/rc
::respawn:/etc/net
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
";

const RC: &str = "\
#!/bin/sh
ip link set lo up
exit 0
";

/// Asks for an address as long as there is an eth0; the host name goes along so that neighbours find us.
const NET: &str = "\
#!/bin/sh
[ -e /sys/class/net/eth0 ] || exec sleep 1000000
ip link set eth0 up
exec udhcpc -f -i eth0 -s /etc/udhcpc.script -t 30 -T 1 -A 1 -x hostname:$(hostname)
";

const UDHCPC: &str = "\
#!/bin/sh
case \"$1\" in
deconfig) ;;
bound|renew)
    ip address replace \"$ip/$mask\" dev \"$interface\"
    for gateway in $router; do ip route replace default via \"$gateway\" dev \"$interface\"; done
    : > /etc/resolv.conf.new
    [ -n \"$domain\" ] && echo \"search $domain\" >> /etc/resolv.conf.new
    for server in $dns; do echo \"nameserver $server\" >> /etc/resolv.conf.new; done
    mv /etc/resolv.conf.new /etc/resolv.conf
    ;;
esac
";

/// Everything that the image depends on, as text.
pub fn recipe() -> Result<String, ImageError> {
    let program = program()?;
    let size = at("reading", program, fs::metadata(program))?.len();
    Ok(format!("4 {size} {APPLETS:?} {INITTAB} {RC} {NET} {UDHCPC}"))
}

/// Makes `work/image`.
pub fn make(work: &Path) -> Result<(), ImageError> {
    make_spoiled(work, &|_| Ok(()))
}

/// Makes `work/image`, changed by `spoil` at the end.
pub fn make_spoiled(work: &Path, spoil: &dyn Fn(&Path) -> std::io::Result<()>) -> Result<(), ImageError> {
    let image = work.join("image");
    let root = image.join("rootfs");
    at("writing", &root, populate(&root))?;
    at("copying busybox to", &root, fs::copy(program()?, root.join("bin/busybox")))?;
    at("changing", &root, spoil(&root))?;
    run("chown", ["-Rh".as_ref(), "0:0".as_ref(), root.as_os_str()])?;
    write_metadata(&image, "busybox", "small", "1")
}

fn program() -> Result<&'static Path, ImageError> {
    let found = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    found.ok_or_else(|| ImageError::Missing { tool: "busybox".into() })
}

fn populate(root: &Path) -> std::io::Result<()> {
    for dir in ["bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr/bin", "usr/sbin", "var/log"] {
        fs::create_dir_all(root.join(dir))?;
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    for (name, target) in [("init", "../bin/busybox"), ("udhcpc", "../bin/busybox"), ("reboot", "../bin/busybox"), ("ip", "../bin/busybox")]
    {
        symlink(target, root.join("sbin").join(name))?;
    }
    let files = [
        ("etc/inittab", INITTAB, 0o644),
        ("etc/rc", RC, 0o755),
        ("etc/net", NET, 0o755),
        ("etc/udhcpc.script", UDHCPC, 0o755),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n", 0o644),
        ("etc/group", "root:x:0:\nuser:x:1000:\n", 0o644),
        ("etc/shadow", "root::19000:0:99999:7:::\nuser::19000:0:99999:7:::\n", 0o600),
        ("etc/os-release", "ID=busybox\nNAME=busybox\nVERSION_ID=1\n", 0o644),
        ("etc/hosts", "127.0.0.1 localhost\n", 0o644),
    ];
    for (name, text, mode) in files {
        fs::write(root.join(name), text)?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode))?;
    }
    fs::create_dir_all(root.join("home/user"))
}
