//! Devices that come and go while instances run: told by the kernel, never looked for.

use std::os::fd::AsFd;
use std::sync::Arc;

use coffer_base::chain;
use coffer_model::device::{Hotplug, NodeSource, UnixDevice};
use coffer_model::{Device, DeviceName, Instance};
use coffer_sys::netlink::uevent::{Uevent, Uevents};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::host_node::{self, HostNode};
use super::{RunConfig, unix};
use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;

impl Engine {
    /// Adds the nodes that fit to a start.
    pub(super) fn hotplug_start(&self, name: &DeviceName, device: &Hotplug, run: &mut RunConfig) -> Result<(), EngineError> {
        run.devices.extend(fitting(name, device)?.iter().map(|node| described(node, device)));
        Ok(())
    }

    /// Gives a running instance the nodes that fit.
    pub(super) fn hotplug_plug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, device: &Hotplug) -> Result<(), EngineError> {
        fitting(name, device)?.iter().try_for_each(|node| unix::plug(running, loaded, described(node, device)))
    }

    /// Takes the nodes that fit out of a running instance.
    pub(super) fn hotplug_unplug(&self, running: &Running, loaded: &Loaded, device: &Hotplug) -> Result<(), EngineError> {
        let nodes = host_node::all().into_iter().filter(|node| node.fits(device));
        nodes.into_iter().try_for_each(|node| unix::unplug(running, loaded, &path(&node)))
    }

    /// Listens to the kernel from now on, for all running instances.
    pub(crate) fn watch_devices(&self) {
        let opened = Uevents::open().and_then(|events| {
            let copy = events.as_fd().try_clone_to_owned()?;
            let _runtime = self.inner.runtime.enter();
            // Only its readiness is used: messages are taken by the listener itself.
            Ok((UnixStream::from_std(copy.into())?, events))
        });
        let (readiness, events) = match opened {
            Ok(opened) => opened,
            Err(error) => return tracing::warn!("devices that come and go are not noticed: {error}"),
        };
        let engine = self.clone();
        self.inner.runtime.spawn(async move {
            while readiness.readable().await.is_ok() {
                let taken = readiness.try_io(Interest::READABLE, || match events.next() {
                    Ok(None) => Err(std::io::ErrorKind::WouldBlock.into()),
                    taken => Ok(taken),
                });
                match taken {
                    Ok(Ok(Some(event))) => {
                        // One after the other: a device that comes and goes at once must not come last.
                        let engine = engine.clone();
                        let _ = tokio::task::spawn_blocking(move || engine.device_event(&event)).await;
                    }
                    Ok(Err(error)) => tracing::warn!("messages of the kernel about devices were lost: {error}"),
                    // Not ready after all.
                    Ok(Ok(None)) | Err(_) => {}
                }
            }
        });
    }

    /// Gives an instance that ran on without a daemon what came meanwhile.
    pub(crate) fn plug_what_came(&self, instance: &Instance) {
        let plug = || -> Result<(), EngineError> {
            let Ok(running) = self.inner.cells.get(&instance.project, &instance.name).running() else { return Ok(()) };
            let loaded = self.load(&instance.project, &instance.name)?;
            for (name, device) in loaded.devices()? {
                match &device {
                    Device::Hotplug(device) => self.hotplug_plug(&running, &loaded, &name, device)?,
                    Device::Unix(device) if !device.required => self.unix_plug(&running, &loaded, &name, device)?,
                    _ => {}
                }
            }
            Ok(())
        };
        if let Err(error) = plug() {
            tracing::warn!(instance = %instance.name, "devices that came meanwhile: {}", chain(&error));
        }
    }

    /// Gives running instances what came and takes what went.
    fn device_event(&self, event: &Uevent) {
        let comes = match event.get("ACTION") {
            Some("add") => true,
            Some("remove") => false,
            _ => return,
        };
        let Some(node) = HostNode::of_event(event) else { return };
        let instances = self.inner.store.read(|conn| coffer_store::instance::list(conn, None)).unwrap_or_default();
        for instance in instances {
            if let Err(error) = self.device_event_of(&instance, &node, comes) {
                tracing::warn!(instance = %instance.name, "device /dev/{}: {}", node.name, chain(&error));
            }
        }
    }

    fn device_event_of(&self, instance: &Instance, node: &HostNode, comes: bool) -> Result<(), EngineError> {
        let (_, running) = self.inner.cells.peek(&instance.project, &instance.name);
        if running.is_none() {
            return Ok(());
        }
        let loaded = self.load(&instance.project, &instance.name)?;
        let wanted = |device: &Device| wants(device, node, comes);
        if !loaded.devices()?.values().any(wanted) {
            return Ok(());
        }
        let claim = self.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("changing")?;
        let Ok(running): Result<Arc<Running>, _> = claim.cell().running() else { return Ok(()) };
        // Read again under the claim: the device may have been taken away meanwhile.
        let loaded = self.load(&instance.project, &instance.name)?;
        for (name, device) in loaded.devices()?.iter().filter(|(_, device)| wanted(device)) {
            match (device, comes) {
                (Device::Hotplug(asked), true) => unix::plug(&running, &loaded, described(node, asked))?,
                (Device::Hotplug(_), false) => unix::unplug(&running, &loaded, &path(node))?,
                (Device::Unix(device), true) => self.unix_plug(&running, &loaded, name, device)?,
                (Device::Unix(device), false) => self.unix_unplug(&running, &loaded, device)?,
                _ => continue,
            }
            let what = if comes { "came" } else { "went" };
            tracing::info!(instance = %instance.name, "device {name}: /dev/{} {what}", node.name);
        }
        Ok(())
    }
}

/// Says whether a device has to do with this node. One that goes is not known by its product any more, only by its name.
fn wants(device: &Device, node: &HostNode, comes: bool) -> bool {
    match device {
        Device::Hotplug(asked) => !comes || node.fits(asked),
        Device::Unix(UnixDevice { source: NodeSource::Host(path), required: false, .. }) => *path == self::path(node),
        _ => false,
    }
}

fn fitting(name: &DeviceName, device: &Hotplug) -> Result<Vec<HostNode>, EngineError> {
    let nodes: Vec<HostNode> = host_node::all().into_iter().filter(|node| node.fits(device)).collect();
    if nodes.is_empty() && device.required {
        return Err(EngineError::Refused(format!("device {name}: the host has no such device; plug it in, or set required=false")));
    }
    Ok(nodes)
}

fn path(node: &HostNode) -> String {
    format!("/dev/{}", node.name)
}

fn described(node: &HostNode, device: &Hotplug) -> coffer_runtime_spec::Device {
    unix::node(node.kind, path(node), node.number, device.access)
}
