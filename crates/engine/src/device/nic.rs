//! Network interfaces: planned, made on the host, moved in by the monitor.

use std::collections::BTreeSet;

use coffer_base::Undo;
use coffer_model::device::{Nic, NicParent};
use coffer_model::{Device, DeviceName, Instance, InterfaceName};
use coffer_network::bridge;
use coffer_network::{BridgeNetwork, NicPlan, NicRequest};
use coffer_runtime_spec as spec;
use uuid::Uuid;

use super::{RunConfig, failed, nic_host};
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;
use crate::network::{KnownNic, NicKey};
use crate::{Engine, MonitorError};

impl Engine {
    /// Makes a NIC for an instance that is about to start.
    pub(super) fn nic_start<'a>(
        &'a self,
        loaded: &Loaded,
        name: &DeviceName,
        nic: &Nic,
        run: &mut RunConfig,
        undo: &mut Undo<'a>,
    ) -> Result<(), EngineError> {
        match &nic.on {
            NicParent::Network(_) | NicParent::Bridge(_) | NicParent::PointToPoint => {}
            NicParent::Over(..) | NicParent::Physical(_) => {
                let (nic, volatile) = host_nic(loaded, name, nic)?;
                run.nics.push(nic);
                run.volatile.extend(volatile);
                return Ok(());
            }
        }
        let (plan, bridge) = self.nic_prepare(loaded, name, nic)?;
        let key = key(&loaded.instance, name);
        undo.push(format!("removing the port of {}", plan.host_name), {
            let plan = plan.clone();
            move || {
                self.nic_detach(&key, &plan, bridge.as_ref())?;
                bridge::remove_link(&plan.host_name).map_err(EngineError::from)
            }
        });
        let inside = inside_name(loaded, name)?;
        run.volatile.extend(volatile(name, &plan, &inside));
        run.nics.push(self.spec_nic(&plan, inside));
        Ok(())
    }

    /// Takes back what a NIC of an ended instance left: its filters; its pair went with the namespace.
    pub(super) fn nic_end(&self, loaded: &Loaded, name: &DeviceName, nic: &Nic) {
        if let NicParent::Physical(parent) = &nic.on {
            nic_host::restore(loaded, name, nic, parent);
        }
        let key = key(&loaded.instance, name);
        let Some(known) = self.inner.networks.nics().get(&key).cloned() else { return };
        let bridge = self.bridge_network(loaded, nic).ok().flatten();
        if let Err(error) = self.nic_detach(&key, &known.plan, bridge.as_ref()) {
            tracing::warn!("port {}: {}", known.plan.host_name, coffer_base::chain(&error));
        }
    }

    /// Makes a NIC and moves it into a running instance. Answers keys to remember.
    pub(super) fn nic_plug(
        &self,
        running: &Running,
        loaded: &Loaded,
        name: &DeviceName,
        nic: &Nic,
    ) -> Result<Vec<(String, String)>, EngineError> {
        match &nic.on {
            NicParent::Network(_) | NicParent::Bridge(_) | NicParent::PointToPoint => {}
            NicParent::Over(..) | NicParent::Physical(_) => {
                let (nic, volatile) = host_nic(loaded, name, nic)?;
                let attached = running.monitor.tell(spec::Request::AttachNic { nic }, &[]);
                return attached.map(|()| volatile).map_err(|cause| failed(loaded, "attaching a network interface", cause));
            }
        }
        let (plan, bridge) = self.nic_prepare(loaded, name, nic)?;
        let inside = inside_name(loaded, name)?;
        let remember = volatile(name, &plan, &inside);
        let request = spec::Request::AttachNic { nic: self.spec_nic(&plan, inside) };
        if let Err(cause) = running.monitor.tell(request, &[]) {
            let key = key(&loaded.instance, name);
            self.nic_detach(&key, &plan, bridge.as_ref())?;
            bridge::remove_link(&plan.host_name)?;
            return Err(failed(loaded, "attaching a network interface", cause));
        }
        Ok(remember)
    }

    /// Takes a NIC out of a running instance, and gives its address back.
    pub(super) fn nic_unplug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, nic: &Nic) -> Result<(), EngineError> {
        let inside = inside_name(loaded, name)?;
        let host_name = match &nic.on {
            NicParent::Physical(parent) => Some(parent.to_string()),
            NicParent::Network(_) | NicParent::Bridge(_) | NicParent::PointToPoint | NicParent::Over(..) => None,
        };
        match running.monitor.tell(spec::Request::DetachNic { name: inside, host_name }, &[]) {
            // Somebody inside removed it already.
            Ok(()) => {}
            Err(MonitorError::Refused(refusal)) if refusal.kind == spec::RefusalKind::NotFound => {}
            Err(cause) => return Err(failed(loaded, "detaching a network interface", cause)),
        }
        if let NicParent::Physical(parent) = &nic.on {
            nic_host::restore(loaded, name, nic, parent);
        }
        let key = key(&loaded.instance, name);
        let Some(known) = self.inner.networks.nics().get(&key).cloned() else { return Ok(()) };
        let bridge = self.bridge_network(loaded, nic)?;
        self.nic_detach(&key, &known.plan, bridge.as_ref())?;
        self.inner.networks.nics().remove(&key);
        if let Some(bridge) = bridge {
            bridge.forget(&known.plan.reservation)?;
        }
        Ok(())
    }

    /// Knows the NICs of an instance again after a start of the daemon: their addresses stay theirs.
    pub(crate) fn remember_addresses(&self, instance: &Instance) {
        let Ok(loaded) = self.load(&instance.project, &instance.name) else { return };
        for (name, device) in loaded.devices().unwrap_or_default() {
            let Device::Nic(nic) = device else { continue };
            if matches!(nic.on, NicParent::Over(..) | NicParent::Physical(_)) {
                continue;
            }
            let Some(host_name) = instance.config.parse::<InterfaceName>(&format!("volatile.{name}.host_name")) else { continue };
            match self.nic_plan(&loaded, &name, &nic, host_name) {
                Ok((plan, _)) => self.know(key(instance, &name), &nic, plan, false),
                Err(error) => tracing::warn!(instance = %instance.name, "device {name}: {}", coffer_base::chain(&error)),
            }
        }
    }

    /// Marks the NICs of an instance that was found running.
    pub(crate) fn nics_run(&self, instance: &Instance) {
        let mut nics = self.inner.networks.nics();
        let own = nics.iter_mut().filter(|((project, name, _), _)| *project == instance.project && *name == instance.name);
        own.for_each(|(_, nic)| nic.attached = true);
    }

    /// Gives back the addresses of an instance that is being deleted.
    pub(crate) fn forget_addresses(&self, instance: &Instance) {
        let mut gone = Vec::new();
        self.inner.networks.nics().retain(|(project, name, _), nic| {
            let own = *project == instance.project && *name == instance.name;
            if own {
                gone.push(nic.clone());
            }
            !own
        });
        for nic in gone {
            let Some(network) = nic.network else { continue };
            let forgotten = self
                .managed(&instance.project, &network)
                .and_then(|managed| self.bridge_of(&network, &managed.config))
                .and_then(|bridge| Ok(bridge.forget(&nic.plan.reservation)?));
            if let Err(error) = forgotten {
                tracing::warn!(instance = %instance.name, "giving back its address on {network}: {}", coffer_base::chain(&error));
            }
        }
    }

    /// Plans a NIC with a fresh host name and prepares its port; the monitor makes the pair of links.
    fn nic_prepare(&self, loaded: &Loaded, name: &DeviceName, nic: &Nic) -> Result<(NicPlan, Option<BridgeNetwork>), EngineError> {
        let (plan, bridge) = self.nic_plan(loaded, name, nic, fresh_host_name())?;
        // Known first, so that nobody else gets the address meanwhile.
        self.know(key(&loaded.instance, name), nic, plan.clone(), true);
        match &bridge {
            Some(bridge) => bridge.prepare(&plan)?,
            None => bridge::prepare_on_bridge(&self.inner.networks.firewall, &plan)?,
        }
        Ok((plan, bridge))
    }

    /// Decides all about a NIC. Its address is the one it had, where that is still free.
    fn nic_plan(
        &self,
        loaded: &Loaded,
        name: &DeviceName,
        nic: &Nic,
        host_name: InterfaceName,
    ) -> Result<(NicPlan, Option<BridgeNetwork>), EngineError> {
        let instance = &loaded.instance;
        let config = &loaded.instance.config;
        let hwaddr = nic.hwaddr.as_deref().or_else(|| config.get(&format!("volatile.{name}.hwaddr")));
        let hwaddr = hwaddr.and_then(|text| text.parse().ok());
        let hwaddr = hwaddr
            .ok_or_else(|| EngineError::Refused(format!("instance {}: device {name} has no MAC address; set hwaddr", instance.name)))?;
        let bridge = self.bridge_network(loaded, nic)?;
        let host_name = nic.host_name.clone().unwrap_or(host_name);
        let mut request = NicRequest {
            project: &instance.project,
            instance: &instance.name,
            device: name,
            nic,
            hwaddr,
            host_name: &host_name,
            ipv4: None,
            filtering: self.server_config()?.flag("instances.nic.filtering", true),
        };
        let Some(network) = bridge else { return Ok((bridge::plan_on_bridge(&request), None)) };
        let used = self.inner.networks.used(network.name(), &key(instance, name));
        let before = config.parse(&format!("volatile.{name}.ipv4_address"));
        let net = network.config().ipv4.as_ref().map(|v4| v4.address);
        request.ipv4 = match before {
            Some(address) if net.is_some_and(|net| net.contains(&address)) && !used.contains(&address) => Some(address),
            _ => network.choose_ipv4(hwaddr, &used)?,
        };
        Ok((network.plan(&request)?, Some(network)))
    }

    fn nic_detach(&self, key: &NicKey, plan: &NicPlan, bridge: Option<&BridgeNetwork>) -> Result<(), EngineError> {
        if let Some(known) = self.inner.networks.nics().get_mut(key) {
            known.attached = false;
        }
        self.unlimit_nic(plan)?;
        self.remove_filters(plan, bridge)
    }

    fn remove_filters(&self, plan: &NicPlan, bridge: Option<&BridgeNetwork>) -> Result<(), EngineError> {
        match bridge {
            Some(bridge) => bridge.detach(plan)?,
            None => bridge::detach_from_bridge(&self.inner.networks.firewall, plan)?,
        }
        Ok(())
    }

    fn know(&self, key: NicKey, nic: &Nic, plan: NicPlan, attached: bool) {
        let network = match &nic.on {
            NicParent::Network(network) => Some(network.clone()),
            NicParent::Bridge(_) | NicParent::PointToPoint | NicParent::Over(..) | NicParent::Physical(_) => None,
        };
        self.inner.networks.nics().insert(key, KnownNic { network, plan, attached });
    }

    /// The managed network of a NIC; `None` for somebody else's bridge.
    fn bridge_network(&self, loaded: &Loaded, nic: &Nic) -> Result<Option<BridgeNetwork>, EngineError> {
        match &nic.on {
            NicParent::Bridge(_) | NicParent::PointToPoint | NicParent::Over(..) | NicParent::Physical(_) => Ok(None),
            NicParent::Network(network) => {
                let managed = self.managed(&loaded.instance.project, network)?;
                self.bridge_of(network, &managed.config).map(Some)
            }
        }
    }
}

