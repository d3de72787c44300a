//! `storage`: storage pools.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Subcommand;
use coffer_api::{ResourcesStoragePool, StoragePool, StoragePoolsPost};

use super::storage_volume::Volume;
use crate::app::App;
use crate::error::CliError;
use crate::key_value::{pairs, pairs_or_two};
use crate::object::{self, Pool};
use crate::render::{Format, Table, binary_size, clean, render_list, yaml};
use crate::target::Target;

/// Storage pools and volumes
#[derive(Debug, Subcommand)]
pub(crate) enum Storage {
    /// Make a storage pool
    #[command(alias = "add", after_help = "Example:\n  coffer storage create fast btrfs source=/dev/sdb")]
    Create {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Driver: dir, btrfs ...
        driver: String,
        /// Its keys
        #[arg(value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Delete a storage pool
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
    },
    /// Edit a storage pool; YAML on standard input is taken as it is
    Edit {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
    },
    /// Print one key of a storage pool
    Get {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Key
        key: String,
    },
    /// Show the room in a storage pool and what uses it
    Info {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Write room in bytes
        #[arg(long)]
        bytes: bool,
    },
    /// List storage pools
    #[command(visible_alias = "ls")]
    List {
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Set keys of a storage pool
    Set {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true, allow_hyphen_values = true)]
        pairs: Vec<String>,
    },
    /// Show a storage pool
    Show {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Show the room in it instead
        #[arg(long)]
        resources: bool,
    },
    /// Unset a key of a storage pool
    Unset {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Key
        key: String,
    },
    #[command(subcommand)]
    Volume(Volume),
    /// Buckets (not supported yet)
    Bucket {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

const BUCKET: &str = "storage bucket (run an object store such as MinIO in an instance, on a volume of its own)";

impl Storage {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Storage::Create { pool, driver, pairs: arguments } => {
                let name = pool.required("the pool's name")?.to_owned();
                let request = StoragePoolsPost { config: pairs(&arguments)?, name, driver, ..Default::default() };
                app.client(&pool)?.create_storage_pool(&request).await?;
                app.note(&format!("Storage pool {} created", pool.name))
            }
            Storage::Delete { pool } => {
                app.client(&pool)?.delete_storage_pool(pool.required("the pool's name")?).await?;
                app.note(&format!("Storage pool {} deleted", pool.name))
            }
            Storage::Edit { pool } => object::edit(app, app.client(&pool)?, &named(pool)?).await,
            Storage::Get { pool, key } => object::get(app, app.client(&pool)?, &named(pool)?, &key).await,
            Storage::Info { pool, bytes } => {
                let client = app.client(&pool)?;
                let read = client.storage_pool(pool.required("the pool's name")?).await?.value;
                app.print(&info(&read, &client.storage_pool_resources(&pool.name).await?, bytes))
            }
            Storage::List { remote, format } => list(app, &remote.unwrap_or_default(), format).await,
            Storage::Set { pool, pairs } => object::set(app, app.client(&pool)?, &named(pool)?, pairs_or_two(&pairs)?).await,
            Storage::Show { pool, resources: true } => {
                let read = app.client(&pool)?.storage_pool_resources(pool.required("the pool's name")?).await?;
                app.print(&yaml(&read))
            }
            Storage::Show { pool, resources: false } => object::show(app, app.client(&pool)?, &named(pool)?).await,
            Storage::Unset { pool, key } => object::unset(app, app.client(&pool)?, &named(pool)?, &key).await,
            Storage::Volume(command) => command.run(app).await,
            Storage::Bucket { .. } => Err(CliError::Unsupported { what: BUCKET }),
        }
    }
}

fn named(target: Target) -> Result<Pool, CliError> {
    target.required("the pool's name")?;
    Ok(Pool(target.name))
}

async fn list(app: &App, target: &Target, format: Format) -> Result<(), CliError> {
    let pools = app.client(target)?.storage_pools().await?;
    app.print(&render_list(format, &pools, app.colour(), || {
        let mut table = Table::new(["NAME", "DRIVER", "SOURCE", "DESCRIPTION", "USED BY", "STATE"]);
        for pool in &pools {
            let source = pool.config.get("source").map_or("", String::as_str);
            let users = pool.used_by.len().to_string();
            table.row([&pool.name, &pool.driver, source, &pool.description, &users, &pool.status.to_uppercase()]);
        }
        table.sorted()
    }))
}

fn info(pool: &StoragePool, resources: &ResourcesStoragePool, bytes: bool) -> String {
    let size = |value: u64| match i64::try_from(value) {
        Ok(value) if !bytes => binary_size(value),
        _ => format!("\"{value}\""),
    };
    let description = if pool.description.is_empty() { "\"\"".to_owned() } else { clean(&pool.description).into_owned() };
    let mut out = format!("info:\n  description: {description}\n  driver: {}\n  name: {}\n", clean(&pool.driver), clean(&pool.name));
    let _ = write!(out, "  space used: {}\n  total space: {}\n", size(resources.space.used), size(resources.space.total));
    let users = users(&pool.used_by);
    if users.is_empty() {
        out.push_str("used by: {}\n");
        return out;
    }
    out.push_str("used by:\n");
    for (kind, names) in users {
        let _ = writeln!(out, "  {}:", clean(kind));
        for name in names {
            let _ = writeln!(out, "  - {}", clean(&name));
        }
    }
    out
}

/// Sorts URLs such as `/1.0/instances/c1` by their kind; a snapshot counts by its instance's name.
fn users(urls: &[String]) -> BTreeMap<&str, Vec<String>> {
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for url in urls {
        let path = url.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            [_, "storage-pools", _, "volumes", _, name] => users.entry("volumes").or_default().push((*name).to_owned()),
            [_, kind, name, ..] => users.entry(kind).or_default().push((*name).to_owned()),
            _ => {}
        }
    }
    users.values_mut().for_each(|names| names.sort());
    users
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_pool_and_its_users() {
        let pool: StoragePool = serde_json::from_str(
            r#"{"name":"default","driver":"dir","used_by":["/1.0/instances/t1","/1.0/instances/t1/snapshots/s0",
            "/1.0/profiles/default","/1.0/storage-pools/default/volumes/custom/vol1"]}"#,
        )
        .unwrap();
        let resources = serde_json::from_str(r#"{"space":{"used":24135188480,"total":270553174016}}"#).unwrap();
        expect![[r#"
            info:
              description: ""
              driver: dir
              name: default
              space used: 22.48GiB
              total space: 251.97GiB
            used by:
              instances:
              - t1
              - t1
              profiles:
              - default
              volumes:
              - vol1
        "#]]
        .assert_eq(&info(&pool, &resources, false));
    }
}
