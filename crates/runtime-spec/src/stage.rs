//! The steps of a start and of an exec by name, so that a failure says where it happened.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step of starting an instance or of executing a command in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The spec is checked.
    Spec,
    /// Descriptors and paths that the spec names are opened.
    Sources,
    /// The socket is made that a later daemon connects to.
    Listen,
    /// Control groups are made and limited.
    Cgroup,
    /// Namespaces are made: the one clone.
    Clone,
    /// Ids are mapped.
    IdMap,
    /// The root file system gets the instance's ids.
    IdMappedRoot,
    /// Other mounts get the instance's ids.
    IdMappedMounts,
    /// Network interfaces are moved in and configured.
    Network,
    /// The child joins its control groups and their namespace.
    JoinCgroup,
    /// The child takes its ids inside.
    Identity,
    /// The root is attached.
    AttachRoot,
    /// `/dev` is made.
    Dev,
    /// `/proc` is mounted.
    Proc,
    /// `/sys` is mounted.
    Sys,
    /// The view of the control groups is mounted.
    CgroupView,
    /// Mounts of the spec are attached.
    Mounts,
    /// The console is made.
    Console,
    /// The root becomes `/`.
    Pivot,
    /// Dangerous parts of `/proc` and `/sys` are masked.
    Masks,
    /// The hostname is set.
    Hostname,
    /// Kernel parameters are set.
    Sysctl,
    /// Resource limits are set.
    Rlimits,
    /// A session keyring is made.
    Keyring,
    /// Capabilities are dropped.
    Capabilities,
    /// The security label is set.
    Label,
    /// The seccomp filter is installed.
    Seccomp,
    /// An exec joins the instance's namespaces.
    Join,
    /// The working directory is entered.
    WorkingDirectory,
    /// The program is executed.
    Exec,
    /// Sockets are made whose connections are handed on.
    Proxy,
}

impl Stage {
    /// All stages; the position is the number that travels through the child's pipe.
    pub const ALL: [Self; 31] = [
        Self::Spec,
        Self::Sources,
        Self::Listen,
        Self::Cgroup,
        Self::Clone,
        Self::IdMap,
        Self::IdMappedRoot,
        Self::IdMappedMounts,
        Self::Network,
        Self::JoinCgroup,
        Self::Identity,
        Self::AttachRoot,
        Self::Dev,
        Self::Proc,
        Self::Sys,
        Self::CgroupView,
        Self::Mounts,
        Self::Console,
        Self::Pivot,
        Self::Masks,
        Self::Hostname,
        Self::Sysctl,
        Self::Rlimits,
        Self::Keyring,
        Self::Capabilities,
        Self::Label,
        Self::Seccomp,
        Self::Join,
        Self::WorkingDirectory,
        Self::Exec,
        Self::Proxy,
    ];

    /// What was being done, as the start of an error message.
    #[must_use]
    pub fn doing(self) -> &'static str {
        match self {
            Self::Spec => "checking the spec",
            Self::Sources => "opening what the spec names",
            Self::Listen => "making the monitor's socket",
            Self::Cgroup => "making control groups",
            Self::Clone => "making namespaces",
            Self::IdMap => "mapping ids",
            Self::IdMappedRoot => "mapping the ids of the root file system",
            Self::IdMappedMounts => "mapping the ids of mounts",
            Self::Network => "setting up the network",
            Self::JoinCgroup => "joining control groups",
            Self::Identity => "becoming root inside",
            Self::AttachRoot => "attaching the root file system",
            Self::Dev => "making /dev",
            Self::Proc => "mounting /proc",
            Self::Sys => "mounting /sys",
            Self::CgroupView => "mounting the control groups",
            Self::Mounts => "attaching mounts",
            Self::Console => "making the console",
            Self::Pivot => "changing the root",
            Self::Masks => "masking parts of /proc and /sys",
            Self::Hostname => "setting the hostname",
            Self::Sysctl => "setting kernel parameters",
            Self::Rlimits => "setting resource limits",
            Self::Keyring => "making a session keyring",
            Self::Capabilities => "dropping capabilities",
            Self::Label => "setting the security label",
            Self::Seccomp => "installing the seccomp filter",
            Self::Join => "joining the instance's namespaces",
            Self::WorkingDirectory => "entering the working directory",
            Self::Exec => "executing the program",
            Self::Proxy => "setting up a proxy",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.doing())
    }
}
