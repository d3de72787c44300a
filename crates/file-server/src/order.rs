//! The words between the daemon and `coffer-files`: one order with a descriptor, one answer, then connections.

use serde::{Deserialize, Serialize};

/// The largest packet of either side, in bytes.
pub(crate) const MOST: usize = 4096;

/// What a packet that brings a connection says. Its first descriptor is the stream; others are held as long as it is served.
pub(crate) const CONNECTION: &[u8] = b"connection";

/// The step that fails where a volume's file system cannot map ids in a mount.
pub const MAPPING: &str = "mapping the ids of the volume's mount";

/// A run of host ids that are an instance's ids from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first host id.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// Whose files are to be served; one descriptor comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// A running instance's: the descriptor is its init's pidfd.
    Running {
        /// It has a user namespace.
        mapped: bool,
    },
    /// A stopped instance's: the descriptor is its root directory.
    Stopped {
        /// Its ids; absent, they are the host's.
        ids: Option<IdRange>,
        /// The ids on disk are the instance's own, so its mount maps them.
        idmapped: bool,
    },
}

/// The answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// Connections are welcome.
    Ready(Confinement),
    /// It could not be done.
    Failed { step: String, errno: i32 },
}

/// Whose rights the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// Those of root in the instance's user namespace.
    Unprivileged,
    /// The instance has no user namespace: those of the host's root without most capabilities.
    Privileged,
}
