//! Changing an instance's configuration, also while it runs.

use coffer_base::{Undo, fault};
use coffer_model::gate::{self, Origin};
use coffer_model::{Checked, Config, Instance, InstanceName, ProjectName};
use coffer_runtime_spec::Request;

use super::create::new_hwaddrs;
use super::refresh::REFRESHED_FROM;
use super::start::Loaded;
use super::{cloud_init, resolve, unsettled};
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::request::{InstanceChange, InstancePatch};
use crate::{Engine, Precondition};

impl Engine {
    /// Replaces an instance's writable part, in an operation; what can be refused is refused before.
    ///
    /// # Errors
    /// If there is no such instance, it changed since the client read it, or the gate refuses.
    pub fn update_instance(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        change: InstanceChange,
        only_if: Precondition<'_, Instance>,
    ) -> Result<OperationView, EngineError> {
        let old = self.load(project, name)?;
        unchanged(&old.instance, only_if)?;
        let mut change = self.without_keys_of_source(&old.instance, change);
        if only_if.is_none() {
            // Whoever does not say which version he read sends back the server's own keys as they were then (pylxd and Ansible do).
            change.config.0.retain(|key, _| !key.starts_with("volatile."));
        }
        self.check_change(&old, apply(&old.instance, change.clone()), Origin::Client)?;
        let new = NewOperation::instance("Updating instance", project, name.as_str());
        let (engine, caller, before) = (self.clone(), caller.clone(), old.instance);
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let same = |now: &Instance| writable(now) == writable(&before);
            engine.change_instance(&before.project, &before.name, Some(&same), &caller, |now| apply(now, change))
        }))
    }

    /// Changes parts of an instance at once.
    ///
    /// # Errors
    /// As [`Engine::update_instance`].
    pub fn patch_instance(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        patch: InstancePatch,
        only_if: Precondition<'_, Instance>,
    ) -> Result<(), EngineError> {
        self.change_instance(project, name, only_if, caller, |now| merge(now, patch))
    }

    /// The one way in which a configuration changes: under the claim, through the gate, live where it runs.
    fn change_instance(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        only_if: Precondition<'_, Instance>,
        caller: &Caller,
        change: impl FnOnce(&Instance) -> Instance,
    ) -> Result<(), EngineError> {
        let claim = self.inner.cells.get(project, name).claim_beside_readers("changing")?;
        let old = self.load(project, name)?;
        unchanged(&old.instance, only_if)?;
        let (checked, profiles) = self.check_change(&old, change(&old.instance), Origin::Client)?;
        let config = checked.expanded_config(&profiles);
        let new = Loaded { instance: checked.clone().into_inner(), id: old.id, profiles, config };
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a change: {warning}"));
        let cut = |cause| EngineError::system("changing the instance", cause);
        if claim.cell().running().is_ok() && old.changes_live(&new) {
            self.inner.store.write(|tx| unsettled::note(tx, &old.instance, &new.expanded()))?;
            undo.push("forgetting the change", || self.forget_change(&old.instance));
        }
        let volatile = self.apply_live(&claim, &old, &new, &mut undo)?;
        fault::point("change.applied").map_err(cut)?;
        self.inner.store.write(|tx| {
            coffer_store::instance::update(tx, &checked)?;
            let keys: Vec<(String, Option<String>)> = volatile.into_iter().map(|(key, value)| (key, Some(value))).collect();
            coffer_store::instance::set_volatile(tx, project, name, &keys)?;
            unsettled::note(tx, &new.instance, &new.expanded())
        })?;
        undo.keep();
        fault::point("change.recorded").map_err(cut)?;
        self.write_backup(&self.load(project, name)?)?;
        self.forget_change(&new.instance)?;
        self.lifecycle(&new.instance, "instance-updated", Some(caller));
        if old.config.get(crate::apparmor::RAW) != new.config.get(crate::apparmor::RAW) {
            self.confine_later(&new.instance, &new.config);
        }
        self.schedule_may_have_changed(&new.config);
        Ok(())
    }

    /// Passes a changed instance through the gate, with MAC addresses for NICs that are new.
    pub(crate) fn check_change(
        &self,
        old: &Loaded,
        new: Instance,
        origin: Origin,
    ) -> Result<(Checked<Instance>, Vec<coffer_model::Profile>), EngineError> {
        self.inner.store.try_read(|conn| {
            let home = coffer_store::project::home(conn, &new.project, coffer_store::project::Feature::Profiles)?;
            let profiles = coffer_store::profile::for_instance(conn, &home, &new.profiles)?;
            let mut instance = gate::instance(new, &profiles, Some(&old.instance), origin)?.into_inner();
            for (device, hwaddr) in new_hwaddrs(&instance.expanded_devices(&profiles), &instance.config) {
                instance.config.set(format!("volatile.{device}.hwaddr"), hwaddr);
            }
            let checked = gate::instance(instance, &profiles, Some(&old.instance), Origin::Server)?;
            self.references(conn, &checked, &profiles)?;
            Ok((checked, profiles))
        })
    }

    /// Makes a running instance have what changed; answers keys to remember.
    pub(crate) fn apply_live<'a>(
        &'a self,
        claim: &crate::live::Claim,
        old: &'a Loaded,
        new: &'a Loaded,
        undo: &mut Undo<'a>,
    ) -> Result<Vec<(String, String)>, EngineError> {
        let mut volatile = cloud_init_again(old, new);
        let Ok(running) = claim.cell().running() else {
            let size = new.root_size()?;
            if size != old.root_size()? {
                self.resize_root(&new.instance, size)?;
            }
            return Ok(volatile);
        };
        volatile.extend(self.device_change(&running, old, new, undo)?);
        let cpus_before = self.cpus_of(old.id);
        let other_cpus = ["limits.cpu", "limits.cpu.nodes"].iter().any(|key| old.config.get(key) != new.config.get(key));
        let cpus = if other_cpus { self.assign_cpus(new) } else { cpus_before.clone() };
        if other_cpus {
            undo.push("choosing its earlier CPUs", || {
                drop(self.assign_cpus(old));
                Ok::<_, EngineError>(())
            });
        }
        let again = running.clone();
        let (before, after) = (self.live_limits(old, cpus_before.as_deref()), self.live_limits(new, cpus.as_deref())?);
        if before.as_ref().ok() != Some(&after) {
            let failed = |cause| EngineError::Monitor { instance: new.instance.name.clone(), doing: "changing its limits", cause };
            let request = |limits| Request::SetLimits { limits: Box::new(limits) };
            running.monitor.tell(request(after), &[]).map_err(failed)?;
            if let Ok(before) = before {
                undo.push("going back to the earlier limits", move || running.monitor.tell(request(before), &[]));
            }
        }
        let (mounted_before, mounted) = (resolve::mounting(&old.config), resolve::mounting(&new.config));
        if mounted_before != mounted {
            let failed = |cause| EngineError::Monitor { instance: new.instance.name.clone(), doing: "changing what it may mount", cause };
            let request = |mounting| Request::SetMounting { mounting: Box::new(mounting) };
            again.monitor.tell(request(mounted), &[]).map_err(failed)?;
            undo.push("going back to what it could mount", move || again.monitor.tell(request(mounted_before), &[]));
        }
        if other_cpus {
            self.rebalance_cpus();
        }
        if old.config.get(crate::apparmor::RAW) != new.config.get(crate::apparmor::RAW) {
            undo.push("going back to its earlier AppArmor profile", || self.confine(&old.instance, &old.config).map(drop));
            self.confine(&new.instance, &new.config)?;
        }
        if coffer_model::HealthPlan::of(&old.config) != coffer_model::HealthPlan::of(&new.config) {
            self.watch_health(&new.instance.project, &new.instance.name, &new.config);
        }
        self.tell_guest(old, new);
        Ok(volatile)
    }

    /// The limits of an instance, those of its disks included; `cpus` are those that were chosen for it.
    pub(super) fn live_limits(&self, loaded: &Loaded, cpus: Option<&[u32]>) -> Result<coffer_runtime_spec::Limits, EngineError> {
        let io = self.disk_limits(loaded)?;
        Ok(coffer_runtime_spec::Limits { io, ..resolve::limits(&loaded.config, cpus, &self.inner.facts) })
    }
}

