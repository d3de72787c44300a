//! When cloud-init inside must believe that it is on a new instance, and run again.

use coffer_model::{Config, DeviceName, Devices};
use uuid::Uuid;

/// What cloud-init knows the instance by: another value makes it run again.
pub(crate) const INSTANCE_ID: &str = "volatile.cloud-init.instance-id";

/// The keys that cloud-init runs with.
const KEYS: [&str; 6] = [
    "cloud-init.network-config",
    "cloud-init.user-data",
    "cloud-init.vendor-data",
    "user.network-config",
    "user.user-data",
    "user.vendor-data",
];

/// A new value.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// Whether what cloud-init runs with differs: its keys, or which NICs there are by which names.
pub(crate) fn differs(old: (&Config, &Devices), new: (&Config, &Devices)) -> bool {
    KEYS.iter().any(|key| old.0.get(key) != new.0.get(key)) || nics(old.1) != nics(new.1)
}

fn nics(devices: &Devices) -> Vec<(&DeviceName, Option<&str>)> {
    let nics = devices.0.iter().filter(|(_, keys)| keys.get("type") == Some("nic"));
    nics.map(|(name, keys)| (name, keys.get("name"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, value: &str, nic: &str, expect: bool) {
        let config: Config = [("user.user-data", "a"), ("limits.cpu", "1")].into_iter().collect();
        let devices = |name: &str| {
            let nic: Config = [("type", "nic"), ("name", name)].into_iter().collect();
            Devices([("eth0".parse().unwrap(), nic)].into())
        };
        let mut new = config.clone();
        new.set(key, value);
        assert_eq!(differs((&config, &devices("eth0")), (&new, &devices(nic))), expect, "{key} {value} {nic}");
    }

    #[test]
    fn what_makes_cloud_init_run_again() {
        check("user.user-data", "a", "eth0", false);
        check("user.user-data", "b", "eth0", true);
        check("cloud-init.network-config", "b", "eth0", true);
        check("limits.cpu", "2", "eth0", false);
        check("user.colour", "b", "eth0", false);
        check("user.user-data", "a", "lan0", true);
    }
}
