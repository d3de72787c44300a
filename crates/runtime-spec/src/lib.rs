//! The contract between the daemon and an instance's monitor: what to start, what may be asked, what is reported.
//!
//! Never: policy (everything here is already resolved), I/O beyond the framing of messages, anything asynchronous.
//!
//! One message is one packet of a `SOCK_SEQPACKET` unix socket: see [`wire`]. A caller sends [`Call`]s, the monitor
//! answers each with one [`Message::Answer`] of the same number, in any order, and sends [`Message::Report`]s to
//! connections that subscribed.

pub mod capability;
pub mod exit;
pub mod limits;
pub mod mount;
pub mod mounting;
pub mod network;
pub mod proxy;
pub mod request;
pub mod security;
pub mod signal;
pub mod spec;
pub mod stage;
pub mod wire;

pub use capability::Capability;
pub use exit::{ExitReason, ExitRecord};
pub use limits::{CpuAllowance, IoLimit, Limits};
pub use mount::{CreateTarget, Device, DeviceKind, Mount, MountOwner, MountSource, Propagation, Source};
pub use mounting::{Filesystem, Mounting};
pub use network::{Address, LinkLimits, Nic, Over, OverKind, Route, Veth};
pub use proxy::{Endpoint, Proxy, Side, SocketFile};
pub use request::{
    Answer, Call, Exec, ExecId, ExecLabel, ExecState, ExecStatus, Handles, Message, Refusal, RefusalKind, Report, Request, State, Status,
    Streams, WindowSize,
};
pub use security::{Action, Intercept, Label, Rlimit, Seccomp, SeccompRule, Security};
pub use signal::Signal;
pub use spec::{Console, IdMap, IdRange, Init, Root, Spec, SpecError, TimeOffsets, check_cgroup};
pub use stage::Stage;
pub use wire::{Connection, WireError};