/// What to remember where cloud-init inside has to run again.
fn cloud_init_again(old: &Loaded, new: &Loaded) -> Vec<(String, String)> {
    let devices = |loaded: &Loaded| loaded.instance.expanded_devices(&loaded.profiles);
    if cloud_init::differs((&old.config, &devices(old)), (&new.config, &devices(new))) {
        vec![(cloud_init::INSTANCE_ID.to_owned(), cloud_init::new_id())]
    } else {
        Vec::new()
    }
}

/// Refuses if the instance is no longer what the client read.
fn unchanged(instance: &Instance, only_if: Precondition<'_, Instance>) -> Result<(), EngineError> {
    match only_if {
        Some(check) if !check(instance) => Err(EngineError::Changed { entity: "instance", name: instance.name.to_string() }),
        _ => Ok(()),
    }
}

/// What two changes of an instance would fight over.
fn writable(instance: &Instance) -> impl PartialEq + use<> {
    let config: Config = instance.config.iter().filter(|(key, _)| !key.starts_with("volatile.")).collect();
    (instance.description.clone(), instance.ephemeral, instance.profiles.clone(), config, instance.devices.clone())
}

fn apply(now: &Instance, change: InstanceChange) -> Instance {
    let mut config: Config = now.config.iter().filter(|(key, _)| key.starts_with("volatile.")).collect();
    config.merge(&change.config);
    // It counts for one update.
    config.unset(REFRESHED_FROM);
    Instance {
        description: change.description,
        ephemeral: change.ephemeral,
        profiles: change.profiles,
        config: without_empty(config),
        devices: change.devices,
        ..now.clone()
    }
}

fn merge(now: &Instance, patch: InstancePatch) -> Instance {
    let mut new = now.clone();
    new.config.merge(&patch.config);
    new.config = without_empty(new.config);
    for (name, keys) in patch.devices.0 {
        if keys.0.is_empty() {
            new.devices.0.remove(&name)
        } else {
            new.devices.0.insert(name, keys)
        };
    }
    new.description = patch.description.unwrap_or(new.description);
    new.ephemeral = patch.ephemeral.unwrap_or(new.ephemeral);
    new.profiles = patch.profiles.unwrap_or(new.profiles);
    new
}

fn without_empty(config: Config) -> Config {
    config.0.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
