//! Netlink: links, addresses and routes of this or another network namespace, and nftables set elements.
//!
//! Synchronous, and small enough for the monitor: messages are written into one buffer ([`Batch`]) and sent by one call
//! ([`Socket::execute`]), answers are read as attributes where they lie. [`RouteSocket`] puts names on what the product needs
//! of `NETLINK_ROUTE`; [`nftables`] does the same for `NETLINK_NETFILTER`.

mod address;
mod link;
mod message;
mod namespace;
mod news;
pub mod nftables;
mod over;
pub mod packet;
mod policing;
mod route;
mod shaping;
mod socket;
pub mod uevent;

pub use address::{Address, Scope};
pub use link::{BridgeFacts, Counters, Link, LinkChange, NewBridge, NewVeth, link_index};
pub use message::{Attributes, Batch};
pub use namespace::Namespace;
pub use news::News;
pub use over::{NewOver, OverMode};
pub use policing::Policing;
pub use route::{Destination, Route};
pub use socket::{Protocol, RouteSocket, Socket};
