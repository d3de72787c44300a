//! Changes of a running instance: interfaces, devices, mounts.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Answer, Device, Mount, Nic, Refusal, RefusalKind, Stage};
use coffer_sys::path::Root;
use coffer_sys::process::{self, Child, CloneOptions};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::connections::Asker;
use super::instance::Instance;
use super::poll::{Interest, Token};
use super::{Monitor, failed, refusal};
use crate::attach;
use crate::failed::{At, Failed};
use crate::link::{self, Links};
use crate::parent::{self, Fds, PlannedMount};

/// A child that changes something from inside. Whoever is root inside can make it wait, but not us.
#[derive(Debug)]
pub(super) struct Job {
    asker: Asker,
    child: Child,
    status: OwnedFd,
    said: Vec<u8>,
}

impl Monitor {
    /// The instance, if it runs.
    pub(super) fn running(&mut self) -> Result<&mut Instance, Refusal> {
        if self.starting.is_some() {
            return Err(refusal(RefusalKind::State, "the instance is starting"));
        }
        self.instance.as_mut().ok_or_else(|| refusal(RefusalKind::State, "the instance is not running"))
    }

    pub(super) fn attach_nic(&mut self, nic: Nic) -> Result<Answer, Refusal> {
        let instance = self.running()?;
        let taken = instance.spec.nics.iter().any(|other| other.name == nic.name) || nic.name == "lo";
        if taken {
            return Err(refusal(RefusalKind::Invalid, format!("there is an interface {} already", nic.name)));
        }
        let here = Links::here().map_err(|error| failed("opening a netlink socket", &error))?;
        link::attach(&here, &instance.links, instance.netns.as_fd(), &nic).map_err(Failed::refusal)?;
        instance.spec.nics.push(nic);
        Ok(Answer::Done)
    }

