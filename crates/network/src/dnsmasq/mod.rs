//! dnsmasq, one for each network: DHCP, router advertisements and names.
//!
//! It is started when the network comes up and outlives the daemon; what changes with each instance are small files in two
//! directories that it watches ([`Reservations`]).

mod arguments;
mod leases;
mod process;
mod release;
mod reservation;

pub use arguments::arguments;
pub use leases::{Lease, LeaseKind, dynamic_leases, leases};
pub use process::{Dnsmasq, reachable};
pub use reservation::{Reservation, Reservations};

use std::path::{Path, PathBuf};

/// Where a network's files are: `networks/NAME/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    /// Names the files of the network whose directory is `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The network's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The running dnsmasq's process number.
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.dir.join("dnsmasq.pid")
    }

    /// Leases that dnsmasq keeps.
    #[must_use]
    pub fn leases(&self) -> PathBuf {
        self.dir.join("dnsmasq.leases")
    }

    /// The user's own lines.
    #[must_use]
    pub fn raw(&self) -> PathBuf {
        self.dir.join("dnsmasq.raw")
    }

    /// One file for each NIC: which address DHCP gives it.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        self.dir.join("dnsmasq.hosts")
    }

    /// One file for each NIC: which name its addresses have.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.dir.join("dnsmasq.names")
    }
}