pub(super) fn key(instance: &Instance, name: &DeviceName) -> NicKey {
    (instance.project.clone(), instance.name.clone(), name.clone())
}

fn fresh_host_name() -> InterfaceName {
    let (_, low) = Uuid::new_v4().as_u64_pair();
    format!("veth{:08x}", low as u32).parse().expect("twelve letters and digits are an interface name")
}

/// The interface's name inside: what the device says, what it had, or the lowest free `ethN`.
fn inside_name(loaded: &Loaded, device: &DeviceName) -> Result<String, EngineError> {
    let devices = loaded.devices()?;
    let nics: Vec<(&DeviceName, &Nic)> = devices
        .iter()
        .filter_map(|(name, device)| match device {
            Device::Nic(nic) => Some((name, nic)),
            Device::Disk(_) | Device::Gpu(_) | Device::Proxy(_) | Device::Hotplug(_) | Device::Unix(_) | Device::None => None,
        })
        .collect();
    let said = |name: &DeviceName, nic: &Nic| {
        nic.name
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| loaded.instance.config.get(&format!("volatile.{name}.name")).map(ToOwned::to_owned))
    };
    let mut taken: BTreeSet<String> = nics.iter().filter_map(|(name, nic)| said(name, nic)).collect();
    for (name, nic) in nics {
        let inside = said(name, nic).unwrap_or_else(|| lowest_free(&taken));
        if name == device {
            return Ok(inside);
        }
        taken.insert(inside);
    }
    Err(EngineError::not_found("device", device))
}

