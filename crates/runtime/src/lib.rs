//! Starts system containers and stands behind them: liblxc's role.
//!
//! Never: policy (a fully resolved spec is obeyed), threads, an async runtime, a path of the host that an instance chose,
//! a process identified by its number. Everything in the monitor runs in one event loop that nothing inside an instance
//! can make wait.
//!
//! The life of a start: [`Nursery`] has `coffer-monitor` executed afresh; it gets a
//! [`Request::Start`](coffer_runtime_spec::Request::Start), makes control groups, clones, and both sides do their part:
//! `parent` outside, `init` inside, one file a stage.

mod attach;
pub mod cgroup;
mod client;
pub mod command;
mod failed;
mod init;
mod intercept;
mod link;
mod lsm;
mod monitor;
mod nursery;
mod parent;
mod proxy;
mod seccomp;
mod spawn;
mod terminal;

pub use client::{ClientError, MonitorClient};
pub use failed::Failed;
pub use nursery::Nursery;
pub use spawn::{Monitor, MonitorProgram};
