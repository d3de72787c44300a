//! Starting an instance.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::request::Listen;
use coffer_runtime_spec::{Answer, IdMap, Refusal, RefusalKind, Report, Spec, Stage, State, check_cgroup};
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::process::{self, Child, CloneOptions};
use coffer_sys::pty;
use coffer_sys::socket::PacketSocket;
use rustix::pipe::PipeFlags;

use super::connections::Asker;
use super::instance::{Instance, now};
use super::listening::Listening;
use super::poll::{Interest, Token};
use super::{Monitor, refusal};
use crate::attach::{self, Door};
use crate::cgroup::{DeviceRules, Group};
use crate::failed::{At, Failed};
use crate::init::{self, Filter, Inside, word};
use crate::link::{self, Links};
use crate::parent::{self, Fds, Plan};

/// A start under way: the child sets itself up and we listen.
#[derive(Debug)]
pub(super) struct Starting {
    asker: Asker,
    /// The conversation with the child.
    sync: PacketSocket,
    /// The child's failure, or its end by the exec that succeeds.
    status: OwnedFd,
    said: Vec<u8>,
    /// What the door of the instance still lacks.
    tasks: Vec<OwnedFd>,
    filter: Filter,
    /// Where those who install the filter send its listener.
    arrivals: Option<PacketSocket>,
    warnings: Vec<String>,
}

impl Monitor {
    /// Starts an instance. The answer comes when init runs or a stage has failed.
    pub(super) fn start(&mut self, asker: Asker, spec: Box<Spec>, listen: Option<Listen>, fds: Vec<OwnedFd>) {
        if self.state() != State::Idle {
            return self.answer(asker, Err(refusal(RefusalKind::State, "this monitor has started its instance already")), Vec::new());
        }
        let mut fds = Fds::new(fds);
        let prepared = self.prepare(&spec, listen, &mut fds);
        let group = prepared.and_then(|()| self.take_groups(&spec.cgroup));
        match group.and_then(|group| begin(asker, spec, &mut fds, group)) {
            Ok((instance, starting)) => {
                self.instance = Some(instance);
                self.starting = Some(starting);
                if let Err(error) = self.watch_start() {
                    self.start_failed(error.refusal());
                }
            }
            Err(error) => {
                let refusal = error.refusal();
                self.answer(asker, Err(refusal.clone()), Vec::new());
                self.report(&Report::StageFailed(refusal));
                self.ended = true;
                self.close_listening(None);
            }
        }
    }

    /// Makes the control groups of the start to come.
    pub(super) fn prepare_groups(&mut self, path: &str) -> Result<Answer, Refusal> {
        if self.state() != State::Idle {
            return Err(refusal(RefusalKind::State, "this monitor has started its instance already"));
        }
        check_cgroup(path).map_err(|error| refusal(RefusalKind::Invalid, error.to_string()))?;
        self.discard();
        self.prepared = Some(make_groups(path).map_err(Failed::refusal)?);
        Ok(Answer::Done)
    }

    /// Removes the control groups that no start has taken.
    pub(super) fn discard(&mut self) -> Answer {
        if let Some(group) = self.prepared.take() {
            group.destroy();
        }
        Answer::Done
    }

    /// The control groups of a start: those that were made for it, or new ones.
    fn take_groups(&mut self, path: &str) -> Result<Group, Failed> {
        match self.prepared.take_if(|group| group.path() == path) {
            Some(group) => Ok(group),
            None => make_groups(path),
        }
    }

    fn prepare(&mut self, spec: &Spec, listen: Option<Listen>, fds: &mut Fds) -> Result<(), Failed> {
        spec.check().map_err(|error| Failed::new(Stage::Spec, error.to_string()))?;
        if let Some(listen) = listen {
            let dir = fds.take(listen.directory).at(Stage::Listen, || "taking the directory".into())?;
            let listening = Listening::open(dir, &listen.name).at(Stage::Listen, || format!("listening on {}", listen.name))?;
            self.poll.add(&listening.listener, Token::Listener, Interest::Read).at(Stage::Listen, || "waiting".into())?;
            self.listening = Some(listening);
        }
        if let Some(log) = &spec.log {
            self.log = Some(fds.append(log).at(Stage::Sources, || "opening the log".into())?);
        }
        let log = spec.console.log.as_ref().map(|log| fds.append(log)).transpose();
        self.console.configure(spec.console.ring_size, log.at(Stage::Sources, || "opening the console's log".into())?);
        Ok(())
    }

    fn watch_start(&mut self) -> Result<(), Failed> {
        let arrivals = self.starting.as_mut().and_then(|starting| starting.arrivals.take());
        self.expect_listeners(arrivals).at(Stage::Seccomp, || "waiting for listeners".into())?;
        let (Some(instance), Some(starting)) = (&self.instance, &self.starting) else { return Ok(()) };
        let watched = self.poll.add(&starting.sync, Token::StartSync, Interest::Read);
        let watched = watched.and_then(|()| self.poll.add(&starting.status, Token::StartStatus, Interest::Read));
        let watched = watched.and_then(|()| self.poll.add(&instance.init.pidfd, Token::Init, Interest::Read));
        watched.at(Stage::Clone, || "waiting for the child".into())
    }