    pub(super) fn detach_nic(&mut self, name: &str, host_name: Option<&str>) -> Result<Answer, Refusal> {
        let instance = self.running()?;
        let done = match host_name {
            Some(host_name) => {
                let here = own_netns().map_err(|error| failed("opening the host's network namespace", &error))?;
                let links = Links::with_our_rights(instance.netns.as_fd(), here.as_fd());
                links.and_then(|links| links.move_out(name, here.as_fd(), host_name))
            }
            None => instance.links.delete(name),
        };
        match done {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
                // Somebody inside removed it, or it went with its other end: its name is free.
                instance.spec.nics.retain(|nic| nic.name != name);
                Err(refusal(RefusalKind::NotFound, format!("there is no interface {name} inside")))
            }
            Err(error) => Err(failed(&format!("taking interface {name} out"), &error)),
            Ok(()) => {
                instance.spec.nics.retain(|nic| nic.name != name);
                Ok(Answer::Done)
            }
        }
    }

    pub(super) fn attach_device(&mut self, device: Device) -> Result<Answer, Refusal> {
        let instance = self.running()?;
        if instance.spec.devices.contains(&device) {
            return Ok(Answer::Done);
        }
        let told = |error: std::io::Error| failed(&format!("making device {}", device.path), &error);
        let owner = parent::owner(&instance.spec, device.uid, device.gid);
        parent::make_node(instance.dev.as_fd(), &device, owner).map_err(told)?;
        if let Some(rules) = &mut instance.device_rules
            && let Err(error) = rules.allow(&instance.group, device.kind, device.major, device.minor)
        {
            let below = device.path.trim_start_matches("/dev/");
            let _ = instance.dev.try_clone().map(Root::from_fd).and_then(|dev| dev.strict()?.remove_file(below));
            return Err(told(error));
        }
        instance.spec.devices.push(device);
        Ok(Answer::Done)
    }

    pub(super) fn detach_device(&mut self, path: &str) -> Result<Answer, Refusal> {
        let instance = self.running()?;
        let told = |error: std::io::Error| failed(&format!("removing device {path}"), &error);
        let missing = || refusal(RefusalKind::NotFound, format!("there is no device {path}"));
        let at = instance.spec.devices.iter().position(|device| device.path == path).ok_or_else(missing)?;
        let device = instance.spec.devices.remove(at);
        let number = |device: &Device| (device.kind, device.major, device.minor);
        let shared = instance.spec.devices.iter().any(|other| number(other) == number(&device));
        // First what counts: a process that made another node of the same numbers cannot open it any more.
        if let Some(rules) = instance.device_rules.as_mut().filter(|_| !shared) {
            rules.deny(&instance.group, device.kind, device.major, device.minor).map_err(told)?;
        }
        let below = path.strip_prefix("/dev/").ok_or_else(|| told(Errno::INVAL.into()))?;
        let dev = instance.dev.try_clone().map(Root::from_fd).map_err(told)?;
        match dev.strict().and_then(|dev| dev.within_mount()).and_then(|dev| dev.remove_file(below)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(told(error)),
            _ => Ok(Answer::Done),
        }
    }

    /// Attaches a mount; answers when the child has done it.
    pub(super) fn attach_mount(&mut self, asker: Asker, mount: &Mount, fds: Vec<OwnedFd>) {
        let prepared = self.running().and_then(|instance| prepare_mount(instance, mount, fds).map_err(Failed::refusal));
        match prepared {
            Ok((planned, locked)) => self.job(asker, |instance| {
                let door = instance.door.as_ref().ok_or_else(|| Failed::new(Stage::Mounts, "the instance is not set up"))?;
                attach::attach_mount(door, &instance.spec, &planned, locked.as_ref().or(planned.source.as_ref()))
            }),
            Err(refusal) => self.answer(asker, Err(refusal), Vec::new()),
        }
    }

    /// Unmounts; answers when the child has done it.
    pub(super) fn detach_mount(&mut self, asker: Asker, target: &str) {
        if let Err(refusal) = self.running() {
            return self.answer(asker, Err(refusal), Vec::new());
        }
        self.job(asker, |instance| {
            let door = instance.door.as_ref().ok_or_else(|| Failed::new(Stage::Mounts, "the instance is not set up"))?;
            attach::detach_mount(door, &instance.spec, target)
        });
    }

    /// Runs `work` in a child.
    fn job(&mut self, asker: Asker, work: impl FnOnce(&Instance) -> Result<(), Failed>) {
        let Some(instance) = &self.instance else { return };
        let started = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).and_then(|(status, childs)| {
            let child = process::clone(CloneOptions::default(), || match work(instance) {
                Ok(()) => 0,
                Err(error) => {
                    let _ = rustix::io::write(&childs, &serde_json::to_vec(&error.refusal()).unwrap_or_default());
                    1
                }
            })?;
            Ok((child, status))
        });
        let id = self.next_id();
        match started {
            Ok((child, status)) => {
                let watched = self.poll.add(&status, Token::JobStatus(id), Interest::Read);
                self.jobs.insert(id, Job { asker, child, status, said: Vec::new() });
                if watched.is_err() {
                    self.job_ready(id);
                }
            }
            Err(error) => self.answer(asker, Err(failed("making a process", &error)), Vec::new()),
        }
    }

    /// A job has said something or is done.
    pub(super) fn job_ready(&mut self, id: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(&job.status, &mut buffer) {
            Ok(0) | Err(_) => {}
            Ok(length) => return job.said.extend_from_slice(&buffer[..length]),
        }
        let Some(job) = self.jobs.remove(&id) else { return };
        let ended = process::wait(job.child.pidfd.as_fd());
        let result = if job.said.is_empty() && matches!(ended, Ok(process::Ended::Exited(0))) {
            Ok(Answer::Done)
        } else {
            let told = serde_json::from_slice(&job.said);
            Err(told.unwrap_or_else(|_| refusal(RefusalKind::Failed, "the child failed without saying why")))
        };
        self.answer(job.asker, result, Vec::new());
    }
}

/// Opens, shifts and locks a mount's source.
fn prepare_mount(instance: &Instance, mount: &Mount, fds: Vec<OwnedFd>) -> Result<(PlannedMount, Option<OwnedFd>), Failed> {
    let opened = PlannedMount::open(mount, &mut Fds::new(fds));
    let planned = opened.at(Stage::Sources, || format!("opening the source of the mount for {}", mount.target))?;
    planned.adapt(&instance.spec.idmap, instance.userns.as_ref())?;
    let Some(userns) = &instance.userns else { return Ok((planned, None)) };
    let mut locked = parent::lock_all(std::slice::from_ref(&planned), &instance.spec.idmap, userns)?;
    Ok((planned, locked.pop()))
}

/// Opens our own network namespace.
pub(super) fn own_netns() -> std::io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/self/ns/net", flags, rustix::fs::Mode::empty())?)
}
