//! Which devices an instance may use.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{DeviceKind, Spec, Stage};

use super::{Group, Version, device_filter, write};
use crate::failed::{At, Failed};

/// A kind of device that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Character or block.
    pub(crate) kind: DeviceKind,
    /// Major number; absent: all.
    pub(crate) major: Option<u32>,
    /// Minor number; absent: all.
    pub(crate) minor: Option<u32>,
    /// It may be read and written, not only made.
    pub(crate) open: bool,
}

/// The devices that an instance may use, and the program that says so on version 2.
#[derive(Debug)]
pub(crate) struct DeviceRules {
    rules: Vec<Rule>,
    program: Option<OwnedFd>,
}

const fn open(kind: DeviceKind, major: u32, minor: Option<u32>) -> Rule {
    Rule { kind, major: Some(major), minor, open: true }
}

/// What every instance may use: making any node, opening the harmless ones, terminals, fuse and tun.
///
/// Not 5:1: its own `/dev/console` is a terminal like others, and a node of that number would be the host's.
const USUAL: [Rule; 12] = [
    Rule { kind: DeviceKind::Char, major: None, minor: None, open: false },
    Rule { kind: DeviceKind::Block, major: None, minor: None, open: false },
    open(DeviceKind::Char, 1, Some(3)),
    open(DeviceKind::Char, 1, Some(5)),
    open(DeviceKind::Char, 1, Some(7)),
    open(DeviceKind::Char, 1, Some(8)),
    open(DeviceKind::Char, 1, Some(9)),
    open(DeviceKind::Char, 5, Some(0)),
    open(DeviceKind::Char, 5, Some(2)),
    open(DeviceKind::Char, 10, Some(200)),
    open(DeviceKind::Char, 10, Some(229)),
    open(DeviceKind::Char, 136, None),
];

impl DeviceRules {
    /// Sets the rules of a new group.
    pub(crate) fn set(group: &Group, spec: &Spec) -> Result<Option<Self>, Failed> {
        if spec.security.all_devices {
            return Ok(None);
        }
        let extra = spec.devices.iter().map(|device| open(device.kind, device.major, Some(device.minor)));
        let mut rules = Self { rules: USUAL.into_iter().chain(extra).collect(), program: None };
        if let Some(member) = group.controller("devices").filter(|member| member.hierarchy.version() == Version::V1) {
            write(member.dir.as_fd(), "devices.deny", "a").at(Stage::Cgroup, || "forbidding devices".into())?;
            for rule in &rules.rules {
                write(member.dir.as_fd(), "devices.allow", &line(rule)).at(Stage::Cgroup, || format!("allowing device {}", line(rule)))?;
            }
        } else {
            rules.replace_program(group).at(Stage::Cgroup, || "attaching the device filter".into())?;
        }
        Ok(Some(rules))
    }

    /// Allows one more device.
    pub(crate) fn allow(&mut self, group: &Group, kind: DeviceKind, major: u32, minor: u32) -> io::Result<()> {
        let rule = open(kind, major, Some(minor));
        if self.rules.contains(&rule) {
            return Ok(());
        }
        self.rules.push(rule);
        self.changed(group, "devices.allow", &rule)
    }

    /// Forbids a device again, unless every instance may use it.
    pub(crate) fn deny(&mut self, group: &Group, kind: DeviceKind, major: u32, minor: u32) -> io::Result<()> {
        let rule = open(kind, major, Some(minor));
        if USUAL.contains(&rule) {
            return Ok(());
        }
        self.rules.retain(|other| *other != rule);
        self.changed(group, "devices.deny", &rule)
    }

    fn changed(&mut self, group: &Group, file: &str, rule: &Rule) -> io::Result<()> {
        match group.controller("devices") {
            Some(member) => write(member.dir.as_fd(), file, &line(rule)),
            None => self.replace_program(group),
        }
    }

    /// Attaches a program for the present rules in place of the one before. Without a version 2 tree there is nothing to
    /// attach it to, and without `devices` nothing else: the host has chosen not to judge devices.
    fn replace_program(&mut self, group: &Group) -> io::Result<()> {
        let Some(member) = group.unified() else { return Ok(()) };
        let program = coffer_sys::bpf::load_device_program(&device_filter::program(&self.rules))?;
        let before = self.program.as_ref().map(AsFd::as_fd);
        coffer_sys::bpf::attach_device_program(member.dir.as_fd(), program.as_fd(), before)?;
        self.program = Some(program);
        Ok(())
    }
}

/// A rule as version 1 reads it: `c 1:3 rwm`.
fn line(rule: &Rule) -> String {
    let kind = match rule.kind {
        DeviceKind::Char => 'c',
        DeviceKind::Block => 'b',
    };
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    format!("{kind} {}:{} {}", number(rule.major), number(rule.minor), if rule.open { "rwm" } else { "m" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_the_kernel_wants() {
        assert_eq!(line(&USUAL[0]), "c *:* m");
        assert_eq!(line(&USUAL[2]), "c 1:3 rwm");
        assert_eq!(line(&USUAL[11]), "c 136:* rwm");
    }
}
