//! Facts of the host: read once at the start, or fresh where they change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use coffer_model::idmap::{self, IdRange};
use coffer_network::links::LinkKind;

use crate::Engine;
use crate::error::EngineError;
use crate::instance::resolve::HostFacts;

/// The files that say which ids root may give away. Source: subuid(5).
const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// The file in the state directory that tells this daemon from others on the same host. It outlives the database: what runs and
/// what is in the kernel is named after it.
const IDENTITY: &str = "server.id";

impl Engine {
    /// The addresses under which others reach this host.
    #[must_use]
    pub fn host_addresses(&self) -> Vec<IpAddr> {
        let links = coffer_network::links::host_links();
        let links = links.inspect_err(|error| tracing::warn!("listing this host's addresses: {error}")).unwrap_or_default();
        let others = links.into_iter().filter(|link| link.up && link.kind != LinkKind::Loopback);
        others.flat_map(|link| link.addresses).filter(|address| address.scope_word() == "global").map(|address| address.address).collect()
    }
}

/// Reads the facts that specs depend on. `state` is the daemon's state directory, whose identity names its control groups.
///
/// # Errors
/// If the state directory or the kernel's files cannot be read.
pub fn facts(state: &Path) -> Result<HostFacts, EngineError> {
    let path = state.join(IDENTITY);
    let identity = identity(&path, &state.join("database").join(IDENTITY))
        .map_err(|cause| EngineError::system(format!("reading {}", path.display()), cause))?;
    Ok(HostFacts {
        memory: memory_total().unwrap_or(u64::MAX),
        processors: processors(),
        nodes: nodes(),
        cgroup_parent: format!("coffer/{identity}"),
    })
}

/// The identity of a state directory: chosen at random once. An inode number would not do, as it comes back after a delete.
/// `before` is where earlier versions had it.
fn identity(path: &Path, before: &Path) -> io::Result<String> {
    let hexadecimal = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) if hexadecimal(text.trim()) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Nothing, or cut off while it was written for the first time.
        Ok(_) | Err(_) => Ok(None),
    };
    if let Some(known) = read(path)? {
        return Ok(known);
    }
    let chosen = match read(before)? {
        Some(known) => known,
        None => {
            let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
            format!("{:08x}", low as u32)
        }
    };
    let beside = path.with_extension("new");
    fs::write(&beside, &chosen)?;
    fs::rename(&beside, path)?;
    Ok(chosen)
}

/// Which host ids instances may have.
///
/// # Errors
/// A refusal that names the files, when root's ranges are too small.
pub fn id_ranges() -> Result<Vec<IdRange>, EngineError> {
    let (subuid, subgid) = (fs::read_to_string(SUBUID).ok(), fs::read_to_string(SUBGID).ok());
    idmap::available(subuid.as_deref(), subgid.as_deref()).map_err(EngineError::Refused)
}

/// One value of a `NAME=value` or `NAME: value` file, without quotes.
#[must_use]
pub fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(['=', ':']).map(str::trim))?;
    Some(value.trim_matches('"').to_owned())
}

/// Bytes of memory. Source: proc_meminfo(5).
#[must_use]
pub fn memory_total() -> Option<u64> {
    field("/proc/meminfo", "MemTotal")?.strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Processors that are online. Source: `Documentation/admin-guide/cputopology.rst` of Linux.
fn processors() -> Vec<u32> {
    let online = numbers("/sys/devices/system/cpu/online");
    if online.is_empty() { vec![0] } else { online }
}

/// Memory nodes and their processors. Source: `Documentation/ABI/stable/sysfs-devices-node` of Linux.
fn nodes() -> BTreeMap<u32, Vec<u32>> {
    let online = numbers("/sys/devices/system/node/online").into_iter();
    online.map(|node| (node, numbers(&format!("/sys/devices/system/node/node{node}/cpulist")))).collect()
}

/// The numbers in a file of the kernel; none where there is no such file.
fn numbers(path: &str) -> Vec<u32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    coffer_model::key::number_set(text.trim()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_chosen_once() {
        let directory = std::env::temp_dir().join(format!("coffer-identity-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join(IDENTITY);
        fs::write(&path, "cut").unwrap();
        let before = directory.join("before");
        let first = identity(&path, &before).unwrap();
        assert_eq!(identity(&path, &before).unwrap(), first);
        // One of an earlier version stays what it was.
        fs::remove_file(&path).unwrap();
        fs::write(&before, "0badcafe").unwrap();
        assert_eq!((identity(&path, &before).unwrap(), identity(&path, &before).unwrap()), ("0badcafe".into(), "0badcafe".into()));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_host_has_memory_and_processors() {
        assert!(memory_total().unwrap() > 1 << 20);
        assert!(!processors().is_empty());
    }
}
