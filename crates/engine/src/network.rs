//! Managed networks, and the NICs that are known on them.

mod rename;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coffer_base::{Undo, chain, fault};
use coffer_model::{Config, DeviceName, InstanceName, Network, NetworkName, ProjectName, WarningKind};
use coffer_network::bridge::Occupants;
use coffer_network::config::{fill_auto, fill_new};
use coffer_network::firewall::Firewall;
use coffer_network::{BridgeConfig, BridgeNetwork, Lease, LeaseKind, LinkState, NicPlan, Reservation};
use coffer_store::project::Feature;
use uuid::Uuid;

use crate::error::EngineError;
use crate::events::Caller;
use crate::request::NetworkView;
use crate::{Engine, Precondition, used_by};

/// Which NIC: its instance's project and name, and its device.
pub(crate) type NicKey = (ProjectName, InstanceName, DeviceName);

/// A NIC that is known: its address stays its own also while its instance is stopped.
#[derive(Debug, Clone)]
pub(crate) struct KnownNic {
    /// The managed network it is on; `None` for somebody else's bridge.
    pub network: Option<NetworkName>,
    /// All about it.
    pub plan: NicPlan,
    /// Whether its instance runs.
    pub attached: bool,
}

/// The NICs of all instances that have run, and what changes their filters.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    nics: Mutex<BTreeMap<NicKey, KnownNic>>,
    /// The connection that all filters are changed over.
    pub firewall: Firewall,
}

impl Networks {
    /// The NICs, under their lock.
    pub(crate) fn nics(&self) -> MutexGuard<'_, BTreeMap<NicKey, KnownNic>> {
        self.nics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The NICs on a network: the plans of running instances', the reservations of stopped ones'.
    fn occupants(&self, network: &NetworkName) -> (Vec<NicPlan>, Vec<Reservation>) {
        let nics = self.nics();
        let here = || nics.values().filter(|nic| nic.network.as_ref() == Some(network));
        let running = here().filter(|nic| nic.attached).map(|nic| nic.plan.clone()).collect();
        (running, here().filter(|nic| !nic.attached).map(|nic| nic.plan.reservation.clone()).collect())
    }

    /// The IPv4 addresses that NICs other than `except` have on a network.
    pub(crate) fn used(&self, network: &NetworkName, except: &NicKey) -> BTreeSet<Ipv4Addr> {
        let nics = self.nics();
        let others = nics.iter().filter(|(key, nic)| *key != except && nic.network.as_ref() == Some(network));
        others.filter_map(|(_, nic)| nic.plan.reservation.ipv4).collect()
    }
}