    /// The child says that it is set up, or, last, that it only waits for the word to become init.
    pub(super) fn start_sync_ready(&mut self) {
        let (Some(instance), Some(starting)) = (&mut self.instance, &mut self.starting) else { return };
        let packet = match starting.sync.receive(64 << 10) {
            Ok(Some(packet)) => packet,
            // The child has ended or become init; the other pipe and its pidfd say which.
            Ok(None) | Err(_) => return self.poll.remove(&starting.sync),
        };
        if packet.bytes == word::READY {
            let Ok([devpts, console, root, proc]) = <[OwnedFd; 4]>::try_from(packet.fds) else { return };
            let Ok(pidfd) = instance.init.pidfd.try_clone() else { return };
            let (tasks, filter) = (std::mem::take(&mut starting.tasks), std::mem::take(&mut starting.filter));
            instance.door = Some(Door { pidfd, tasks, proc, root, filter });
            instance.devpts = Some(devpts);
            let peer = pty::peer(console.as_fd());
            self.console.open(&self.poll, console, peer.ok());
        } else if let Some(warnings) = packet.bytes.strip_prefix(b"warnings\n") {
            let warnings = String::from_utf8_lossy(warnings);
            starting.warnings.extend(warnings.lines().filter(|line| !line.is_empty()).map(str::to_owned));
            let pid = instance.init.pid;
            let limited = init::set_rlimits_of(pid, &instance.spec.rlimits, &mut starting.warnings)
                .and_then(|()| init::set_oom_score_of(pid, instance.spec.oom_score, &mut starting.warnings));
            if let Err(error) = limited.and_then(|()| parent::set_clocks(pid, &instance.spec)) {
                return self.start_failed(error.refusal());
            }
            // If the child is gone its pipe says why.
            let _ = starting.sync.send(&[word::GO], &[]);
        }
    }

    /// The child has failed, or has become init: its end of the pipe is closed.
    pub(super) fn start_status_ready(&mut self) {
        let Some(starting) = &mut self.starting else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(&starting.status, &mut buffer) {
            Ok(0) | Err(_) => {}
            Ok(length) => return starting.said.extend_from_slice(&buffer[..length]),
        }
        if !starting.said.is_empty() {
            let told = serde_json::from_slice::<Refusal>(&starting.said);
            let refusal = told.unwrap_or_else(|_| refusal(RefusalKind::Failed, "the child failed without saying why"));
            return self.start_failed(refusal);
        }
        if self.instance.as_ref().is_none_or(|instance| instance.door.is_none()) {
            return self.start_failed(refusal(RefusalKind::Failed, "the child was killed while it set itself up"));
        }
        self.started();
    }

    fn started(&mut self) {
        let Some(instance) = &self.instance else { return };
        let pid = instance.init.pid;
        // From here on what we make is born inside: that is what an exec needs, and we make nothing else.
        let joined = ns::join(instance.init.pidfd.as_fd(), Namespaces::PID);
        if let Err(refusal) = self.start_proxies() {
            return self.start_failed(refusal);
        }
        let Some(starting) = self.starting.take() else { return };
        for warning in &starting.warnings {
            self.warn(warning.clone());
        }
        // Init may have ended already; its own event tells.
        if let Err(error) = joined.or_else(|error| if error.raw_os_error() == Some(GONE) { Ok(()) } else { Err(error) }) {
            self.warn(format!("joining the process namespace: {error}"));
        }
        // Who needs the handles and finds none here asks for them, and is told why there are none.
        let handles = self.handles().map(|(_, fds)| fds).unwrap_or_default();
        self.answer(starting.asker, Ok(Answer::Started { pid, warnings: starting.warnings }), handles);
        self.report(&Report::Started { pid });
    }

    /// Takes everything back and says why.
    pub(super) fn start_failed(&mut self, refusal: Refusal) {
        let Some(starting) = self.starting.take() else { return };
        self.end_proxies();
        self.end_interception();
        if let Some(instance) = self.instance.take() {
            self.give_back_links(&instance);
            let _ = process::signal(instance.init.pidfd.as_fd(), 9);
            let _ = process::wait(instance.init.pidfd.as_fd());
            instance.group.destroy();
        }
        self.ended = true;
        self.close_listening(None);
        self.answer(starting.asker, Err(refusal.clone()), Vec::new());
        self.report(&Report::StageFailed(refusal));
    }
}

/// What the kernel says of a process that has ended.
const GONE: i32 = rustix::io::Errno::SRCH.raw_os_error();

fn make_groups(path: &str) -> Result<Group, Failed> {
    Group::create(parent::hierarchies()?, path)
}

