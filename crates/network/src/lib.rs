//! Networks of instances: managed bridges with their addresses, names, rules and NICs.
//!
//! Never: a database, HTTP, async; text of a user in a rule or an option that was not a typed value before; a program
//! started while an instance starts; a name that a guest chose.

mod allocate;
pub mod config;
mod hwaddr;

pub use config::BridgeConfig;
pub use hwaddr::{HwAddr, NotHwAddr};