impl Engine {
    /// Lists networks: the managed ones of the project, and the host's interfaces.
    ///
    /// # Errors
    /// If the project does not exist or the kernel does not answer.
    pub fn networks(&self, project: &ProjectName) -> Result<Vec<NetworkView>, EngineError> {
        let managed = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Networks)?;
            let networks = coffer_store::network::list(conn, Some(&home))?;
            networks.into_iter().map(|network| managed_view(conn, network)).collect::<Result<Vec<_>, _>>()
        })?;
        let links = coffer_network::links::host_links().map_err(|cause| EngineError::system("listing interfaces", cause))?;
        let others = links.into_iter().filter(|link| link.name != "lo" && !managed.iter().any(|view| view.name == link.name));
        let mut views: Vec<NetworkView> = others.map(unmanaged_view).chain(managed.iter().cloned()).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    /// Reads one network or interface.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn network(&self, project: &ProjectName, name: &str) -> Result<NetworkView, EngineError> {
        if let Ok(name) = name.parse::<NetworkName>()
            && let Some(view) = self.inner.store.read(|conn| {
                let home = coffer_store::project::home(conn, project, Feature::Networks)?;
                coffer_store::network::get(conn, &home, &name)?.map(|network| managed_view(conn, network)).transpose()
            })?
        {
            return Ok(view);
        }
        let link = coffer_network::links::host_link(name).map_err(|cause| EngineError::system("reading an interface", cause))?;
        link.map(unmanaged_view).ok_or_else(|| EngineError::not_found("network", name))
    }

    /// Makes a bridge network.
    ///
    /// # Errors
    /// If the kind is not `bridge`, a key is refused, the name is taken, or the kernel refuses.
    pub fn create_network(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: NetworkName,
        kind: &str,
        description: String,
        mut config: Config,
    ) -> Result<(), EngineError> {
        match kind {
            "" | "bridge" => {}
            "macvlan" | "sriov" | "ovn" | "physical" => {
                return Err(EngineError::Refused(format!("networks of type {kind} are not supported yet; bridge is")));
            }
            _ => return Err(EngineError::Refused(format!("unknown network type {kind:?}; use bridge"))),
        }
        let cut = |cause| EngineError::system("creating the network", cause);
        coffer_network::config::check_keys(&config).map_err(coffer_network::NetworkError::from)?;
        let ipv6 = std::path::Path::new("/proc/sys/net/ipv6").exists();
        fill_new(&mut config, ipv6, &self.taken_networks(None)?, random)
            .map_err(|error| EngineError::Refused(format!("network {name}: {error}")))?;
        let bridge = self.bridge_of(&name, &config)?;
        let store = &self.inner.store;
        let home = store.read(|conn| coffer_store::project::home(conn, project, Feature::Networks))?;
        let recorded = Network { project: home.clone(), name: name.clone(), description, config, made: false };
        store.write(|tx| coffer_store::network::insert(tx, &recorded))?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a network: {warning}"));
        undo.push(format!("forgetting network {name}"), || store.write(|tx| coffer_store::network::delete(tx, &home, &name)));
        fault::point("network.recorded").map_err(cut)?;
        for warning in bridge.create()? {
            tracing::warn!(network = %name, "{warning}");
        }
        undo.push(format!("removing network {name}"), {
            let bridge = bridge.clone();
            move || bridge.delete()
        });
        fault::point("network.up").map_err(cut)?;
        store.write(|tx| coffer_store::network::set_made(tx, &home, &name, true))?;
        undo.keep();
        self.tell_network(&recorded, "network-created", caller);
        Ok(())
    }

    /// Replaces a network's configuration; what is on it keeps running.
    ///
    /// # Errors
    /// If it does not exist, changed since the client read it, a key is refused, or the kernel refuses.
    pub fn update_network(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &NetworkName,
        description: String,
        mut config: Config,
        only_if: Precondition<'_, Network>,
    ) -> Result<(), EngineError> {
        let now = self.managed(project, name)?;
        if only_if.is_some_and(|check| !check(&now)) {
            return Err(EngineError::Changed { entity: "network", name: name.to_string() });
        }
        coffer_network::config::check_keys(&config).map_err(coffer_network::NetworkError::from)?;
        fill_auto(&mut config, &self.taken_networks(Some(name))?, random)
            .map_err(|error| EngineError::Refused(format!("network {name}: {error}")))?;
        let new = self.bridge_of(name, &config)?;
        let old = self.bridge_of(name, &now.config)?;
        let (running, stopped) = self.inner.networks.occupants(name);
        let occupants = Occupants { running: &running, stopped: &stopped };
        let (_, warnings) = old.update(new.config().clone(), &self.inner.facts.cgroup_parent, occupants)?;
        for warning in warnings {
            tracing::warn!(network = %name, "{warning}");
        }
        let changed = Network { description, config, ..now };
        self.inner.store.write(|tx| coffer_store::network::update(tx, &changed))?;
        self.tell_network(&changed, "network-updated", caller);
        Ok(())
    }

    /// Deletes a network that nobody uses.
    ///
    /// # Errors
    /// If it does not exist or is in use.
    pub fn delete_network(&self, caller: &Caller, project: &ProjectName, name: &NetworkName) -> Result<(), EngineError> {
        let network = self.managed(project, name)?;
        let users = self.inner.store.read(|conn| coffer_store::usage::of_network(conn, &network.project, name))?;
        if !users.is_empty() {
            return Err(EngineError::InUse { entity: "network", name: name.to_string(), users: users.to_string() });
        }
        self.bridge_of(name, &network.config)?.delete()?;
        self.inner.store.write(|tx| coffer_store::network::delete(tx, &network.project, name))?;
        self.forget_warnings(&format!("/1.0/networks/{}", network.name), Some(&network.project));
        self.tell_network(&network, "network-deleted", caller);
        Ok(())
    }

    /// A network's or interface's links, addresses and counters.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn network_state(&self, project: &ProjectName, name: &str) -> Result<LinkState, EngineError> {
        self.network(project, name)?;
        let link = coffer_network::links::host_link(name).map_err(|cause| EngineError::system("reading an interface", cause))?;
        link.ok_or_else(|| EngineError::Refused(format!("network {name} is not up; restart the daemon to bring it back")))
    }

    /// Which instances of a project have which address on a network; the project that the network is in also sees the
    /// bridge's own addresses and those of machines that are no instances.
    ///
    /// # Errors
    /// If it does not exist or its leases cannot be read.
    pub fn network_leases(&self, project: &ProjectName, name: &NetworkName) -> Result<Vec<Lease>, EngineError> {
        let network = self.managed(project, name)?;
        let (running, mut reservations) = self.inner.networks.occupants(name);
        reservations.extend(running.into_iter().map(|plan| plan.reservation));
        let of_others = reservations.iter().filter(|nic| nic.project != *project);
        let hidden: BTreeSet<IpAddr> = of_others.flat_map(Reservation::addresses).collect();
        let leases = self.bridge_of(name, &network.config)?.leases(&reservations)?;
        let seen = |lease: &Lease| match lease.kind {
            LeaseKind::Static => !hidden.contains(&lease.address),
            LeaseKind::Gateway | LeaseKind::Dynamic => network.project == *project,
        };
        Ok(leases.into_iter().filter(seen).collect())
    }

    /// Brings all networks back, with the NICs of the instances that run.
    pub(crate) fn recover_networks(&self) {
        let networks = self.inner.store.read(|conn| coffer_store::network::list(conn, None));
        for network in networks.inspect_err(|error| tracing::error!("listing networks: {}", chain(error))).unwrap_or_default() {
            let recovered = self.bridge_of(&network.name, &network.config).and_then(|bridge| {
                if !network.made {
                    bridge.delete()?;
                    self.inner.store.write(|tx| coffer_store::network::delete(tx, &network.project, &network.name))?;
                    return Ok(Vec::new());
                }
                let (running, stopped) = self.inner.networks.occupants(&network.name);
                let warnings = bridge.recover(Occupants { running: &running, stopped: &stopped })?;
                remove_strays(&bridge, &running)?;
                Ok(warnings)
            });
            let url = format!("/1.0/networks/{}", network.name);
            match recovered {
                Ok(warnings) => {
                    warnings.iter().for_each(|warning| tracing::warn!(network = %network.name, "{warning}"));
                    self.well(WarningKind::NetworkUnavailable, &url, Some(&network.project));
                }
                Err(error) => {
                    tracing::error!(network = %network.name, "bringing it up: {}", chain(&error));
                    self.warn(WarningKind::NetworkUnavailable, &url, Some(&network.project), chain(&error));
                }
            }
        }
        self.forget_stray_limits();
    }

    /// Interfaces on a network's bridge that no instance has that runs or is about to.
    pub(crate) fn stray_interfaces(&self, network: &Network) -> Result<Vec<String>, EngineError> {
        let bridge = self.bridge_of(&network.name, &network.config)?;
        // The ports first: a NIC is known before it is on its bridge.
        let found = strays(&bridge, &[])?;
        let (running, _) = self.inner.networks.occupants(&network.name);
        let strays = found.into_iter().filter(|port| !running.iter().any(|plan| plan.host_name.as_str() == port)).collect();
        // What the kernel is taking away with an instance that has just ended is nobody's to mend.
        let stay = coffer_network::links::that_stay(strays, LAST_LINKS);
        stay.map_err(|cause| EngineError::system(format!("looking at the ports of network {}", network.name), cause))
    }

    /// Takes all networks out of the kernel; their files stay.
    pub(crate) fn close_networks(&self) {
        let networks = self.inner.store.read(|conn| coffer_store::network::list(conn, None)).unwrap_or_default();
        for network in networks {
            if let Err(error) = self.bridge_of(&network.name, &network.config).and_then(|bridge| Ok(bridge.down()?)) {
                tracing::warn!(network = %network.name, "taking it down: {}", chain(&error));
            }
        }
    }

    /// A managed network by its name.
    pub(crate) fn managed(&self, project: &ProjectName, name: &NetworkName) -> Result<Network, EngineError> {
        let found = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Networks)?;
            coffer_store::network::get(conn, &home, name)
        })?;
        found.ok_or_else(|| EngineError::not_found("network", name))
    }

    /// The driver's object for a network.
    pub(crate) fn bridge_of(&self, name: &NetworkName, config: &Config) -> Result<BridgeNetwork, EngineError> {
        let config = BridgeConfig::parse(config).map_err(coffer_network::NetworkError::from)?;
        let directory = self.inner.settings.dir.join("networks").join(name.as_str());
        Ok(BridgeNetwork::new(name.clone(), config, &directory, &self.inner.facts.cgroup_parent, self.inner.networks.firewall.clone()))
    }

    /// What a new network must keep clear of: the host's networks and the other managed ones.
    fn taken_networks(&self, except: Option<&NetworkName>) -> Result<Vec<ipnet::IpNet>, EngineError> {
        let mut taken = coffer_network::links::host_networks().map_err(|cause| EngineError::system("reading the host's routes", cause))?;
        let networks = self.inner.store.read(|conn| coffer_store::network::list(conn, None))?;
        for network in networks.iter().filter(|network| Some(&network.name) != except) {
            taken.extend(["ipv4.address", "ipv6.address"].iter().filter_map(|key| network.config.parse::<ipnet::IpNet>(key)));
        }
        Ok(taken)
    }

    fn tell_network(&self, network: &Network, action: &'static str, caller: &Caller) {
        self.events().lifecycle(Some(&network.project), action, format!("/1.0/networks/{}", network.name), Some(caller));
    }
}

