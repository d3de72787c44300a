//! What of the world a daemon has changed: mounts, links, firewall rules, cgroups, processes, loop devices, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::invocation::Invocation;
use crate::pen::Pen;

/// A picture of everything that a daemon can leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    facts: BTreeSet<String>,
}

impl World {
    /// Takes the picture of a pen and of a state directory, named as the daemon names it and as it can be seen from here.
    #[must_use]
    #[track_caller]
    pub fn of(pen: &Pen, state: &Path, seen: &Path) -> Self {
        let mut facts = BTreeSet::new();
        mounts(pen, &mut facts);
        links(pen, &mut facts);
        firewall(pen, &mut facts);
        for group in pen.cgroups() {
            cgroups(&group, &mut facts);
        }
        loops(state, &mut facts);
        files(seen, Path::new(""), &mut facts);
        Self { facts }
    }

    /// Lists what is here and was not there before.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.facts.difference(&before.facts).cloned().collect()
    }

    /// Lists the facts that hold this word.
    #[must_use]
    pub fn about(&self, word: &str) -> Vec<String> {
        self.facts.iter().filter(|fact| fact.contains(word)).cloned().collect()
    }
}

fn mounts(pen: &Pen, facts: &mut BTreeSet<String>) {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", pen.pid())).unwrap_or_default();
    facts.extend(text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| format!("mount {point}")));
}

fn links(pen: &Pen, facts: &mut BTreeSet<String>) {
    let mut command = pen.command("ip");
    command.args(["-oneline", "link", "show"]);
    let text = Invocation::new(command, "ip link").ok();
    let names = text.lines().filter_map(|line| line.split(": ").nth(1)).map(|name| name.split('@').next().unwrap_or(name));
    facts.extend(names.map(|name| format!("link {name}")));
}

fn firewall(pen: &Pen, facts: &mut BTreeSet<String>) {
    let mut command = pen.command("nft");
    command.args(["--stateless", "list", "ruleset"]);
    let text = Invocation::new(command, "nft list ruleset").ok();
    let mut table = "";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "}") {
        if line.starts_with("table ") {
            table = line;
        }
        facts.insert(format!("nft {table} {line}"));
    }
}

/// Says whether a process is the daemon's nurse, or the monitor that it keeps ready: those come at any time and go with the
/// daemon. A monitor that has an instance makes its children in that one's process namespace.
fn waits_for_a_start(pid: &str, command: &str) -> bool {
    let namespace = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let serves = command.starts_with("coffer-monitor serve") && namespace("pid_for_children") == namespace("pid");
    command.starts_with("coffer-monitor nurse ") || serves
}

/// Notes the cgroups below a pen's, and the processes in them by name: numbers would differ from run to run.
fn cgroups(group: &Path, facts: &mut BTreeSet<String>) {
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if !command.is_empty() && !command.contains("coffer-test-pen") && !waits_for_a_start(pid, &command) {
            facts.insert(format!("process {}", command.trim()));
        }
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(&path);
            // HIERARCHY/PEN/coffer/DAEMON and its monitors' own stay as long as the daemon may come back.
            if path.components().count() > 4 && !path.ends_with(".monitors") {
                facts.insert(format!("cgroup {}", path.display()));
            }
            cgroups(&entry.path(), facts);
        }
    }
}

fn loops(state: &Path, facts: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(file.trim()).starts_with(state) {
            facts.insert(format!("loop device for {}", file.trim()));
        }
    }
}

/// Notes the files of a state directory; not those inside a root file system, nor the database's own, nor what is only remembered.
fn files(top: &Path, below: &Path, facts: &mut BTreeSet<String>) {
    for entry in fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        let name = entry.file_name();
        if matches!(path.to_str(), Some("database" | "logs" | "images" | "cache")) || name.to_string_lossy().contains(".db") {
            continue;
        }
        facts.insert(format!("file {}", path.display()));
        let root = name.to_str() == Some("rootfs");
        if !root && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(top, &path, facts);
        }
    }
}
