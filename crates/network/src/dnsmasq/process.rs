//! The running dnsmasq: found again by its files and the kernel's word, started, told to read again, stopped.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use coffer_base::run::Program;
use coffer_model::NetworkName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Files, arguments};
use crate::config::BridgeConfig;
use crate::error::{NetworkError, file};

/// How long dnsmasq may take to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to start: it waits for addresses of the bridge to become usable.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A dnsmasq that runs for one network.
#[derive(Debug)]
pub struct Dnsmasq {
    process: OwnedFd,
    arguments: Vec<OsString>,
}

impl Dnsmasq {
    /// Finds the dnsmasq that runs with this network's files in our network namespace, whoever started it.
    #[must_use]
    pub fn find(files: &Files) -> Option<Self> {
        let pid: i32 = fs::read_to_string(files.pid()).ok()?.trim().parse().ok()?;
        // First the handle, then the questions: what is asked after it concerns the process it stands for, or nobody.
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let arguments = command_line(pid).ok()?;
        let mut ours = OsString::from("--pid-file=");
        ours.push(files.pid());
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let here = fs::read_link("/proc/self/ns/net").ok()?;
        let there = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
        let found = Self { process, arguments };
        (name.trim_end() == "dnsmasq" && found.arguments.contains(&ours) && here == there && !found.ended(Duration::ZERO)).then_some(found)
    }

    /// Makes sure that one dnsmasq runs for this network with this configuration: adopts it, restarts it or starts it.
    ///
    /// # Errors
    /// If a file cannot be written, or dnsmasq is not installed or refuses to run.
    pub fn ensure(network: &NetworkName, config: &BridgeConfig, files: &Files) -> Result<Self, NetworkError> {
        let raw_changed = write_raw(config, files)?;
        let (user, group) = identity(files.dir());
        let wanted = arguments(network.as_str(), config, files, user, group);
        match Self::find(files) {
            Some(running) if running.arguments == wanted && !raw_changed => return Ok(running),
            Some(running) => running.stop(network)?,
            None => {}
        }
        let program = Program::new("dnsmasq").args(&wanted).deadline(START_WITHIN);
        // It goes into the background by itself once its sockets are open, so its refusal is an error here and now.
        program.run().map_err(|cause| NetworkError::Program { network: network.to_string(), doing: "starting dnsmasq", cause })?;
        Self::find(files).ok_or_else(|| NetworkError::Dnsmasq { network: network.clone(), wanted: "stay" })
    }

    /// Makes it read its directories again: it notices new and changed files by itself, but not that a host was removed.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub fn reload(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.process, Signal::HUP)?)
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub fn stop(self, network: &NetworkName) -> Result<(), NetworkError> {
        for signal in [Signal::TERM, Signal::KILL] {
            // It may have ended just now, which is what is wanted.
            let _ = pidfd_send_signal(&self.process, signal);
            if self.ended(END_WITHIN) {
                return Ok(());
            }
        }
        Err(NetworkError::Dnsmasq { network: network.clone(), wanted: "end" })
    }

    fn ended(&self, within: Duration) -> bool {
        let timeout = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&timeout)), Ok(1))
    }
}

/// The arguments of a process, without its name.
fn command_line(pid: i32) -> io::Result<Vec<OsString>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline"))?;
    let text = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    Ok(text.split(|&byte| byte == 0).skip(1).map(|argument| OsString::from_vec(argument.to_vec())).collect())
}

/// Writes the user's lines; says whether they differ from what was there.
fn write_raw(config: &BridgeConfig, files: &Files) -> Result<bool, NetworkError> {
    let path = files.raw();
    if fs::read_to_string(&path).is_ok_and(|old| old == config.raw_dnsmasq) {
        return Ok(false);
    }
    fs::write(&path, &config.raw_dnsmasq).map_err(file("writing", &path))?;
    Ok(true)
}

/// The user and group that dnsmasq runs as: its own or nobody; root only where nobody else could reach the files.
fn identity(dir: &Path) -> (&'static str, &'static str) {
    if !reachable(dir) {
        return ("root", "root");
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let pick = |table: &str, names: [&'static str; 2]| {
        names.into_iter().find(|name| table.lines().any(|line| line.split(':').next() == Some(name)))
    };
    (pick(&users, ["dnsmasq", "nobody"]).unwrap_or("root"), pick(&groups, ["nogroup", "nobody"]).unwrap_or("root"))
}

/// Says whether every user of the host can pass through to `dir`.
#[must_use]
pub fn reachable(dir: &Path) -> bool {
    dir.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|dir| dir.permissions().mode() & 0o001 != 0))
}
