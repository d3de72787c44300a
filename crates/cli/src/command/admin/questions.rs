//! The questions of `admin init`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use coffer_api::{NetworkPreseed, Preseed, StoragePoolsPost};

use super::init::{add_device, bridge_name, listen_address};
use crate::app::App;
use crate::error::CliError;
use crate::prompt::{ask, ask_bool, ask_checked};
use crate::render::yaml;

/// Drivers from the best to the plainest.
const PREFERENCE: [&str; 6] = ["btrfs", "zfs", "overlay", "lvm", "ceph", "dir"];

/// Asks everything, in the order people know.
pub(super) async fn ask_all(app: &App) -> Result<Preseed, CliError> {
    let mut preseed = Preseed::default();
    if ask_bool("Would you like to use clustering?", false)? {
        return Err(CliError::Unsupported { what: "a cluster" });
    }
    ask_storage(app, &mut preseed).await?;
    if ask_bool("Would you like to connect to a MAAS server?", false)? {
        return Err(CliError::Unsupported { what: "MAAS" });
    }
    ask_network(app, &mut preseed).await?;
    if ask_bool("Would you like the server to be available over the network?", false)? {
        let address = ask_checked("Address to bind to (not including port)", "all", |answer| match answer {
            "all" => Ok(()),
            other => other.parse::<IpAddr>().map(drop).map_err(|_| "give an IP address, or all".to_owned()),
        })?;
        let port = ask_checked("Port to bind to", "8443", |answer| {
            answer.parse::<u16>().map(drop).map_err(|_| "give a number up to 65535".to_owned())
        })?;
        let address = if address == "all" { "::" } else { &address };
        preseed.config.insert("core.https_address".into(), listen_address(address, port.parse().unwrap_or(8443)));
    }
    if !ask_bool("Would you like stale cached images to be updated automatically?", true)? {
        preseed.config.insert("images.auto_update_interval".into(), "0".into());
    }
    if ask_bool("Would you like a YAML \"init\" preseed to be printed?", false)? {
        app.print(&yaml(&preseed))?;
    }
    Ok(preseed)
}

async fn ask_storage(app: &App, preseed: &mut Preseed) -> Result<(), CliError> {
    if !ask_bool("Do you want to configure a new storage pool?", true)? {
        return Ok(());
    }
    let there: Vec<String> = app.local().storage_pools().await?.into_iter().map(|pool| pool.name).collect();
    let name = ask_checked("Name of the new storage pool", "default", |name| match there.iter().any(|pool| pool == name) {
        true => Err(format!("there is a storage pool {name} already")),
        false => Ok(()),
    })?;
    let drivers = drivers(app).await?;
    let best = best(&drivers);
    let question = format!("Name of the storage backend to use ({})", drivers.join(", "));
    let driver = ask_checked(&question, best, |driver| match drivers.iter().any(|known| known == driver) {
        true => Ok(()),
        false => Err(format!("choose one of {}", drivers.join(", "))),
    })?;
    let config = match driver.as_str() {
        "btrfs" | "zfs" | "lvm" => ask_source(app, &driver)?,
        _ => BTreeMap::new(),
    };
    add_device(preseed, "root", &[("type", "disk"), ("path", "/"), ("pool", &name)]);
    preseed.storage_pools.push(StoragePoolsPost { config, name, driver, ..Default::default() });
    Ok(())
}

/// The drivers that this host can do, by name.
pub(super) async fn drivers(app: &App) -> Result<Vec<String>, CliError> {
    let supported = app.local().server().await?.value.environment.storage_supported_drivers;
    // What holds users' volumes alone is no place to begin with.
    let mut drivers: Vec<String> = supported.into_iter().map(|driver| driver.name).filter(|driver| driver != "cephfs").collect();
    drivers.sort_unstable();
    Ok(drivers)
}

/// The best of some drivers.
pub(super) fn best(drivers: &[String]) -> &'static str {
    PREFERENCE.iter().copied().find(|driver| drivers.iter().any(|known| known == driver)).unwrap_or("dir")
}

/// Asks where a pool of blocks or copies lies: on a device, in a new file, or where it is already.
fn ask_source(app: &App, driver: &str) -> Result<BTreeMap<String, String>, CliError> {
    let source = |value: String| BTreeMap::from([("source".to_owned(), value)]);
    if !ask_bool(&format!("Create a new {} pool?", driver.to_uppercase()), true)? {
        return Ok(source(ask_checked("Name or path of the existing pool", "", needed)?));
    }
    if ask_bool("Would you like to use an existing empty block device (e.g. a disk or partition)?", false)? {
        return Ok(source(ask_checked("Path to the existing block device", "", needed)?));
    }
    let default = default_loop_size(app);
    let size = ask_checked("Size in GiB of the new loop device (1GiB minimum)", &format!("{default}GiB"), |answer| {
        gibibytes(answer).filter(|size| *size >= 1).map(drop).ok_or_else(|| "give a number of GiB, at least 1".to_owned())
    })?;
    Ok(BTreeMap::from([("size".to_owned(), format!("{}GiB", gibibytes(&size).unwrap_or(default)))]))
}

