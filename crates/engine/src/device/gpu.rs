//! GPUs inside an instance: the nodes of cards, or what a CDI specification says that a device consists of.
//!
//! What an instance was given is remembered: a specification may change or go while the instance runs, and what it has must be
//! known all the same, to take it away again and for the environment of commands.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use coffer_model::device::{Gpu, GpuChoice, NodeKind};
use coffer_model::{Config, Device, DeviceName};
use coffer_runtime_spec as spec;
use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::cdi::{self, Edits, Link};
use super::{RunConfig, add_fd, failed, gpu_cards, unix};
use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;

/// What an instance was given with a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    nodes: Vec<String>,
    mounts: Vec<String>,
    links: Vec<Link>,
    environment: Vec<(String, String)>,
}

/// What an instance is to get with a device: found on the host, and what it is mounted from held open.
struct Parts {
    nodes: Vec<spec::Device>,
    mounts: Vec<(spec::Mount, OwnedFd)>,
    given: Given,
    libraries: Vec<String>,
}

impl Engine {
    /// Adds a GPU to a start; its links are made by [`Engine::gpu_links`].
    pub(super) fn gpu_start(&self, name: &DeviceName, gpu: &Gpu, fds: &mut Vec<OwnedFd>, run: &mut RunConfig) -> Result<(), EngineError> {
        let parts = parts(name, gpu)?;
        run.volatile.push(remembered(name, &parts.given));
        run.devices.extend(parts.nodes);
        run.environment.extend(parts.given.environment);
        for (mount, source) in parts.mounts {
            let source = spec::MountSource::Host(spec::Source::Fd(add_fd(fds, source)));
            // A target that the image has a link in the way of is left out with a warning: the rest of the GPU works.
            run.mounts.push(spec::Mount { source, optional: true, ..mount });
        }
        Ok(())
    }

    /// The links that the GPUs of an instance need in its root before it starts.
    pub(crate) fn gpu_links(&self, loaded: &Loaded) -> Result<Vec<(String, String)>, EngineError> {
        let mut links = Vec::new();
        for (name, device) in loaded.devices()? {
            if let Device::Gpu(gpu) = device
                && let GpuChoice::Cdi(_) = gpu.choice
            {
                links.extend(parts(&name, &gpu)?.given.links.into_iter().map(|link| (link.path, link.target)));
            }
        }
        Ok(links)
    }

    /// Has the dynamic linker of an instance that just started know the libraries of its GPUs.
    pub(crate) fn gpu_libraries(&self, loaded: &Loaded) {
        for (name, device) in loaded.devices().unwrap_or_default() {
            if let Device::Gpu(gpu) = device
                && let GpuChoice::Cdi(_) = gpu.choice
                && let Ok(parts) = parts(&name, &gpu)
            {
                self.know_libraries(loaded, parts.libraries);
            }
        }
    }

    /// Gives a running instance a GPU. Answers keys to remember.
    pub(super) fn gpu_plug(
        &self,
        running: &Running,
        loaded: &Loaded,
        name: &DeviceName,
        gpu: &Gpu,
    ) -> Result<Vec<(String, String)>, EngineError> {
        let Parts { nodes, mounts, given, libraries } = parts(name, gpu)?;
        let mut undo = coffer_base::Undo::new(|warning| tracing::warn!("taking back a GPU: {warning}"));
        undo.push(format!("taking device {name} out again"), || self.take_gpu(running, loaded, &given));
        for node in nodes {
            unix::plug(running, loaded, node)?;
        }
        for (mount, source) in mounts {
            let request = spec::Request::AttachMount { mount: Box::new(mount) };
            running.monitor.tell(request, &[source.as_fd()]).map_err(|cause| failed(loaded, "attaching a file of a GPU", cause))?;
        }
        if !given.links.is_empty() {
            self.make_links(loaded, &given.links)?;
        }
        undo.keep();
        self.know_libraries(loaded, libraries);
        Ok(vec![remembered(name, &given)])
    }

