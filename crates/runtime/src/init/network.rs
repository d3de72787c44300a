//! Handing out a socket of the new network namespace, so that the monitor can configure it without ever entering it.

use std::os::fd::AsFd;

use coffer_runtime_spec::Stage;

use super::{Inside, word};
use crate::failed::{At, Failed};

/// Sends a netlink socket of this network namespace to the parent.
pub(super) fn send_socket(inside: &Inside<'_>) -> Result<(), Failed> {
    let socket = coffer_sys::socket::route_socket().at(Stage::Network, || "opening a netlink socket".into())?;
    inside.sync.send(&[word::NETWORK], &[socket.as_fd()]).at(Stage::Network, || "handing over a netlink socket".into())
}
