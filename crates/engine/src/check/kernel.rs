//! The kernel against the store: mounts, loop devices and control groups that nothing recorded has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coffer_model::Status;
use coffer_sys::loop_device::LoopDevice;

use super::{Check, FindingKind};
use crate::error::EngineError;

impl Check<'_> {
    /// Compares what is mounted in the state directory.
    pub(super) fn mounts(&mut self) -> Result<(), EngineError> {
        let state = self.engine.inner.settings.dir.clone();
        let mounted = || coffer_storage::mounts::below(&state).map_err(|cause| EngineError::system("reading the table of mounts", cause));
        let before = mounted()?;
        let pools = self.engine.inner.store.read(coffer_store::pool::list)?;
        let mut wanted = BTreeSet::from([state.clone()]);
        wanted.extend(crate::runtime_files::in_memory(&state));
        for pool in &pools {
            let place = state.join("storage-pools").join(pool.name.as_str());
            wanted.extend(self.engine.known_volumes(pool)?.iter().map(|volume| place.join(volume.below_pool())));
            wanted.insert(place);
        }
        let still: BTreeSet<PathBuf> = mounted()?.into_iter().map(|(point, _)| point).collect();
        for (point, device) in before.into_iter().rev().filter(|(point, _)| !wanted.contains(point) && still.contains(point)) {
            let thing = format!("mount of {device} at {}", point.display());
            self.mend(FindingKind::OrphanMount, thing, "no storage pool or volume that is recorded needs it", "unmount it", |_| {
                coffer_storage::mounts::unmount(&point)
                    .map_err(|cause| EngineError::system(format!("unmounting {}", point.display()), cause))
            });
        }
        Ok(())
    }

    /// Compares the loop devices on files that pools stand on.
    pub(super) fn loop_devices(&mut self) -> Result<(), EngineError> {
        let disks = self.engine.inner.settings.dir.join("disks");
        let attached = attached_below(&disks).map_err(|cause| EngineError::system("listing loop devices", cause))?;
        let pools = self.engine.inner.store.read(coffer_store::pool::list)?;
        let known = |file: &Path| pools.iter().any(|pool| file == disks.join(format!("{}.img", pool.name)));
        for (number, file) in attached.into_iter().filter(|(_, file)| !known(file)) {
            let (thing, problem) = (format!("loop device /dev/loop{number}"), format!("its file {} is no pool's", file.display()));
            self.mend(FindingKind::OrphanLoopDevice, thing, problem, "take it off its file", |_| {
                let detached = LoopDevice::open(number).and_then(LoopDevice::detach);
                detached.map_err(|cause| EngineError::system(format!("taking /dev/loop{number} off its file"), cause))
            });
        }
        Ok(())
    }

    /// Compares the control groups below this server's.
    pub(super) fn control_groups(&mut self) -> Result<(), EngineError> {
        let parent = &self.engine.inner.facts.cgroup_parent;
        let listed = coffer_runtime::cgroup::children(&self.engine.inner.hierarchies, parent);
        let listed = listed.map_err(|cause| EngineError::system(format!("listing control groups below {parent}"), cause))?;
        let all = self.engine.inner.store.read(|conn| coffer_store::instance::list(conn, None))?;
        for name in listed.into_iter().filter(|name| !name.starts_with('.')) {
            let thing = format!("control group {parent}/{name}");
            let Some(owner) = all.iter().find(|instance| instance.key() == name) else {
                self.tell(FindingKind::OrphanControlGroup, thing, "its instance is no more", "end what runs in it and remove it");
                continue;
            };
            let cell = self.engine.inner.cells.get(&owner.project, &owner.name);
            if cell.status() != Status::Stopped || cell.is_busy() {
                continue;
            }
            // Whoever works on it may be starting or ending it; and a monitor removes its groups a moment after it said that it ends.
            let there =
                || coffer_runtime::cgroup::is_occupied(&self.engine.inner.hierarchies, &format!("{parent}/{name}")).unwrap_or(false);
            if cell.claim_beside_readers("checking").is_ok() && cell.status() == Status::Stopped && there() {
                self.tell(
                    FindingKind::OrphanControlGroup,
                    thing,
                    "its instance is stopped, and something runs in it",
                    "end what runs in it",
                );
            }
        }
        Ok(())
    }
}

/// The loop devices whose files are below a directory, by number.
///
/// Source: `Documentation/ABI/testing/sysfs-block-loop` of Linux.
fn attached_below(directory: &Path) -> std::io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let (Some(number), Ok(file)) = (number, std::fs::read_to_string(entry.path().join("loop/backing_file"))) else { continue };
        let file = file.trim_end_matches('\n');
        let file = PathBuf::from(file.strip_suffix(" (deleted)").unwrap_or(file));
        if file.starts_with(directory) {
            found.push((number, file));
        }
    }
    Ok(found)
}