    /// Takes a GPU out of a running instance.
    pub(super) fn gpu_unplug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, gpu: &Gpu) -> Result<(), EngineError> {
        let given = match given(&loaded.instance.config, name) {
            Some(given) => given,
            None => parts(name, gpu)?.given,
        };
        self.take_gpu(running, loaded, &given)
    }

    fn take_gpu(&self, running: &Running, loaded: &Loaded, given: &Given) -> Result<(), EngineError> {
        for path in &given.nodes {
            unix::unplug(running, loaded, path)?;
        }
        for target in given.mounts.iter().rev() {
            super::disk::unmount(running, loaded, target, "detaching a file of a GPU")?;
        }
        if given.links.is_empty() {
            return Ok(());
        }
        let mut files = self.files(&loaded.instance.project, &loaded.instance.name)?;
        for link in &given.links {
            // What somebody put in its place is his.
            if files.read_link(&link.path).is_ok_and(|target| target == link.target.as_bytes()) {
                files.remove(&link.path)?;
            }
        }
        Ok(())
    }

    /// Makes links in a running instance, and the directories that they are in.
    fn make_links(&self, loaded: &Loaded, links: &[Link]) -> Result<(), EngineError> {
        let mut files = self.files(&loaded.instance.project, &loaded.instance.name)?;
        let open_to_all = crate::files::NewFile { mode: Some(0o755), ..Default::default() };
        for link in links {
            for (at, _) in link.path.match_indices('/').skip(1) {
                files.make_directory(&link.path[..at], open_to_all)?;
            }
            files.make_link(&link.path, link.target.as_bytes())?;
        }
        Ok(())
    }

    /// Runs the instance's own `ldconfig`, while nobody waits for it. An instance that has none needs none.
    fn know_libraries(&self, loaded: &Loaded, libraries: Vec<String>) {
        if libraries.is_empty() {
            return;
        }
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
        let (engine, project, name) = (self.clone(), loaded.instance.project.clone(), loaded.instance.name.clone());
        let command: Vec<String> = ["/sbin/ldconfig".to_owned()].into_iter().chain(libraries).collect();
        self.inner.runtime.spawn(async move {
            match engine.run_inside(&project, &name, &command, PATIENCE).await {
                Ok(0 | 127) => {}
                Ok(status) => tracing::warn!(instance = %name, "ldconfig for the libraries of its GPU ended with status {status}"),
                Err(why) => tracing::warn!(instance = %name, "ldconfig for the libraries of its GPU: {why}"),
            }
        });
    }
}

impl Loaded {
    /// What its GPUs add to the environment of commands.
    pub(crate) fn gpu_environment(&self) -> Vec<(String, String)> {
        let devices = self.devices().unwrap_or_default();
        let gpus = devices.iter().filter(|(_, device)| matches!(device, Device::Gpu(_)));
        gpus.filter_map(|(name, _)| given(&self.instance.config, name)).flat_map(|given| given.environment).collect()
    }
}

fn key(name: &DeviceName) -> String {
    format!("volatile.{name}.gpu")
}

fn remembered(name: &DeviceName, given: &Given) -> (String, String) {
    (key(name), serde_json::to_string(given).expect("lists of texts are JSON"))
}

fn given(config: &Config, name: &DeviceName) -> Option<Given> {
    serde_json::from_str(config.get(&key(name))?).ok()
}

/// Finds on the host what a device is.
fn parts(name: &DeviceName, gpu: &Gpu) -> Result<Parts, EngineError> {
    let refused = |why: String| EngineError::Refused(format!("device {name}: {why}"));
    match &gpu.choice {
        GpuChoice::Cdi(cdi_name) => {
            let edits = cdi::find(cdi_name, &cdi::DIRECTORIES).map_err(|error| refused(coffer_base::chain(&error)))?;
            of_edits(gpu, edits).map_err(refused)
        }
        choice => {
            let cards = gpu_cards::all(Path::new(gpu_cards::DRM));
            let fitting: Vec<_> = cards.iter().filter(|card| card.fits(choice)).flat_map(|card| &card.nodes).collect();
            if fitting.is_empty() {
                return Err(refused(format!(
                    "the host has no such graphics card among its {}; `coffer info --resources` lists them, and those that need more than their \
                     nodes have CDI names (id=nvidia.com/gpu=0)",
                    cards.len()
                )));
            }
            let nodes = fitting.into_iter().map(|node| described(gpu, &format!("/dev/dri/{}", node.name), node.number)).collect();
            Ok(Parts::of(nodes, Vec::new(), Edits::default()))
        }
    }
}

