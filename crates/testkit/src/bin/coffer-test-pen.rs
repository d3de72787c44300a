//! Holds the namespaces and cgroups that a test's daemon lives in, and takes everything in them down at the end.
//!
//! ```text
//! coffer-test-pen hold NAME VIEW
//!                               outside: makes the cgroups NAME and NAME/daemon in every hierarchy, starts the inside,
//!                               prints "ready PID" (the inside's), waits for the end of its standard input, cleans up;
//!                               VIEW is `own-cgroups`, NAME looks like the top to the inside, or `host-cgroups`
//! coffer-test-pen inside        inside: own network, mounts and cgroup view; waits for the end of its standard input
//! coffer-test-pen join GROUP PROGRAM ARGS…
//!                               moves itself into that cgroup of every hierarchy and becomes PROGRAM
//! ```
//!
//! The test holds the other end of the standard input. When the test program dies, however it dies, the pen goes too.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["hold", name, "own-cgroups"] => hold(name, &["--cgroup"]),
        ["hold", name, "host-cgroups"] => hold(name, &[]),
        ["inside"] => inside(),
        ["join", group, program, rest @ ..] => join(group, program, rest),
        _ => Err("usage: coffer-test-pen hold NAME own-cgroups|host-cgroups | inside | join GROUP PROGRAM ARGS".into()),
    }
}

fn hold(name: &str, view: &[&str]) -> Outcome {
    let hierarchies = hierarchies()?;
    let groups: Vec<_> = hierarchies.iter().map(|hierarchy| hierarchy.point.join(name)).collect();
    for (hierarchy, group) in hierarchies.iter().zip(&groups) {
        prepare(hierarchy, group)?;
    }
    let held = keep_inside(name, view);
    for group in &groups {
        remove(group);
    }
    held
}

fn keep_inside(name: &str, view: &[&str]) -> Outcome {
    let me = std::env::current_exe()?;
    let unshare = ["unshare", "--net", "--mount", "--propagation", "private"];
    let mut command = Command::new(&me);
    command.args(["join", name]).args(unshare).args(view).arg("--").arg(&me).arg("inside");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    child.stdout.take().map(BufReader::new).ok_or("no pipe")?.read_line(&mut line)?;
    if line.trim() != "ready" {
        return Err(format!("the inside did not get ready: {}", child.wait()?).into());
    }
    println!("ready {}", child.id());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn inside() -> Outcome {
    let hierarchies = hierarchies()?;
    // A sysfs mounted here shows the network interfaces that are here.
    mount("sysfs", "/sys", "sysfs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
    // Not every kernel has it.
    let _ = mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None);
    if !hierarchies.iter().any(|hierarchy| hierarchy.point == Path::new(CGROUPS)) {
        mount("tmpfs", CGROUPS, "tmpfs", MountFlags::NOSUID, Some(c"mode=755"))?;
    }
    for hierarchy in &hierarchies {
        fs::create_dir_all(&hierarchy.point)?;
        let options = std::ffi::CString::new(hierarchy.options.clone())?;
        let options = (!hierarchy.options.is_empty()).then_some(options.as_c_str());
        mount("cgroup", &hierarchy.point, hierarchy.kind, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, options)?;
        // A group that hands controllers down holds no process itself, and the top of the view is to hand them down. Who sees
        // the host's cgroups sees the pen's group elsewhere.
        let holder = hierarchy.point.join(HOLDER).join("cgroup.procs");
        if hierarchy.kind == "cgroup2" && holder.exists() {
            fs::write(holder, "0")?;
        }
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if !up.success() {
        return Err("ip link set lo up failed".into());
    }
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn join(group: &str, program: &str, rest: &[&str]) -> Outcome {
    for hierarchy in hierarchies()? {
        // On v1 writing 0 to `tasks` moves the one thread that writes, without the wait that moving a process costs.
        let file = if hierarchy.kind == "cgroup" { "tasks" } else { "cgroup.procs" };
        let file = hierarchy.point.join(group).join(file);
        fs::write(&file, "0").map_err(|error| format!("writing {}: {error}", file.display()))?;
    }
    Err(format!("starting {program}: {}", Command::new(program).args(rest).exec()).into())
}

const CGROUPS: &str = "/sys/fs/cgroup";

/// The pen's own group in it.
const HOLDER: &str = "holder";

/// One mounted cgroup hierarchy.
struct Hierarchy {
    point: PathBuf,
    /// `cgroup` for v1, `cgroup2` for v2.
    kind: &'static str,
    /// What it is mounted with: the controllers, or its name.
    options: String,
}

fn hierarchies() -> Result<Vec<Hierarchy>, std::io::Error> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut found = Vec::<Hierarchy>::new();
    for line in mounts.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let &[_, point, kind, options, ..] = fields.as_slice() else { continue };
        let kind = match kind {
            "cgroup" => "cgroup",
            "cgroup2" => "cgroup2",
            _ => continue,
        };
        let options = if kind == "cgroup" { controllers(options) } else { String::new() };
        // The last mount of a place is the one that is seen.
        found.retain(|hierarchy| hierarchy.point != Path::new(point));
        found.push(Hierarchy { point: point.into(), kind, options });
    }
    Ok(found)
}

/// Picks the controllers, or the name, out of a v1 hierarchy's options.
fn controllers(options: &str) -> String {
    let general = ["rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime", "xattr", "clone_children", "cpuset_v2_mode"];
    let picked = options.split(',').filter(|option| !general.contains(option) && !option.starts_with("release_agent="));
    let picked: Vec<_> = picked.collect();
    if picked.iter().any(|option| option.starts_with("name=")) { format!("none,{}", picked.join(",")) } else { picked.join(",") }
}

/// Makes the pen's cgroup and the daemon's within it.
fn prepare(hierarchy: &Hierarchy, group: &Path) -> Outcome {
    if hierarchy.kind == "cgroup2" {
        // The daemon must find controllers in the pen; on a hybrid host there are none to hand down.
        for controller in fs::read_to_string(hierarchy.point.join("cgroup.controllers"))?.split_whitespace() {
            let _ = fs::write(hierarchy.point.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    for group in [group.to_path_buf(), group.join("daemon"), group.join(HOLDER)] {
        fs::create_dir(&group).map_err(|error| format!("creating {}: {error}", group.display()))?;
        // A new v1 cpuset has neither processors nor memory, and takes no process until it has.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (true, Some(parent)) = (hierarchy.kind == "cgroup", group.parent())
                && group.join(file).exists()
            {
                fs::write(group.join(file), fs::read(parent.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Kills what is left in a cgroup and below, and removes it; best effort, because this is the last hand on it.
fn remove(group: &Path) {
    let mut groups = vec![group.to_path_buf()];
    let mut at = 0;
    while let Some(next) = groups.get(at).cloned() {
        at += 1;
        let entries = fs::read_dir(&next).into_iter().flatten().flatten();
        groups.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    for group in groups.iter().rev() {
        let _ = fs::write(group.join("freezer.state"), "THAWED");
        let _ = fs::write(group.join("cgroup.freeze"), "0");
        // A process may fork while it is being killed: once more until none is left.
        while kill_all(group) {}
        let _ = fs::remove_dir(group);
    }
}

/// Kills the processes of one cgroup and waits for their end; false if there were none, or one that does not die.
fn kill_all(group: &Path) -> bool {
    let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<_> = pids.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect();
    let handles: Vec<_> = pids.iter().filter_map(|&pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect();
    for handle in &handles {
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
    let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
    !handles.is_empty()
        && handles.iter().all(|handle| poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&patience)).is_ok_and(|count| count > 0))
}
