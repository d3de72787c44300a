//! What keeps an instance inside.

use serde::{Deserialize, Serialize};

use crate::{Capability, Mounting};

/// The security settings of an instance; init and every exec get the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Security {
    /// Capabilities that nothing inside can get; absent: the default list of the runtime.
    pub drop_capabilities: Option<Vec<Capability>>,
    /// Set-id programs and file capabilities give no rights.
    pub no_new_privs: bool,
    /// System calls that are let through.
    pub seccomp: Seccomp,
    /// System calls that the monitor makes in the place of their caller, in an instance with a user namespace of its own.
    pub intercept: Intercept,
    /// What `mount` may be of where it is among those; can be changed while the instance runs.
    pub mounting: Mounting,
    /// Label of the Linux security module.
    pub label: Option<Label>,
    /// Containers may be run inside: unmasked `/proc` and `/sys` are kept in `/dev/.lxc`.
    pub nesting: bool,
    /// Instances get the device nodes of the spec and the usual harmless ones; with this, every device is allowed.
    pub all_devices: bool,
}

/// Which system calls are let through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// The allow-list of the runtime, changed by rules.
    Default {
        /// Rules that come before the allow-list, in order.
        #[serde(default)]
        rules: Vec<SeccompRule>,
        /// Programs of the machine's other ABIs, 32-bit ones on 64-bit machines, get no call through.
        #[serde(default)]
        native_only: bool,
    },
    /// No filter.
    Off,
}

impl Default for Seccomp {
    fn default() -> Self {
        Self::Default { rules: Vec::new(), native_only: false }
    }
}

/// System calls that the monitor makes, where it may, with rights that their caller lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Intercept {
    /// Nodes of harmless character devices are made.
    pub mknod: bool,
    /// `trusted.overlay.opaque` is set on directories.
    pub setxattr: bool,
    /// `sysinfo` tells the instance's limits.
    pub sysinfo: bool,
    /// Real-time scheduling up to [`Intercept::HIGHEST_PRIORITY`] is given.
    pub sched_setscheduler: bool,
    /// File systems of [`Security::mounting`] are mounted.
    pub mount: bool,
}

impl Intercept {
    /// The highest real-time priority that is given: below that of the host's own threads for interrupts.
    pub const HIGHEST_PRIORITY: i32 = 49;

    /// Says whether there is anything to do.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// What happens to one system call, on every ABI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SeccompRule {
    /// The call's name.
    pub call: String,
    /// What happens.
    pub action: Action,
}

/// What a seccomp rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The call is made.
    Allow,
    /// The call fails with this error number.
    Errno(u16),
    /// The process is killed.
    Kill,
}

/// A label of a Linux security module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// An AppArmor profile that is already loaded.
    Apparmor(String),
    /// An SELinux context.
    Selinux(String),
}

/// One resource limit. Source: setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rlimit {
    /// The resource's name in lower case without `RLIMIT_`: `nofile`, `memlock`, …
    pub resource: String,
    /// The soft limit; absent: unlimited.
    #[serde(default)]
    pub soft: Option<u64>,
    /// The hard limit; absent: unlimited.
    #[serde(default)]
    pub hard: Option<u64>,
}