impl Parts {
    fn of(nodes: Vec<spec::Device>, mounts: Vec<(spec::Mount, OwnedFd)>, edits: Edits) -> Self {
        let given = Given {
            nodes: nodes.iter().map(|node| node.path.clone()).collect(),
            mounts: mounts.iter().map(|(mount, _)| mount.target.clone()).collect(),
            links: edits.links,
            environment: edits.environment,
        };
        Self { nodes, mounts, given, libraries: edits.libraries }
    }
}

fn described(gpu: &Gpu, path: &str, (major, minor): (u32, u32)) -> spec::Device {
    spec::Device {
        path: path.to_owned(),
        kind: spec::DeviceKind::Char,
        major,
        minor,
        mode: gpu.mode.map_or(0o660, |mode| mode.0),
        uid: gpu.uid.unwrap_or(0),
        gid: gpu.gid.unwrap_or(0),
    }
}

/// Finds the nodes and opens the files of a specification. What the user says of nodes goes before what the specification says.
fn of_edits(gpu: &Gpu, edits: Edits) -> Result<Parts, String> {
    let mut nodes = Vec::new();
    for node in &edits.nodes {
        let found = host_node(node)?;
        let mode = gpu.mode.map(|mode| mode.0).or(node.mode).unwrap_or(found.mode);
        let (uid, gid) = (gpu.uid.or(node.uid).unwrap_or(0), gpu.gid.or(node.gid).unwrap_or(0));
        let described = described(gpu, &node.path, found.number);
        nodes.push(spec::Device { kind: found.kind, mode, uid, gid, ..described });
    }
    let mut mounts = Vec::new();
    for mount in &edits.mounts {
        let told = |cause: rustix::io::Errno| format!("opening {} of its CDI specification: {cause}", mount.host.display());
        let source = rustix::fs::open(&mount.host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(told)?;
        mounts.push((planned(mount), source));
    }
    Ok(Parts::of(nodes, mounts, edits))
}

/// A node of the host.
struct Found {
    kind: spec::DeviceKind,
    number: (u32, u32),
    mode: u32,
}

fn host_node(node: &cdi::Node) -> Result<Found, String> {
    let kind = |kind: NodeKind| match kind {
        NodeKind::Char => spec::DeviceKind::Char,
        NodeKind::Block => spec::DeviceKind::Block,
    };
    let host = node.host.display();
    let stat = match rustix::fs::stat(&node.host) {
        Ok(stat) => stat,
        // With its numbers said the host needs no node for it.
        Err(rustix::io::Errno::NOENT) if node.number.is_some() => {
            let number = node.number.unwrap_or_default();
            return Ok(Found { kind: node.kind.map_or(spec::DeviceKind::Char, kind), number, mode: 0o666 });
        }
        Err(cause) => return Err(format!("looking at {host} of its CDI specification: {cause}; is the driver loaded?")),
    };
    let is = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => NodeKind::Char,
        FileType::BlockDevice => NodeKind::Block,
        _ => return Err(format!("{host} of its CDI specification is no device node")),
    };
    if node.kind.is_some_and(|said| said != is) {
        return Err(format!("{host} is of another type than its CDI specification says"));
    }
    let number = node.number.unwrap_or((rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)));
    Ok(Found { kind: kind(is), number, mode: stat.st_mode & 0o777 })
}

fn planned(mount: &cdi::Mount) -> spec::Mount {
    spec::Mount {
        source: spec::MountSource::Host(spec::Source::Fd(0)),
        target: mount.path.clone(),
        readonly: mount.readonly,
        nosuid: mount.nosuid,
        nodev: true,
        noexec: mount.noexec,
        recursive: mount.recursive,
        idmapped: false,
        owner: None,
        propagation: mount.propagation,
        create: spec::CreateTarget::Matching,
        optional: false,
    }
}
