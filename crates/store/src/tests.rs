//! The store against real files.

use std::path::Path;

use coffer_model::{Checked, Config, Devices, IdMap, IdRange, Instance, InstanceName, Phase, Pool, Profile, ProjectName, Time, gate};

use crate::{Conn, Store, StoreError, instance, pool, profile};

mod concurrency;
mod entities;
mod full;
mod opening;
mod operations;
mod snapshots;
mod speed;
mod volumes;
mod warnings;

fn default_project() -> ProjectName {
    ProjectName::default_project()
}

fn name<N: std::str::FromStr<Err = coffer_model::NameError>>(text: &str) -> N {
    text.parse().unwrap()
}

fn open(directory: &Path) -> Store {
    Store::open(&directory.join("database")).unwrap()
}

/// A store with pool `default`, and a root disk there in the default profile.
fn with_pool(directory: &Path) -> Store {
    let store = open(directory);
    store
        .write(|tx| {
            pool::insert(tx, &some_pool("default"))?;
            profile::update(tx, &gate::profile(some_profile("default")).unwrap())
        })
        .unwrap();
    store
}

fn some_pool(named: &str) -> Pool {
    let config = [("source", "/srv/pool")].into_iter().collect();
    Pool { name: name(named), description: "fast".into(), driver: "dir".into(), config, made: false }
}

fn some_profile(named: &str) -> Profile {
    let root = [("type", "disk"), ("path", "/"), ("pool", "default")].into_iter().collect();
    let nic = [("type", "nic"), ("network", "cofferbr0")].into_iter().collect();
    Profile {
        project: default_project(),
        name: name(named),
        description: String::new(),
        config: Config::default(),
        devices: Devices([(name("root"), root), (name("eth0"), nic)].into()),
    }
}

fn some_instance(named: &str) -> Instance {
    Instance {
        project: default_project(),
        name: name(named),
        architecture: "x86_64".into(),
        description: "it's \"here\"\nand there".into(),
        ephemeral: false,
        profiles: vec![name("default")],
        config: [("limits.cpu", "2"), ("user.note", "a: b # c")].into_iter().collect(),
        devices: Devices::default(),
        pool: name("default"),
        created_at: "2024-05-06T07:08:09.123456789Z".parse().unwrap(),
        last_used_at: None,
        phase: Phase::Creating,
    }
}

/// Passes the gate as the server, with the profiles that the store has.
fn checked(conn: &Conn, new: Instance) -> Result<Checked<Instance>, StoreError> {
    let profiles = profile::for_instance(conn, &new.project, &new.profiles)?;
    Ok(gate::instance(new, &profiles, None, gate::Origin::Server).unwrap())
}

fn add(store: &Store, new: Instance) -> Result<i64, StoreError> {
    store.write(|tx| instance::insert(tx, &checked(tx, new)?))
}

fn says<T>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(_) => "fine".into(),
        Err(error) => coffer_base::chain(&error),
    }
}
