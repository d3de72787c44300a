//! Proxies: described here, served by a child of the monitor or by the firewall, so that they live as long as the instance.

use std::net::IpAddr;

use coffer_base::Undo;
use coffer_model::device::{Address, Endpoints, Nic, Proxy, Side};
use coffer_model::{Device, DeviceName};
use coffer_network::firewall::{self, Family, Redirection, redirection_table};
use coffer_runtime_spec as spec;

use super::{RunConfig, failed};
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;
use crate::{Engine, MonitorError};

impl Engine {
    /// Adds a proxy to a start, or has the firewall redirect.
    pub(super) fn proxy_start<'a>(
        &'a self,
        loaded: &Loaded,
        name: &DeviceName,
        proxy: &Proxy,
        run: &mut RunConfig,
        undo: &mut Undo<'a>,
    ) -> Result<(), EngineError> {
        if !proxy.nat {
            run.proxies.push(described(name, proxy));
            return Ok(());
        }
        redirect(loaded, name, proxy)?;
        let table = table(loaded, name);
        undo.push(format!("removing the redirection of {name}"), move || firewall::unload(&[table]));
        Ok(())
    }

    /// Has a running instance's monitor hand connections on, or the firewall redirect.
    pub(super) fn proxy_plug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, proxy: &Proxy) -> Result<(), EngineError> {
        if proxy.nat {
            return redirect(loaded, name, proxy);
        }
        let request = spec::Request::AttachProxy { proxy: Box::new(described(name, proxy)) };
        running.monitor.tell(request, &[]).map_err(|cause| failed(loaded, "attaching a proxy", cause))
    }

    /// Ends a proxy of a running instance.
    pub(super) fn proxy_unplug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, proxy: &Proxy) -> Result<(), EngineError> {
        if proxy.nat {
            return firewall::unload(&[table(loaded, name)]).map_err(|cause| refused(name, &cause));
        }
        match running.monitor.tell(spec::Request::DetachProxy { name: name.to_string() }, &[]) {
            // Something killed it.
            Err(MonitorError::Refused(refusal)) if refusal.kind == spec::RefusalKind::NotFound => Ok(()),
            result => result.map_err(|cause| failed(loaded, "detaching a proxy", cause)),
        }
    }

    /// Takes back what a proxy of an ended instance left: its process ended with the instance, a redirection did not.
    pub(super) fn proxy_end(&self, loaded: &Loaded, name: &DeviceName, proxy: &Proxy) {
        if proxy.nat
            && let Err(error) = firewall::unload(&[table(loaded, name)])
        {
            tracing::warn!(instance = %loaded.instance.name, "removing the redirection of {name}: {}", coffer_base::chain(&error));
        }
    }

    /// Removes the redirections of an instance that does not run: a daemon that was killed may have left some.
    pub(crate) fn forget_redirections(&self, loaded: &Loaded) {
        for (name, device) in loaded.devices().unwrap_or_default() {
            if let Device::Proxy(proxy) = device {
                self.proxy_end(loaded, &name, &proxy);
            }
        }
    }
}

/// Has the firewall redirect what comes for a proxy.
fn redirect(loaded: &Loaded, name: &DeviceName, proxy: &Proxy) -> Result<(), EngineError> {
    let devices = loaded.devices()?;
    let nics: Vec<&Nic> = devices
        .values()
        .filter_map(|device| match device {
            Device::Nic(nic) => Some(nic),
            _ => None,
        })
        .collect();
    let redirection = plan(&nics, proxy).map_err(|why| EngineError::Refused(format!("device {name}: {why}")))?;
    let rules = redirection.rules(table(loaded, name).1);
    firewall::load(&[&rules]).map_err(|cause| refused(name, &cause))
}

/// Decides what is redirected where.
fn plan(nics: &[&Nic], proxy: &Proxy) -> Result<Redirection, String> {
    let (protocol, from, to, listen, connect) = match (&proxy.listen, &proxy.connect) {
        (Endpoints::Tcp(from, listen), Endpoints::Tcp(to, connect)) => ("tcp", *from, *to, listen, connect),
        (Endpoints::Udp(from, listen), Endpoints::Udp(to, connect)) => ("udp", *from, *to, listen, connect),
        _ => return Err("nat=true needs tcp or udp on both sides".into()),
    };
    if from.is_unspecified() || from.is_loopback() {
        return Err(format!(
            "nat=true needs the address of the host that is reached, and {from} is none; without nat it can be listened at"
        ));
    }
    let fixed: Vec<IpAddr> = nics
        .iter()
        .flat_map(|nic| {
            let four = if let Address::Fixed(address) = nic.ipv4 { Some(IpAddr::V4(address)) } else { None };
            let six = if let Address::Fixed(address) = nic.ipv6 { Some(IpAddr::V6(address)) } else { None };
            [four, six]
        })
        .flatten()
        .filter(|address| address.is_ipv4() == from.is_ipv4())
        .collect();
    let key = if from.is_ipv4() { "ipv4.address" } else { "ipv6.address" };
    let wanted = if to.is_unspecified() { fixed.first() } else { fixed.iter().find(|address| **address == to) };
    let to = *wanted.ok_or_else(|| {
        format!(
            "nat=true needs a NIC of the instance whose {key} is fixed{}",
            if to.is_unspecified() { String::new() } else { format!(" to {to}") }
        )
    })?;
    let port = |at: usize| connect.get(at).or_else(|| connect.first()).copied().unwrap_or_default();
    let ports = listen.iter().enumerate().map(|(at, listen)| (*listen, port(at))).collect();
    Ok(Redirection { protocol, from, to, ports })
}

/// The table of a proxy's redirection.
fn table(loaded: &Loaded, name: &DeviceName) -> (Family, String) {
    (Family::Inet, redirection_table(&loaded.instance.key(), name.as_str()))
}

fn refused(name: &DeviceName, cause: &coffer_base::run::RunError) -> EngineError {
    EngineError::Refused(format!("device {name}: redirecting packets: {}", coffer_base::chain(cause)))
}

/// Describes a proxy for the monitor.
pub(super) fn described(name: &DeviceName, proxy: &Proxy) -> spec::Proxy {
    spec::Proxy {
        name: name.to_string(),
        bind: match proxy.bind {
            Side::Host => spec::Side::Host,
            Side::Instance => spec::Side::Instance,
        },
        listen: endpoints(&proxy.listen),
        connect: endpoints(&proxy.connect),
        proxy_protocol: proxy.proxy_protocol,
        socket: spec::SocketFile { uid: proxy.socket_owner.uid, gid: proxy.socket_owner.gid, mode: proxy.socket_mode.0 },
        uid: proxy.connect_as.uid,
        gid: proxy.connect_as.gid,
    }
}

fn endpoints(endpoints: &Endpoints) -> Vec<spec::Endpoint> {
    match endpoints {
        Endpoints::Tcp(..) => endpoints.sockets().map(spec::Endpoint::Tcp).collect(),
        Endpoints::Udp(..) => endpoints.sockets().map(spec::Endpoint::Udp).collect(),
        Endpoints::Unix(path) => vec![spec::Endpoint::Unix(path.clone())],
        Endpoints::Abstract(name) => vec![spec::Endpoint::Abstract(name.clone())],
    }
}
