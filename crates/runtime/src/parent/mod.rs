//! What is prepared outside, as root of the host, before and while the child sets itself up.

mod dev;
mod halt;
mod idmap;
mod lock;
mod mount_map;
mod sources;
mod view;

pub(crate) use dev::{make_node, owner};
use halt::halt_signal;
use idmap::idmapped;
pub(crate) use idmap::{set_clocks, write_maps};
pub(crate) use lock::lock_restrictions;
pub(crate) use mount_map::user_namespace;
pub(crate) use sources::{Fds, PlannedMount, lock_all, restrictions};
pub(crate) use view::{CgroupView, Shown};

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{IdMap, Label, Signal, Spec, Stage};
use coffer_sys::mount;
use coffer_sys::ns::Namespaces;
use coffer_sys::path::Root;
use coffer_sys::socket::PacketSocket;

use crate::cgroup::{Group, Hierarchies};
use crate::failed::{At, Failed};
use crate::init::Filter;
use crate::seccomp;

/// Everything that the child needs, opened. It inherits the descriptors; all are close-on-exec.
pub(crate) struct Plan {
    /// The root file system, attached nowhere.
    pub(crate) root: OwnedFd,
    /// Mounts of the spec in their order.
    pub(crate) mounts: Vec<PlannedMount>,
    /// The file system for `/dev`, with its nodes, attached nowhere.
    pub(crate) dev: OwnedFd,
    /// Files to write `0` to, to join the version 1 control groups.
    pub(crate) tasks: Vec<OwnedFd>,
    /// The seccomp filter.
    pub(crate) filter: Filter,
    /// The monitor's end of where those who install the filter send its listener.
    pub(crate) arrivals: Option<PacketSocket>,
    /// How control groups are shown inside.
    pub(crate) view: CgroupView,
    /// The signal that asks init to halt.
    pub(crate) halt_signal: Signal,
    /// Things that did not work and are not needed.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Opens everything that `spec` names.
    pub(crate) fn open(spec: &Spec, fds: &mut Fds, group: &Group) -> Result<Self, Failed> {
        let mut warnings = Vec::new();
        let root = fds.detached(&spec.root.source, true).at(Stage::Sources, || "opening the root file system".into())?;
        let looked_at = Root::from_fd(root.try_clone().at(Stage::Sources, || "copying a descriptor".into())?);
        let mounts = sources::open_mounts(spec, fds, &mut warnings)?;
        let dev = dev::prepare(spec, &mut warnings)?;
        let tasks = group.open_tasks()?;
        let intercept = seccomp::intercepted(&spec.security, &spec.idmap);
        let code = seccomp::filter(&spec.security, intercept).map_err(|error| Failed::new(Stage::Seccomp, error.to_string()))?;
        let (filter, arrivals) = Filter::new(code, intercept.any())?;
        let view = CgroupView::choose(group, &looked_at, spec);
        let halt_signal = spec.halt_signal.unwrap_or_else(|| halt_signal(&looked_at, &spec.init.argv));
        if let Some(label) = &spec.security.label {
            crate::lsm::check(label).map_err(|text| Failed::new(Stage::Label, text))?;
        }
        Ok(Self { root, mounts, dev, tasks, filter, arrivals, view, halt_signal, warnings })
    }

    /// Changes the mounts now that the instance's user namespace exists: shifts their ids, and cuts them off from the
    /// host's, so that nothing mounted inside is ever seen outside. Returns the mounts that replace restricted ones.
    pub(crate) fn adapt_mounts(&self, spec: &Spec, userns: Option<&OwnedFd>) -> Result<Vec<OwnedFd>, Failed> {
        let idmap = userns.filter(|_| spec.root.idmapped);
        let restrict = mount::Restrictions { readonly: spec.root.readonly, ..mount::Restrictions::NONE };
        idmapped(&self.root, idmap, restrict, mount::Propagation::Private, false).map_err(Failed::of_root)?;
        self.mounts.iter().try_for_each(|planned| planned.adapt(&spec.idmap, userns))?;
        match userns {
            Some(userns) => lock_all(&self.mounts, &spec.idmap, userns),
            None => Ok(Vec::new()),
        }
    }
}

/// The namespaces of an instance but for the control group's, which is made after the groups are joined, and time's.
pub(crate) fn namespaces(idmap: &IdMap) -> Namespaces {
    let most = Namespaces::MOUNT | Namespaces::PID | Namespaces::UTS | Namespaces::IPC | Namespaces::NET;
    match idmap {
        IdMap::Privileged => most,
        IdMap::Mapped { .. } => most | Namespaces::USER,
    }
}

/// Finds the hierarchies of the host.
pub(crate) fn hierarchies() -> Result<Hierarchies, Failed> {
    Hierarchies::find().at(Stage::Cgroup, || "finding the control groups of this host".into())
}

/// The label of a spec, if any, where text is wanted.
pub(crate) fn label(spec: &Spec) -> Option<&Label> {
    spec.security.label.as_ref()
}

/// Opens a namespace of process `pid`, a child of ours that was not waited for.
pub(crate) fn open_namespace(pid: u32, name: &str) -> Result<OwnedFd, Failed> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let path = format!("/proc/{pid}/ns/{name}");
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).at(Stage::Clone, || format!("opening the {name} namespace"))
}

/// A borrowed descriptor for each of a few.
pub(crate) fn borrow(fds: &[OwnedFd]) -> Vec<std::os::fd::BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
