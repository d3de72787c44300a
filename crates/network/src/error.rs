//! What can go wrong with a network.

use std::io;
use std::path::PathBuf;

use coffer_base::run::RunError;
use coffer_model::{InstanceName, InterfaceName, NetworkName};

use crate::config::ConfigError;

/// Why something about a network or a NIC could not be done.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An interface of the host has the network's name already.
    #[error("network {network}: the host has an interface of that name already; choose another name")]
    NameInUse {
        /// The network.
        network: NetworkName,
    },
    /// The interface with the network's name is no bridge.
    #[error("network {network}: interface {network} is a {kind}, not a bridge; remove or rename it")]
    NotABridge {
        /// The network.
        network: NetworkName,
        /// What it is.
        kind: String,
    },
    /// An interface is missing.
    #[error("interface {interface} does not exist")]
    NoInterface {
        /// The interface.
        interface: InterfaceName,
    },
    /// An external interface has addresses: the host would lose them.
    #[error("network {network}: interface {interface} has addresses and cannot become a port; remove them first")]
    ExternalHasAddresses {
        /// The network.
        network: NetworkName,
        /// The interface.
        interface: InterfaceName,
    },
    /// The kernel refused a step.
    #[error("network {network}: {doing}")]
    Kernel {
        /// The network or interface.
        network: String,
        /// The step.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// The step: `writing`, `reading`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A program failed.
    #[error("network {network}: {doing}")]
    Program {
        /// The network.
        network: String,
        /// What it was to do.
        doing: &'static str,
        /// Why it did not.
        #[source]
        cause: RunError,
    },
    /// dnsmasq did not stay.
    #[error("network {network}: dnsmasq did not {wanted}; look into the system's log for its reason")]
    Dnsmasq {
        /// The network.
        network: NetworkName,
        /// What it was to do.
        wanted: &'static str,
    },
    /// All addresses are used.
    #[error("network {network} has no free IPv4 address; delete instances or widen ipv4.dhcp.ranges")]
    Full {
        /// The network.
        network: NetworkName,
    },
    /// A fixed address is not in the network.
    #[error("network {network}: address {address} is not in the network or is the bridge's own")]
    AddressOutside {
        /// The network.
        network: NetworkName,
        /// The address.
        address: std::net::IpAddr,
    },
    /// An address is another NIC's.
    #[error("network {network}: address {address} is in use by another instance")]
    AddressInUse {
        /// The network.
        network: NetworkName,
        /// The address.
        address: std::net::IpAddr,
    },
    /// Another instance of the project has the same name on this network, but for upper and lower case.
    #[error("network {network}: the name {name} is another instance's ({owner}); names on a network do not tell upper from lower case")]
    NameTaken {
        /// The network.
        network: NetworkName,
        /// The name.
        name: InstanceName,
        /// Who has it.
        owner: String,
    },
}

/// Adds the network and the step to what the kernel said.
pub(crate) fn kernel(network: impl ToString, doing: &'static str) -> impl FnOnce(io::Error) -> NetworkError {
    move |cause| NetworkError::Kernel { network: network.to_string(), doing, cause }
}

/// Adds the path and the step to what the kernel said.
pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> NetworkError {
    move |cause| NetworkError::File { doing, path: path.into(), cause }
}
