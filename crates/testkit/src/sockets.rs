//! Sockets in the networks of a pen and of its instances: a socket belongs to the network that its thread was in.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Daemon;

impl Daemon {
    /// Does something in the daemon's network.
    ///
    /// # Panics
    /// The work panics, or the network cannot be entered.
    #[track_caller]
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network_of(self.pen().pid(), work)
    }

    /// Does something in the network of a running instance.
    ///
    /// # Panics
    /// As [`Daemon::in_network`]; the instance does not run.
    #[track_caller]
    pub fn in_instances_network<T: Send>(&self, instance: &str, work: impl FnOnce() -> T + Send) -> T {
        let pid = self.instance_state(instance)["pid"].as_u64().unwrap_or_default();
        in_network_of(u32::try_from(pid).expect("a process number"), work)
    }
}

#[track_caller]
fn in_network_of<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let network = File::open(format!("/proc/{pid}/ns/net")).expect("the network of a process that runs");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("entering a network, as root");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
