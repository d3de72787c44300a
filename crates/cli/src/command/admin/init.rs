//! `admin init`.

use std::collections::BTreeMap;

use clap::Args;
use coffer_api::{NetworkPreseed, Preseed, ProfilePreseed, StoragePoolsPost};

use super::{apply, dump, questions};
use crate::app::App;
use crate::editor::read_yaml;
use crate::error::CliError;
use crate::render::yaml;

/// Prepare the server: storage pool, network, default profile, listener
///
/// Without options questions are asked. Nothing is needed before the first launch, which sets up a pool and a network by itself.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Ask nothing
    #[arg(long, conflicts_with_all = ["minimal", "preseed", "dump"])]
    auto: bool,
    /// Ask nothing and set up only what instances need
    #[arg(long, conflicts_with_all = ["preseed", "dump"])]
    minimal: bool,
    /// Read what to set up as YAML from standard input
    #[arg(long, conflicts_with = "dump")]
    preseed: bool,
    /// Print what is set up as YAML
    #[arg(long)]
    dump: bool,
    /// Address to listen on for other machines
    #[arg(long, value_name = "ADDRESS", requires = "auto")]
    network_address: Option<String>,
    /// Port to listen on for other machines
    #[arg(long, value_name = "PORT", requires = "network_address", default_value_t = 8443)]
    network_port: u16,
    /// Storage driver; unless said the best that this host can do
    #[arg(long, value_name = "DRIVER", requires = "auto")]
    storage_backend: Option<String>,
    /// Block device for the storage pool; it is formatted
    #[arg(long, value_name = "DEVICE", requires = "storage_backend", conflicts_with = "storage_create_loop")]
    storage_create_device: Option<String>,
    /// Size in GiB of a file for the storage pool
    #[arg(long, value_name = "GIB", requires = "storage_backend")]
    storage_create_loop: Option<u64>,
    /// Name or source of the storage pool
    #[arg(long, value_name = "POOL", requires = "storage_backend")]
    storage_pool: Option<String>,
    /// Password for new clients
    #[arg(long, value_name = "PASSWORD", hide = true)]
    trust_password: Option<String>,
}

impl Init {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        if self.trust_password.is_some() {
            return Err(CliError::Unsupported { what: "a trust password" });
        }
        if self.dump {
            return app.print(&yaml(&dump::read(app.local()).await?));
        }
        let preseed = if self.preseed {
            let text = std::io::read_to_string(std::io::stdin()).map_err(|cause| CliError::Stream { stream: "input", cause })?;
            read_yaml(&text)?
        } else if self.auto || self.minimal {
            self.automatic(app).await?
        } else {
            questions::ask_all(app).await?
        };
        if preseed.cluster.as_ref().is_some_and(|cluster| cluster.enabled) {
            return Err(CliError::Unsupported { what: "a cluster" });
        }
        for left_out in apply::apply(app.local(), &preseed, apply::Manner::Preseed).await? {
            app.complain(&left_out);
        }
        Ok(())
    }

    /// Decides without questions; what is there already is left alone.
    async fn automatic(&self, app: &App) -> Result<Preseed, CliError> {
        let client = app.local();
        let mut preseed = Preseed::default();
        if let Some(address) = &self.network_address {
            preseed.config.insert("core.https_address".into(), listen_address(address, self.network_port));
        }
        if client.storage_pools().await?.is_empty() {
            let driver = match &self.storage_backend {
                Some(driver) => driver.clone(),
                None => questions::best(&questions::drivers(app).await?).to_owned(),
            };
            let pool = self.pool(driver);
            app.note(&format!("Storage pool {}: {}", pool.name, pool.driver))?;
            add_device(&mut preseed, "root", &[("type", "disk"), ("path", "/"), ("pool", &pool.name)]);
            preseed.storage_pools.push(pool);
        }
        if !client.networks().await?.iter().any(|network| network.managed) {
            let bridge = bridge_name(app);
            preseed.networks.push(NetworkPreseed { name: bridge.into(), kind: "bridge".into(), ..Default::default() });
            add_device(&mut preseed, "eth0", &[("type", "nic"), ("name", "eth0"), ("network", bridge)]);
        }
        Ok(preseed)
    }

    fn pool(&self, driver: String) -> StoragePoolsPost {
        let mut config = BTreeMap::new();
        config.extend(self.storage_create_device.clone().map(|device| ("source".to_owned(), device)));
        config.extend(self.storage_create_loop.map(|size| ("size".to_owned(), format!("{size}GiB"))));
        if config.is_empty() {
            config.extend(self.storage_pool.clone().map(|source| ("source".to_owned(), source)));
        }
        StoragePoolsPost { config, name: "default".into(), driver, ..Default::default() }
    }
}

/// Adds a device to the default profile of a preseed.
pub(super) fn add_device(preseed: &mut Preseed, name: &str, pairs: &[(&str, &str)]) {
    if preseed.profiles.is_empty() {
        preseed.profiles.push(ProfilePreseed { name: "default".into(), ..Default::default() });
    }
    let device = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    if let Some(profile) = preseed.profiles.first_mut() {
        profile.devices.insert(name.to_owned(), device);
    }
}

/// Names the first bridge, after the name this program was called by.
pub(super) fn bridge_name(app: &App) -> &'static str {
    if app.program == "lxc" { "lxdbr0" } else { "cofferbr0" }
}

/// Joins address and port; IPv6 addresses get brackets.
pub(super) fn listen_address(address: &str, port: u16) -> String {
    match address.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_their_port() {
        assert_eq!(listen_address("::", 8443), "[::]:8443");
        assert_eq!(listen_address("10.0.0.1", 1), "10.0.0.1:1");
    }
}
