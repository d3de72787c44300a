//! Networks of instances: managed bridges with their addresses, names, rules and NICs.
//!
//! Never: a database, HTTP, async; text of a user in a rule or an option that was not a typed value before; a program
//! started while an instance starts; a name that a guest chose, unless the network's configuration asks for it.

mod allocate;
pub mod bridge;
pub mod config;
pub mod dnsmasq;
mod error;
pub mod firewall;
mod hwaddr;
pub mod links;

pub use allocate::choose_ipv4;
pub use bridge::{BridgeNetwork, Inside, NicPlan, NicRequest, Occupants};
pub use config::BridgeConfig;
pub use dnsmasq::{Lease, LeaseKind, Reservation};
pub use error::NetworkError;
pub use hwaddr::{HwAddr, NotHwAddr};
pub use links::{Inspector, LinkState};
