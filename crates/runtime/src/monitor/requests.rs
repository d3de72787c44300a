//! What callers ask.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Answer, ExecId, Handles, Limits, Refusal, RefusalKind, Request, Signal, State, Status};
use coffer_sys::process;

use super::connections::Asker;
use super::{Monitor, failed, refusal};
use crate::failed::Failed;

impl Monitor {
    /// Does what is asked, or begins to.
    pub(super) fn request(&mut self, asker: Asker, request: Request, fds: Vec<OwnedFd>) {
        let result = match request {
            // These answer later.
            Request::Start { spec, listen } => return self.start(asker, spec, listen, fds),
            Request::Exec(exec) => return self.exec(asker, &exec, fds),
            Request::ExecWait { id: ExecId(id) } => return self.wait_exec(asker, id),
            Request::Freeze => return self.freeze(asker),
            Request::Thaw => return self.thaw(asker),
            Request::AttachMount { mount } => return self.attach_mount(asker, &mount, fds),
            Request::DetachMount { target } => return self.detach_mount(asker, &target),
            Request::AttachProxy { proxy } => return self.attach_proxy(asker, *proxy),
            // These answer with descriptors.
            Request::ConsoleLog => return self.answer_with(asker, self.console_log()),
            Request::Handles => {
                let handles = self.handles();
                return self.answer_with(asker, handles);
            }
            // These are done at once.
            Request::Prepare { cgroup } => self.prepare_groups(&cgroup),
            Request::Discard => Ok(self.discard()),
            Request::ExecSignal { id: ExecId(id), signal } => self.signal_exec(id, signal),
            Request::ExecResize { id: ExecId(id), size } => self.resize_exec(id, size),
            Request::ExecRelease { id: ExecId(id) } => self.release_exec(id),
            Request::ExecList => Ok(Answer::Execs(self.exec_statuses())),
            Request::ConsoleAttach { replay } => self.attach_viewer(replay, fds),
            Request::ConsoleResize { size } => self.resize_console(size),
            Request::ConsoleClear => Ok(self.clear_console()),
            Request::Kill { signal } => self.kill(signal),
            Request::Stop => self.stop(),
            Request::SetLimits { limits } => self.set_limits(*limits),
            Request::SetMounting { mounting } => self.set_mounting(*mounting),
            Request::AttachNic { nic } => self.attach_nic(nic),
            Request::DetachNic { name, host_name } => self.detach_nic(&name, host_name.as_deref()),
            Request::AttachDevice { device } => self.attach_device(device),
            Request::DetachDevice { path } => self.detach_device(&path),
            Request::DetachProxy { name } => self.detach_proxy(&name),
            Request::Status => Ok(Answer::Status(Box::new(self.status()))),
            Request::Subscribe => {
                if let Some(peer) = self.peers.get_mut(&asker.peer) {
                    peer.subscribed = true;
                }
                Ok(Answer::Done)
            }
        };
        self.answer(asker, result, Vec::new());
    }

    fn answer_with(&mut self, asker: Asker, result: Result<(Answer, Vec<OwnedFd>), Refusal>) {
        match result {
            Ok((answer, fds)) => self.answer(asker, Ok(answer), fds),
            Err(refusal) => self.answer(asker, Err(refusal), Vec::new()),
        }
    }

    fn kill(&mut self, signal: Signal) -> Result<Answer, Refusal> {
        if self.state() == State::Idle {
            return Err(refusal(RefusalKind::State, "the instance is not running"));
        }
        if signal == Signal::KILL {
            self.thaw_to_kill();
        }
        self.signal_init(signal)
    }

    pub(super) fn signal_init(&mut self, signal: Signal) -> Result<Answer, Refusal> {
        let Some(instance) = &mut self.instance else { return Err(refusal(RefusalKind::State, "the instance is not running")) };
        instance.killed |= signal == Signal::KILL;
        match process::signal(instance.init.pidfd.as_fd(), signal.number()) {
            Ok(()) => Ok(Answer::Done),
            Err(error) => Err(failed(&format!("sending {signal} to init"), &error)),
        }
    }

    fn set_limits(&mut self, limits: Limits) -> Result<Answer, Refusal> {
        let instance = self.running()?;
        let before = instance.spec.limits.clone();
        let set = instance.group.set_limits(&limits.in_place_of(&before), false).map_err(Failed::refusal);
        if let Err(refusal) = set {
            // All or nothing, as far as the kernel lets us.
            if let Err(error) = instance.group.set_limits(&before.in_place_of(&limits), false) {
                self.warn(format!("going back to the earlier limits: {error}"));
            }
            return Err(refusal);
        }
        instance.spec.limits = limits;
        Ok(Answer::Done)
    }

    fn status(&self) -> Status {
        let instance = self.instance.as_ref();
        Status {
            name: instance.map(|instance| instance.spec.name.clone()).unwrap_or_default(),
            state: self.state(),
            pid: instance.map_or(0, |instance| instance.init.pid),
            monitor_pid: std::process::id(),
            started_at: instance.map_or(0, |instance| instance.started_at),
            cgroup: instance.map(|instance| instance.spec.cgroup.clone()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            execs: self.exec_statuses(),
        }
    }

    pub(super) fn handles(&mut self) -> Result<(Answer, Vec<OwnedFd>), Refusal> {
        let instance = self.running()?;
        let Some(door) = &instance.door else { return Err(refusal(RefusalKind::State, "the instance is not running")) };
        let userns = match &instance.userns {
            Some(userns) => userns.try_clone(),
            None => crate::parent::open_namespace(std::process::id(), "user").map_err(|error| std::io::Error::other(error.text)),
        };
        let told = |error: std::io::Error| failed("copying a descriptor", &error);
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(told);
        let fds = vec![copy(&instance.init.pidfd)?, copy(&instance.netns)?, userns.map_err(told)?, copy(&door.root)?];
        Ok((Answer::Handles(Handles { pid: instance.init.pid }), fds))
    }
}
