//! NICs that take of the host's interfaces: one that moves in, and links over one. They are on no network of this server.

use coffer_model::device::{IpvlanMode, Nic, OverKind};
use coffer_model::{DeviceName, InterfaceName};
use coffer_network::LinkState;
use coffer_runtime_spec as spec;
use coffer_sys::netlink::{LinkChange, RouteSocket};

use crate::error::EngineError;
use crate::instance::start::Loaded;

/// Describes a link over an interface of the host, which the monitor makes inside.
pub(super) fn over(
    loaded: &Loaded,
    name: &DeviceName,
    nic: &Nic,
    parent: &InterfaceName,
    kind: OverKind,
    inside: String,
) -> Result<spec::Nic, EngineError> {
    let below = interface(name, parent)?;
    if !below.up {
        return Err(EngineError::Refused(format!("device {name}: interface {parent} of the host is switched off; switch it on first")));
    }
    let own = nic.hwaddr.as_deref().or_else(|| loaded.instance.config.get(&format!("volatile.{name}.hwaddr")));
    let (kind, hwaddr) = match kind {
        OverKind::Macvlan => (spec::OverKind::Macvlan, own.map(str::to_owned)),
        OverKind::Ipvlan(IpvlanMode::L2) => (spec::OverKind::IpvlanL2, None),
        OverKind::Ipvlan(IpvlanMode::L3s) => (spec::OverKind::IpvlanL3s, None),
    };
    let over = spec::Over { parent: parent.to_string(), kind };
    Ok(spec::Nic { over: Some(over), hwaddr, ..bare(parent, nic, inside) })
}

/// Describes an interface of the host that moves in, and what it was before.
pub(super) fn physical(
    name: &DeviceName,
    nic: &Nic,
    parent: &InterfaceName,
    inside: String,
) -> Result<(spec::Nic, Vec<(String, String)>), EngineError> {
    let state = interface(name, parent)?;
    if state.addresses.iter().any(|address| address.scope_word() == "global") {
        return Err(EngineError::Refused(format!(
            "device {name}: interface {parent} has addresses of the host, which would lose them; remove them first, or use nictype=macvlan"
        )));
    }
    let mut before = vec![(key(name, "mtu"), state.mtu.to_string())];
    before.extend(state.hwaddr.map(|hwaddr| (key(name, "hwaddr"), hwaddr.to_string())));
    Ok((spec::Nic { hwaddr: nic.hwaddr.clone(), give_back: true, ..bare(parent, nic, inside) }, before))
}

/// Gives an interface that came back the address and size that it had.
pub(super) fn restore(loaded: &Loaded, name: &DeviceName, nic: &Nic, parent: &InterfaceName) {
    let config = &loaded.instance.config;
    let hwaddr: Option<coffer_network::HwAddr> = config.parse(&key(name, "hwaddr")).filter(|_| nic.hwaddr.is_some());
    let mtu: Option<u32> = config.parse(&key(name, "mtu")).filter(|_| nic.mtu.is_some());
    let change = LinkChange { hwaddr: hwaddr.map(|hwaddr| hwaddr.bytes()), mtu, ..LinkChange::default() };
    let restored = RouteSocket::open().and_then(|mut routes| match routes.link(parent.as_str())? {
        Some(link) => routes.change_link(link.index, &change),
        None => Err(std::io::ErrorKind::NotFound.into()),
    });
    if let Err(error) = restored {
        tracing::warn!(instance = %loaded.instance.name, "device {name}: giving interface {parent} its address and size back: {error}");
    }
}

fn key(name: &DeviceName, what: &str) -> String {
    format!("volatile.{name}.last_state.{what}")
}

fn interface(name: &DeviceName, parent: &InterfaceName) -> Result<LinkState, EngineError> {
    let found = coffer_network::links::host_link(parent.as_str());
    let found = found.map_err(|cause| EngineError::system(format!("device {name}: looking for interface {parent}"), cause))?;
    found.ok_or_else(|| {
        EngineError::Refused(format!(
            "device {name}: the host has no interface {parent}; `coffer network list` shows those it has, and another instance may have it now"
        ))
    })
}

fn bare(parent: &InterfaceName, nic: &Nic, inside: String) -> spec::Nic {
    spec::Nic {
        host_name: parent.to_string(),
        name: inside,
        veth: None,
        over: None,
        hwaddr: None,
        mtu: nic.mtu,
        addresses: Vec::new(),
        routes: Vec::new(),
        up: true,
        give_back: false,
    }
}
