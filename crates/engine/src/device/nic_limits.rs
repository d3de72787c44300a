//! How much NICs may carry: with their links from the beginning, and changed while they are used.

use std::collections::BTreeSet;

use coffer_model::Device;
use coffer_model::device::NicLimits;
use coffer_network::NicPlan;
use coffer_runtime_spec as spec;
use coffer_sys::netlink::{Policing, RouteSocket, link_index};

use super::nic;
use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;

impl Engine {
    /// Describes a pair of links for the monitor.
    pub(super) fn spec_nic(&self, plan: &NicPlan, name: String) -> spec::Nic {
        let limits = (plan.limits != NicLimits::default()).then(|| spec::LinkLimits {
            ingress: plan.limits.ingress.map(|rate| rate.bytes()),
            egress: plan.limits.egress.map(|rate| rate.bytes()),
            priority: plan.limits.priority,
            table: self.limits_table(),
        });
        spec::Nic {
            host_name: plan.host_name.to_string(),
            name,
            veth: Some(spec::Veth { bridge: plan.bridge.clone(), isolated: plan.isolated, queue: plan.queue, limits }),
            over: None,
            hwaddr: Some(plan.hwaddr.to_string()),
            mtu: plan.mtu,
            addresses: plan.addresses.iter().map(|&(address, prefix)| spec::Address { address, prefix }).collect(),
            routes: plan.gateways.iter().map(|gateway| spec::Route { destination: None, gateway: Some(*gateway) }).collect(),
            up: true,
            give_back: false,
        }
    }

    /// Holds the NICs of a running instance to the limits of `new`, where those of `old` are others.
    pub(super) fn nics_limit(&self, old: &Loaded, new: &Loaded) -> Result<(), EngineError> {
        let before = old.devices()?;
        for (name, device) in new.devices()? {
            if let (Device::Nic(after), Some(Device::Nic(before))) = (device, before.get(&name))
                && before.same_link(&after)
                && before.limits != after.limits
            {
                let mut nics = self.inner.networks.nics();
                let Some(known) = nics.get_mut(&nic::key(&new.instance, &name)) else { continue };
                known.plan.limits = after.limits;
                let plan = known.plan.clone();
                drop(nics);
                self.limit_nic(&plan)?;
            }
        }
        Ok(())
    }

    /// Forgets the limits of a NIC whose link goes: what it sends goes with the link, what it receives is held by a rule.
    pub(super) fn unlimit_nic(&self, plan: &NicPlan) -> Result<(), EngineError> {
        if policing(plan.limits).is_none() {
            return Ok(());
        }
        Ok(self.inner.networks.firewall.police(&self.limits_table(), plan.host_name.as_str(), Policing::default())?)
    }

    /// Forgets the limits of links that no running instance has: those of a start or an end that was cut.
    pub(crate) fn forget_stray_limits(&self) {
        let running: BTreeSet<String> =
            self.inner.networks.nics().values().filter(|nic| nic.attached).map(|nic| nic.plan.host_name.to_string()).collect();
        if let Err(error) = self.inner.networks.firewall.police_only(&self.limits_table(), &running) {
            tracing::warn!("limits of interfaces that are gone: {}", coffer_base::chain(&error));
        }
    }

    fn limit_nic(&self, plan: &NicPlan) -> Result<(), EngineError> {
        let name = plan.host_name.as_str();
        let failed = |cause| EngineError::system(format!("limiting what interface {name} carries"), cause);
        let index = link_index(name).map_err(failed)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let mut routes = RouteSocket::open().map_err(failed)?;
        match plan.limits.ingress {
            Some(rate) => routes.limit_sending(index, rate.bytes()).map_err(failed)?,
            None => routes.unlimit_sending(index).map_err(failed)?,
        }
        Ok(self.inner.networks.firewall.police(&self.limits_table(), name, policing(plan.limits))?)
    }

    /// The table of this daemon: several may share a host.
    fn limits_table(&self) -> String {
        format!("coffer_limits_{}", self.inner.facts.cgroup_parent.trim_start_matches("coffer/"))
    }
}

fn policing(limits: NicLimits) -> Policing {
    Policing { rate: limits.egress.map(|rate| rate.bytes()), priority: limits.priority }
}