/// Removes pairs that a start left on a bridge when the daemon was killed.
fn remove_strays(bridge: &BridgeNetwork, running: &[NicPlan]) -> Result<(), EngineError> {
    for stray in strays(bridge, running)? {
        tracing::info!(network = %bridge.name(), "removing interface {stray}, which no running instance has");
        coffer_network::bridge::remove_link(&stray.parse()?)?;
    }
    Ok(())
}

/// The ports of a bridge that no running instance has. Only what this server would have named so counts.
/// How long the kernel may take to remove the link of an instance that has ended.
const LAST_LINKS: Duration = Duration::from_secs(1);

fn strays(bridge: &BridgeNetwork, running: &[NicPlan]) -> Result<Vec<String>, EngineError> {
    let ports = bridge.state()?.and_then(|link| link.bridge).map(|bridge| bridge.upper_devices).unwrap_or_default();
    let ours = |port: &&String| {
        port.len() == 12 && port.strip_prefix("veth").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let strays = ports.iter().filter(ours).filter(|port| !running.iter().any(|plan| plan.host_name.as_str() == port.as_str()));
    Ok(strays.cloned().collect())
}

fn managed_view(conn: &coffer_store::Conn, network: Network) -> Result<NetworkView, coffer_store::StoreError> {
    let users = coffer_store::usage::of_network(conn, &network.project, &network.name)?;
    let mut used_by = used_by::urls(&users);
    // What instances have through a profile counts as their use too, as with LXD.
    for (project, profile) in &users.profiles {
        for instance in used_by::instances_of_profile(conn, project, profile)? {
            used_by.push(used_by::url("instances", &instance.project, instance.name.as_str()));
        }
    }
    let mut seen = BTreeSet::new();
    used_by.retain(|url| seen.insert(url.clone()));
    Ok(NetworkView { name: network.name.to_string(), kind: "bridge".into(), managed: Some(network), used_by })
}

fn unmanaged_view(link: LinkState) -> NetworkView {
    NetworkView { name: link.name, kind: link.kind.as_str().to_owned(), managed: None, used_by: Vec::new() }
}

fn random() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high.rotate_left(32) ^ low
}
