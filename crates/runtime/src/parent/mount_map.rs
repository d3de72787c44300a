//! Mounts whose ids are mapped otherwise than the instance's: one user of the host is one user inside.
//!
//! A mount maps each id on disk to one id and back, so the pair is put into a map of all others, one to one: without a
//! shift the instance's own ids stay what they are on disk, so that nothing made inside can belong to somebody else of the
//! host; with a shift they are the same numbers as inside.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{IdMap, IdRange, MountOwner, Stage};
use coffer_sys::ns::Namespaces;
use coffer_sys::process::{self, CloneOptions};
use rustix::pipe::PipeFlags;

use super::idmap::write_maps;
use super::open_namespace;
use crate::failed::{At, Failed};

/// Makes the user namespace that a mount's ids go through. Its maps go from ids on disk to ids of the host.
pub(super) fn userns(idmap: &IdMap, shift: bool, owner: &MountOwner) -> Result<OwnedFd, Failed> {
    let stage = Stage::IdMappedMounts;
    let missing = |which: &str, id: u32| Failed::new(stage, format!("the instance has no {which} {id}"));
    let uid = idmap.host_uid(owner.uid).ok_or_else(|| missing("user", owner.uid))?;
    let gid = idmap.host_gid(owner.gid).ok_or_else(|| missing("group", owner.gid))?;
    let (uids, gids) = match idmap {
        IdMap::Privileged => {
            let all = IdRange { inside: 0, host: 0, count: u32::MAX };
            (vec![all], vec![all])
        }
        IdMap::Mapped { uids, gids } => (uids.clone(), gids.clone()),
    };
    let maps = IdMap::Mapped { uids: with_pair(&uids, shift, owner.host_uid, uid), gids: with_pair(&gids, shift, owner.host_gid, gid) };
    user_namespace(&maps)
}

/// Makes a user namespace with these maps. It lives as long as the descriptor.
pub(crate) fn user_namespace(maps: &IdMap) -> Result<OwnedFd, Failed> {
    let stage = Stage::IdMappedMounts;
    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at(stage, || "making a pipe".into())?;
    let child = process::clone(CloneOptions { namespaces: Namespaces::USER, ..CloneOptions::default() }, || {
        // Our own copy of the other end must not keep us waiting when the monitor is gone.
        let _ = process::die_with_parent();
        let _ = rustix::io::read(&theirs, &mut [0; 1]);
        0
    });
    let child = child.at(stage, || "making a user namespace".into())?;
    let made = write_maps(child.pid, maps).and_then(|()| open_namespace(child.pid, "user"));
    let _ = process::signal(child.pidfd.as_fd(), 9);
    let _ = process::wait(child.pidfd.as_fd());
    drop(ours);
    made
}

/// The map with the pair in it: `disk` on disk is `kernel` for the kernel. Who had one of both gets the other half.
fn with_pair(ranges: &[IdRange], shift: bool, disk: u32, kernel: u32) -> Vec<IdRange> {
    let on_disk = |range: &IdRange| if shift { range.inside } else { range.host };
    let mut map: Vec<IdRange> = ranges.iter().map(|range| IdRange { inside: on_disk(range), ..*range }).collect();
    let of_disk = map.iter().find_map(|range| paired(range.inside, range.host, range.count, disk));
    let of_kernel = map.iter().find_map(|range| paired(range.host, range.inside, range.count, kernel));
    if of_disk == Some(kernel) {
        return map;
    }
    map = without(&without(&map, disk), of_kernel.unwrap_or(disk));
    map.push(IdRange { inside: disk, host: kernel, count: 1 });
    if let (Some(host), Some(inside)) = (of_disk, of_kernel) {
        map.push(IdRange { inside, host, count: 1 });
    }
    map
}

/// What `id` of the run that starts at `from` is in the run that starts at `to`.
fn paired(from: u32, to: u32, count: u32, id: u32) -> Option<u32> {
    id.checked_sub(from).filter(|at| *at < count).map(|at| to + at)
}

/// The map without this id on disk.
fn without(map: &[IdRange], disk: u32) -> Vec<IdRange> {
    let split = |range: &IdRange| {
        let Some(at) = disk.checked_sub(range.inside).filter(|at| *at < range.count) else { return vec![*range] };
        let before = IdRange { count: at, ..*range };
        let (inside, host) = (range.inside.saturating_add(at + 1), range.host.saturating_add(at + 1));
        let after = IdRange { inside, host, count: range.count - at - 1 };
        [before, after].into_iter().filter(|range| range.count > 0).collect()
    };
    map.iter().flat_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shift: bool, disk: u32, kernel: u32, expect: &str) {
        let map = with_pair(&[IdRange { inside: 0, host: 100_000, count: 65_536 }], shift, disk, kernel);
        let shown: Vec<String> = map.iter().map(|range| format!("{}:{}:{}", range.inside, range.host, range.count)).collect();
        assert_eq!(shown.join(" "), expect);
    }

    #[test]
    fn without_a_shift_the_instances_ids_stay_and_one_is_the_hosts_user() {
        check(false, 1000, 101_000, "100000:100000:1000 101001:101001:64535 1000:101000:1");
        check(false, 4_000_000, 100_000, "100001:100001:65535 4000000:100000:1");
    }

    #[test]
    fn with_a_shift_two_change_places() {
        check(true, 1000, 101_000, "0:100000:65536");
        check(true, 1000, 100_000, "1:100001:999 1001:101001:64535 1000:100000:1 0:101000:1");
        check(true, 70_000, 100_000, "1:100001:65535 70000:100000:1");
    }

    #[test]
    fn an_owner_among_the_instances_own_ids_changes_places_too() {
        check(false, 100_005, 100_000, "100001:100001:4 100006:100006:65530 100005:100000:1 100000:100005:1");
    }
}