fn needed(answer: &str) -> Result<(), String> {
    if answer.is_empty() { Err("an answer is needed".to_owned()) } else { Ok(()) }
}

fn gibibytes(answer: &str) -> Option<u64> {
    answer.trim().trim_end_matches("GiB").trim_end_matches("GB").trim().parse().ok()
}

/// A fifth of the free room beside the daemon's socket, from 5 to 30 GiB.
fn default_loop_size(app: &App) -> u64 {
    let directory = app.local().endpoint().socket().and_then(Path::parent).unwrap_or(Path::new("/"));
    let free = rustix::fs::statvfs(directory).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    ((free / 5) >> 30).clamp(5, 30)
}

async fn ask_network(app: &App, preseed: &mut Preseed) -> Result<(), CliError> {
    if !ask_bool("Would you like to create a new local network bridge?", true)? {
        return ask_existing(preseed);
    }
    let there: Vec<String> = app.local().networks().await?.into_iter().map(|network| network.name).collect();
    let name =
        ask_checked("What should the new bridge be called?", bridge_name(app), |name| match there.iter().any(|used| used == name) {
            true => Err(format!("there is a network {name} already")),
            false if name.is_empty() || name.len() > 15 => Err("a name has 1 to 15 characters".to_owned()),
            false => Ok(()),
        })?;
    let mut config = BTreeMap::new();
    for (family, version) in [("IPv4", "ipv4"), ("IPv6", "ipv6")] {
        let question = format!("What {family} address should be used? (CIDR subnet notation, \"auto\" or \"none\")");
        let address = ask_checked(&question, "auto", |answer| check_address(answer, version == "ipv4"))?;
        if !matches!(address.as_str(), "auto" | "none") {
            let nat = ask_bool(&format!("Would you like to NAT {family} traffic on your bridge?"), true)?;
            config.insert(format!("{version}.nat"), nat.to_string());
        }
        config.insert(format!("{version}.address"), address);
    }
    add_device(preseed, "eth0", &[("type", "nic"), ("name", "eth0"), ("network", &name)]);
    preseed.networks.push(NetworkPreseed { config, name, kind: "bridge".into(), ..Default::default() });
    Ok(())
}

fn check_address(answer: &str, v4: bool) -> Result<(), String> {
    if matches!(answer, "auto" | "none") {
        return Ok(());
    }
    let (address, length) = answer.split_once('/').ok_or("give an address and the length of its prefix, as 10.1.2.1/24")?;
    let address: IpAddr = address.parse().map_err(|_| "that is no IP address".to_owned())?;
    let length: u8 = length.parse().map_err(|_| "that is no length of a prefix".to_owned())?;
    if address.is_ipv4() != v4 {
        return Err("that is an address of the other family".to_owned());
    }
    if length > if v4 { 32 } else { 128 } { Err("that prefix is too long".to_owned()) } else { Ok(()) }
}

fn ask_existing(preseed: &mut Preseed) -> Result<(), CliError> {
    if !ask_bool("Would you like to use an existing bridge or host interface?", false)? {
        return Ok(());
    }
    let name = ask("Name of the existing bridge or host interface", "")?;
    if name.is_empty() {
        return Err(CliError::Missing { what: "the name of the interface" });
    }
    let is_bridge = Path::new("/sys/class/net").join(&name).join("bridge").exists();
    let nictype = if is_bridge { "bridged" } else { "macvlan" };
    add_device(preseed, "eth0", &[("type", "nic"), ("name", "eth0"), ("nictype", nictype), ("parent", &name)]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, v4: bool, good: bool) {
        assert_eq!(check_address(answer, v4).is_ok(), good, "{answer}");
    }

    #[test]
    fn addresses_of_a_bridge() {
        check("auto", true, true);
        check("none", false, true);
        check("10.1.2.1/24", true, true);
        check("10.1.2.1", true, false);
        check("10.1.2.1/33", true, false);
        check("fd00::1/64", false, true);
        check("fd00::1/64", true, false);
    }

    #[test]
    fn sizes_of_a_loop_device() {
        assert_eq!([gibibytes("30GiB"), gibibytes("7"), gibibytes("x")], [Some(30), Some(7), None]);
    }
}
