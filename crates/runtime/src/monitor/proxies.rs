//! Proxies: a child for each, which ends with the instance or when it is detached.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Answer, Endpoint, Proxy, Refusal, RefusalKind, Side, Stage, State};
use coffer_sys::process::{self, Child, CloneOptions};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::connections::Asker;
use super::poll::{Interest, Token};
use super::{Monitor, failed, refusal};
use crate::proxy;

/// A proxy's process.
#[derive(Debug)]
pub(super) struct Proxying {
    proxy: Proxy,
    child: Child,
    /// The child ends when this is closed, whoever closes it.
    _leash: OwnedFd,
    /// What the child says while it sets itself up, and who waits for it.
    beginning: Option<(OwnedFd, Option<Asker>)>,
}

/// How long a proxy of a start may take to listen; it is a handful of system calls.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

impl Monitor {
    /// Starts the proxies of the spec and waits for each: an instance whose ports cannot be had does not start.
    pub(super) fn start_proxies(&mut self) -> Result<(), Refusal> {
        let proxies = self.instance.as_ref().map(|instance| instance.spec.proxies.clone()).unwrap_or_default();
        for proxy in proxies {
            let id = self.begin_proxy(proxy, None)?;
            if let Some(Proxying { beginning: Some((status, _)), .. }) = self.proxies.get(&id) {
                let _ = rustix::event::poll(&mut [PollFd::new(status, PollFlags::IN)], Some(&PATIENCE));
            }
            self.proxy_result(id)?;
        }
        Ok(())
    }

    /// Starts one more proxy; the answer comes when it listens.
    pub(super) fn attach_proxy(&mut self, asker: Asker, proxy: Proxy) {
        let begun = match self.state() {
            State::Running if self.proxies.values().any(|other| other.proxy.name == proxy.name) => {
                Err(refusal(RefusalKind::Invalid, format!("there is a proxy {} already", proxy.name)))
            }
            State::Running => self.begin_proxy(proxy, Some(asker)),
            State::Frozen => Err(refusal(RefusalKind::State, "the instance is frozen")),
            State::Idle | State::Starting | State::Ended => Err(refusal(RefusalKind::State, "the instance is not running")),
        };
        if let Err(refusal) = begun {
            self.answer(asker, Err(refusal), Vec::new());
        }
    }

    /// Ends a proxy and its connections.
    pub(super) fn detach_proxy(&mut self, name: &str) -> Result<Answer, Refusal> {
        let found = self.proxies.iter().find(|(_, proxying)| proxying.proxy.name == name).map(|(id, _)| *id);
        let id = found.ok_or_else(|| refusal(RefusalKind::NotFound, format!("there is no proxy {name}")))?;
        self.end_proxy(id);
        Ok(Answer::Done)
    }

    /// Ends all proxies.
    pub(super) fn end_proxies(&mut self) {
        let ids: Vec<u64> = self.proxies.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end_proxy(id));
    }

    fn begin_proxy(&mut self, proxy: Proxy, asker: Option<Asker>) -> Result<u64, Refusal> {
        let told = |error: std::io::Error| failed(&format!("proxy {}: making its process", proxy.name), &error);
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| told(error.into()));
        let ((status, childs_status), (childs_leash, leash)) = (pipe()?, pipe()?);
        let child = self.clone_proxy(&proxy, &childs_status, &childs_leash).map_err(told)?;
        let id = self.next_id();
        let watched = self.poll.add(&status, Token::ProxyStatus(id), Interest::Read);
        let watched = watched.and_then(|()| self.poll.add(&child.pidfd, Token::ProxyEnded(id), Interest::Read));
        self.proxies.insert(id, Proxying { proxy, child, _leash: leash, beginning: Some((status, asker)) });
        if let Err(error) = watched {
            self.end_proxy(id);
            return Err(failed("waiting for a proxy", &error));
        }
        Ok(id)
    }

    /// Makes the child. One that connects inside counts as the instance's; one that connects outside does not.
    fn clone_proxy(&self, proxy: &Proxy, status: &OwnedFd, leash: &OwnedFd) -> std::io::Result<Child> {
        let Some(instance) = &self.instance else { return Err(Errno::SRCH.into()) };
        let Some(door) = &instance.door else { return Err(Errno::SRCH.into()) };
        let work = || proxy::run(door, &instance.spec, proxy, status, leash);
        let unified = instance.group.unified().filter(|_| proxy.bind == Side::Host);
        let options = CloneOptions { cgroup: unified.map(|member| member.dir.as_fd()), ..CloneOptions::default() };
        match process::clone(options, work) {
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                let leaf = instance.group.exec_leaf()?;
                process::clone(CloneOptions { cgroup: leaf.as_ref().map(AsFd::as_fd), ..CloneOptions::default() }, work)
            }
            other => other,
        }
    }

    /// A proxy says that it listens, or why it does not.
    pub(super) fn proxy_status_ready(&mut self, id: u64) {
        let Some(asker) = self.proxies.get(&id).and_then(|proxying| proxying.beginning.as_ref()).map(|(_, asker)| *asker) else { return };
        let result = self.proxy_result(id);
        if let Some(asker) = asker {
            self.answer(asker, result.map(|()| Answer::Done), Vec::new());
        }
    }

    /// Reads what a proxy says of its beginning. One that does not listen is ended.
    fn proxy_result(&mut self, id: u64) -> Result<(), Refusal> {
        let Some(proxying) = self.proxies.get_mut(&id) else { return Ok(()) };
        let Some((status, _)) = proxying.beginning.take() else { return Ok(()) };
        self.poll.remove(&status);
        let _ = rustix::fs::fcntl_setfl(&status, rustix::fs::OFlags::NONBLOCK);
        let mut said = vec![0; 4096];
        let length = rustix::io::read(&status, &mut said).unwrap_or(0);
        if &said[..length] == proxy::READY {
            return Ok(());
        }
        let name = proxying.proxy.name.clone();
        self.end_proxy(id);
        let told = serde_json::from_slice::<Refusal>(&said[..length]).ok();
        let silent = || refusal(RefusalKind::Failed, "its process ended without saying why");
        let told = told.unwrap_or_else(silent);
        Err(Refusal { stage: Some(Stage::Proxy), text: format!("{name}: {}", told.text), ..told })
    }

    /// A proxy has ended by itself: something killed it.
    pub(super) fn proxy_ended(&mut self, id: u64) {
        let Some(proxying) = self.proxies.get(&id) else { return };
        if !matches!(process::try_wait(proxying.child.pidfd.as_fd()), Ok(Some(_))) {
            return;
        }
        if proxying.beginning.is_some() {
            return self.proxy_status_ready(id);
        }
        let name = proxying.proxy.name.clone();
        self.end_proxy(id);
        self.warn(format!("proxy {name} was killed; attach the device again, or restart the instance"));
    }

    /// Ends a proxy; what it listened at on the host goes with it.
    fn end_proxy(&mut self, id: u64) {
        let Some(proxying) = self.proxies.remove(&id) else { return };
        self.poll.remove(&proxying.child.pidfd);
        let _ = process::signal(proxying.child.pidfd.as_fd(), 9);
        let _ = process::wait(proxying.child.pidfd.as_fd());
        if proxying.proxy.bind == Side::Host {
            for endpoint in &proxying.proxy.listen {
                if let Endpoint::Unix(path) = endpoint {
                    // Somebody else's by now is not ours to remove.
                    let _ = proxy::remove_stale(path);
                }
            }
        }
    }
}