fn lowest_free(taken: &BTreeSet<String>) -> String {
    let mut names = (0..).map(|number| format!("eth{number}"));
    names.find(|name| !taken.contains(name)).expect("an endless row of names has a free one")
}

fn volatile(name: &DeviceName, plan: &NicPlan, inside: &str) -> Vec<(String, String)> {
    let mut keys =
        vec![(format!("volatile.{name}.host_name"), plan.host_name.to_string()), (format!("volatile.{name}.name"), inside.to_owned())];
    if let Some(address) = plan.reservation.ipv4 {
        keys.push((format!("volatile.{name}.ipv4_address"), address.to_string()));
    }
    keys
}

/// Describes a NIC that takes of the host's interfaces, and what is to be remembered of it.
fn host_nic(loaded: &Loaded, name: &DeviceName, nic: &Nic) -> Result<(spec::Nic, Vec<(String, String)>), EngineError> {
    let inside = inside_name(loaded, name)?;
    let mut remember = vec![(format!("volatile.{name}.name"), inside.clone())];
    let described = match &nic.on {
        NicParent::Over(parent, kind) => nic_host::over(loaded, name, nic, parent, *kind, inside)?,
        NicParent::Physical(parent) => {
            let (described, before) = nic_host::physical(name, nic, parent, inside)?;
            remember.extend(before);
            described
        }
        NicParent::Network(_) | NicParent::Bridge(_) | NicParent::PointToPoint => {
            return Err(EngineError::Refused(format!("device {name} takes none of the host's interfaces")));
        }
    };
    Ok((described, remember))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_name_is_taken() {
        let taken = ["eth0", "eth2"].map(str::to_owned).into();
        assert_eq!(lowest_free(&taken), "eth1");
    }
}
