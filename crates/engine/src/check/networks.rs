//! Networks: what is up of them against what is recorded.

use coffer_model::{Config, NetworkName, Status};
use coffer_network::BridgeNetwork;
use coffer_network::firewall::redirection_table;

use super::{Check, FindingKind};
use crate::error::EngineError;

impl Check<'_> {
    /// Compares every bridge with its ports, and what is left of networks that are in no record.
    pub(super) fn networks(&mut self) -> Result<(), EngineError> {
        let recorded = self.engine.inner.store.read(|conn| coffer_store::network::list(conn, None))?;
        for network in recorded.iter().filter(|network| network.made) {
            let thing = format!("network {}", network.name);
            let bridge = self.engine.bridge_of(&network.name, &network.config)?;
            if bridge.state()?.is_none() {
                self.mend(FindingKind::NetworkDown, thing, "its bridge is not there", "bring it up again", |engine| {
                    engine.recover_networks();
                    Ok(())
                });
                continue;
            }
            for stray in self.engine.stray_interfaces(network)? {
                let thing = format!("interface {stray}");
                let problem = format!("it hangs on network {} and belongs to no running instance", network.name);
                self.mend(FindingKind::OrphanLink, thing, problem, "remove it", |_| {
                    Ok(coffer_network::bridge::remove_link(&stray.parse()?)?)
                });
            }
        }
        let directory = self.engine.inner.settings.dir.join("networks");
        let listing = |cause| EngineError::system(format!("listing {}", directory.display()), cause);
        for entry in std::fs::read_dir(&directory).map_err(listing)? {
            let name = entry.map_err(listing)?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.parse::<NetworkName>().ok()) else { continue };
            let now = self.engine.inner.store.read(|conn| coffer_store::network::list(conn, None))?;
            if !recorded.iter().chain(&now).any(|network| network.name == name) {
                self.leftover(&name)?;
            }
        }
        Ok(())
    }

    /// A network that has files and no record.
    fn leftover(&mut self, name: &NetworkName) -> Result<(), EngineError> {
        let bridge = self.engine.bridge_of(name, &Config::default())?;
        let link = bridge.state()?;
        let used = link.as_ref().and_then(|link| link.bridge.as_ref()).is_some_and(|bridge| !bridge.upper_devices.is_empty());
        let mut found = Vec::new();
        if link.is_some() {
            found.push((FindingKind::OrphanLink, format!("interface {name}")));
        }
        if bridge.has_rules()? {
            found.push((FindingKind::OrphanFirewallRules, format!("firewall rules of network {name}")));
        }
        if bridge.is_served() {
            found.push((FindingKind::OrphanDnsmasq, format!("dnsmasq of network {name}")));
        }
        if found.is_empty() {
            found.push((FindingKind::OrphanDirectory, format!("directory networks/{name}")));
        }
        for (kind, thing) in found {
            let problem = "its network is in no record";
            if used {
                self.tell(kind, thing, problem, "instances are on it: make a network of that name, which takes it up again");
            } else {
                self.mend(kind, thing, problem, "take the network down", |_| Ok(BridgeNetwork::delete(&bridge)?));
            }
        }
        Ok(())
    }

    /// Compares the firewall's redirections of proxies.
    pub(super) fn redirections(&mut self) -> Result<(), EngineError> {
        let tables = self.engine.inner.networks.firewall.tables()?;
        if !tables.iter().any(|table| table.starts_with("coffer_proxy_")) {
            return Ok(());
        }
        for instance in self.engine.inner.store.read(|conn| coffer_store::instance::list(conn, None))? {
            let cell = self.engine.inner.cells.get(&instance.project, &instance.name);
            if cell.status() != Status::Stopped || cell.is_busy() {
                continue;
            }
            let loaded = self.engine.load(&instance.project, &instance.name)?;
            let left = |name: &coffer_model::DeviceName| tables.contains(&redirection_table(&instance.key(), name.as_str()));
            if loaded.devices()?.keys().any(left) {
                let thing = format!("firewall rules of instance {} in project {}", instance.name, instance.project);
                self.mend(FindingKind::OrphanFirewallRules, thing, "it does not run", "remove them", |engine| {
                    engine.forget_redirections(&loaded);
                    Ok(())
                });
            }
        }
        Ok(())
    }
}