/// Opens what the spec names, and clones; after an error nothing is left.
fn begin(asker: Asker, spec: Box<Spec>, fds: &mut Fds, group: Group) -> Result<(Instance, Starting), Failed> {
    let made = begin_in(asker, &spec, fds, &group);
    match made {
        Ok((Begun { init, links, netns, userns, dev, device_rules, plan_signal }, starting)) => {
            let instance = Instance {
                spec,
                group,
                init,
                links,
                netns,
                userns,
                dev,
                devpts: None,
                door: None,
                halt_signal: plan_signal,
                device_rules,
                started_at: now(),
                killed: false,
            };
            Ok((instance, starting))
        }
        Err(error) => {
            group.destroy();
            Err(error)
        }
    }
}

struct Begun {
    init: Child,
    links: Links,
    netns: OwnedFd,
    userns: Option<OwnedFd>,
    dev: OwnedFd,
    device_rules: Option<DeviceRules>,
    plan_signal: coffer_runtime_spec::Signal,
}

fn begin_in(asker: Asker, spec: &Spec, fds: &mut Fds, group: &Group) -> Result<(Begun, Starting), Failed> {
    group.set_limits(&spec.limits, true)?;
    group.delegate(&spec.idmap)?;
    let device_rules = DeviceRules::set(group, spec)?;
    let plan = Plan::open(spec, fds, group)?;
    let (sync, childs_sync) = PacketSocket::pair().at(Stage::Clone, || "making a socket pair".into())?;
    let (status, childs_status) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(Stage::Clone, || "making a pipe".into())?;
    let cgroup = group.unified().map(|member| member.dir.as_fd());
    let options = CloneOptions { namespaces: parent::namespaces(&spec.idmap), cgroup, sibling: false };
    let child = process::clone(options, || {
        // So that a monitor that dies is noticed: its ends must not live on in us.
        for ours in [sync.as_fd(), status.as_fd()] {
            let _ = rustix::io::fcntl_setfd(ours, rustix::io::FdFlags::CLOEXEC);
        }
        let inside =
            Inside { spec, plan: &plan, sync: &childs_sync, status: &childs_status, locked: VecDeque::new(), warnings: Vec::new() };
        attach::report(&childs_status, || init::run(inside))
    });
    let init = child.at(Stage::Clone, || "making a process with its namespaces".into())?;
    drop((childs_sync, childs_status));
    let guided = guide(spec, &plan, &init, &sync);
    let (links, netns, userns) = match guided {
        Ok(guided) => guided,
        Err(error) => {
            let _ = process::signal(init.pidfd.as_fd(), 9);
            let _ = process::wait(init.pidfd.as_fd());
            return Err(childs_reason(&status).unwrap_or(error));
        }
    };
    let Plan { dev, tasks, filter, arrivals, halt_signal, warnings, .. } = plan;
    let starting = Starting { asker, sync, status, said: Vec::new(), tasks, filter, arrivals, warnings };
    Ok((Begun { init, links, netns, userns, dev, device_rules, plan_signal: halt_signal }, starting))
}

type Guided = (Links, OwnedFd, Option<OwnedFd>);

/// Leads the child to where it sets itself up, and configures its network meanwhile.
fn guide(spec: &Spec, plan: &Plan, init: &Child, sync: &PacketSocket) -> Result<Guided, Failed> {
    parent::write_maps(init.pid, &spec.idmap)?;
    let userns = match spec.idmap {
        IdMap::Privileged => None,
        IdMap::Mapped { .. } => Some(parent::open_namespace(init.pid, "user")?),
    };
    let locked = plan.adapt_mounts(spec, userns.as_ref())?;
    sync.send(&[word::MAPPED], &parent::borrow(&locked)).at(Stage::IdMap, || "telling the child".into())?;
    let netns = parent::open_namespace(init.pid, "net")?;
    let packet = sync.receive(64).at(Stage::Network, || "waiting for the child's socket".into())?;
    let socket = packet.filter(|packet| packet.bytes == word::NETWORK).and_then(|mut packet| packet.fds.pop());
    let links = Links::new(socket.ok_or_else(|| Failed::new(Stage::Network, "the child ended early"))?);
    links.set_up("lo").at(Stage::Network, || "setting lo up".into())?;
    if !spec.nics.is_empty() {
        let here = Links::here().at(Stage::Network, || "opening a netlink socket".into())?;
        spec.nics.iter().try_for_each(|nic| link::attach(&here, &links, netns.as_fd(), nic))?;
    }
    Ok((links, netns, userns))
}

/// What a child that has ended said last.
fn childs_reason(status: &OwnedFd) -> Option<Failed> {
    let mut said = vec![0; 64 << 10];
    let length = rustix::io::read(status, &mut said).ok()?;
    let refusal: Refusal = serde_json::from_slice(&said[..length]).ok()?;
    // A child that only lost us has nothing to say.
    Some(Failed { stage: refusal.stage?, errno: refusal.errno, text: refusal.text }).filter(|failed| failed.text != "the monitor gave up")
}
