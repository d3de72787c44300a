//! The seccomp filter.

use std::os::fd::AsFd;

use coffer_runtime_spec::Stage;
use coffer_sys::seccomp::{Instruction, listen};
use coffer_sys::socket::PacketSocket;

use crate::failed::{At, Failed};

/// The filter that everything inside has.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    code: Vec<Instruction>,
    /// Where the listener goes of one that hands calls to the monitor.
    monitor: Option<PacketSocket>,
}

impl Filter {
    /// A filter of this code, an empty one for none; and, if it hands calls on, where its listeners arrive.
    pub(crate) fn new(code: Vec<Instruction>, hands_on: bool) -> Result<(Self, Option<PacketSocket>), Failed> {
        if !hands_on {
            return Ok((Self { code, monitor: None }, None));
        }
        let (ours, theirs) = PacketSocket::pair().at(Stage::Seccomp, || "making a socket pair".into())?;
        Ok((Self { code, monitor: Some(theirs) }, Some(ours)))
    }

    /// Installs it for a process of ours that stays: what it would hand on fails.
    pub(crate) fn install_unheard(&self) -> Result<(), Failed> {
        if self.code.is_empty() {
            return Ok(());
        }
        coffer_sys::seccomp::install(&self.code).at(Stage::Seccomp, || "installing it".into())
    }

    /// Installs it for this process and everything that it becomes and starts.
    pub(crate) fn install(&self) -> Result<(), Failed> {
        let Some(monitor) = &self.monitor else { return self.install_unheard() };
        let listener = listen::install(&self.code).at(Stage::Seccomp, || "installing it".into())?;
        monitor.send(&[b"filter"], &[listener.as_fd()]).at(Stage::Seccomp, || "handing over its listener".into())
    }
}
