//! `admin recover`: what stands in pools and is in no record.

use std::collections::BTreeMap;

use clap::Args;
use coffer_api::{RecoverPost, RecoverResult, RecoverVolume, StoragePool, StoragePoolsPost};

use crate::app::App;
use crate::editor::read_yaml;
use crate::error::CliError;
use crate::prompt::{ask, ask_bool, ask_checked};
use crate::render::clean;

/// Take in instances and volumes that stand in storage pools and are in no record
///
/// After the database was lost, or with the disks of another machine: records are rebuilt from what the pools hold. What is
/// recorded already stays as it is. Without options questions are asked; --pool, --preseed and --yes serve scripts.
///
/// Example: coffer admin recover --pool default,btrfs,/dev/sdb --yes
#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Pool that is not known, as name,driver,source; may be given several times; without a source the server's own place is meant
    #[arg(long, value_name = "NAME,DRIVER[,SOURCE]")]
    pool: Vec<String>,
    /// Read pools that are not known from standard input, as a list in YAML of name, driver and config
    #[arg(long)]
    preseed: bool,
    /// Ask nothing: take in what is found
    #[arg(short, long)]
    yes: bool,
}

impl Recover {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let mut pools = self.pool.iter().map(|text| pool(text)).collect::<Result<Vec<_>, _>>()?;
        if self.preseed {
            let text = std::io::read_to_string(std::io::stdin()).map_err(|cause| CliError::Stream { stream: "input", cause })?;
            pools.extend(read_yaml::<Vec<StoragePoolsPost>>(&text)?);
        }
        let asks = !self.yes && !self.preseed;
        if asks {
            let known = app.local().storage_pools().await?;
            app.print(&listed(&known))?;
            pools.extend(ask_pools(app).await?);
            app.print(&scanned(&known, &pools))?;
            if !ask_bool("Would you like to continue with scanning for lost volumes?", true)? {
                return Ok(());
            }
            app.print("Scanning for unknown volumes...\n")?;
        }
        let request = RecoverPost { pools };
        loop {
            let found = app.local().find_unknown(&request).await?;
            app.print(&described(&found))?;
            if found.missing.is_empty() {
                if found.volumes.is_empty() && request.pools.is_empty() {
                    return Ok(());
                }
                break;
            }
            if !asks {
                return Err(CliError::Missing { what: "what is listed above: make it and try again; it" });
            }
            ask("Please create those missing entries and then hit ENTER", "")?;
        }
        if asks && !ask_bool("Would you like those to be recovered?", false)? {
            return Ok(());
        }
        app.note("Starting recovery...")?;
        Ok(app.local().take_in(&request).await?)
    }
}

async fn ask_pools(app: &App) -> Result<Vec<StoragePoolsPost>, CliError> {
    let drivers: Vec<String> =
        app.local().server().await?.value.environment.storage_supported_drivers.into_iter().map(|driver| driver.name).collect();
    let mut pools = Vec::new();
    while ask_bool("Would you like to recover another storage pool?", false)? {
        let name = ask("Name of the storage pool", "")?;
        let known = |answer: &str| {
            if drivers.iter().any(|driver| driver == answer) { Ok(()) } else { Err(format!("one of {}", drivers.join(", "))) }
        };
        let driver = ask_checked(&format!("Name of the storage backend ({})", drivers.join(", ")), "", known)?;
        let source = ask("Source of the storage pool (block device, volume group, dataset, path; empty for the server's own place)", "")?;
        let mut config = source_of(&source);
        loop {
            let pair = ask("Additional storage pool configuration property (KEY=VALUE, empty when done)", "")?;
            if pair.is_empty() {
                break;
            }
            let (key, value) = pair.split_once('=').ok_or(CliError::NotKeyValue { argument: pair.clone() })?;
            config.insert(key.to_owned(), value.to_owned());
        }
        pools.push(StoragePoolsPost { name, driver, config, ..Default::default() });
    }
    Ok(pools)
}

/// Reads `NAME,DRIVER[,SOURCE]`.
fn pool(text: &str) -> Result<StoragePoolsPost, CliError> {
    let mut parts = text.splitn(3, ',');
    let (Some(name), Some(driver)) = (parts.next(), parts.next()) else {
        return Err(CliError::NotOfForm { name: text.to_owned(), form: "NAME,DRIVER or NAME,DRIVER,SOURCE" });
    };
    let config = source_of(parts.next().unwrap_or_default());
    Ok(StoragePoolsPost { name: name.to_owned(), driver: driver.to_owned(), config, ..Default::default() })
}

fn source_of(source: &str) -> BTreeMap<String, String> {
    if source.is_empty() { BTreeMap::new() } else { BTreeMap::from([("source".to_owned(), source.to_owned())]) }
}

fn listed(known: &[StoragePool]) -> String {
    if known.is_empty() {
        return "This server currently has no storage pools.\n".to_owned();
    }
    let mut text = "This server currently has the following storage pools:\n".to_owned();
    known.iter().for_each(|pool| text.push_str(&line("", &pool.name, &pool.driver, &pool.config)));
    text
}

fn scanned(known: &[StoragePool], new: &[StoragePoolsPost]) -> String {
    let mut text = "The recovery process will be scanning the following storage pools:\n".to_owned();
    known.iter().for_each(|pool| text.push_str(&line("EXISTING: ", &pool.name, &pool.driver, &pool.config)));
    new.iter().for_each(|pool| text.push_str(&line("NEW: ", &pool.name, &pool.driver, &pool.config)));
    text
}

fn line(what: &str, name: &str, driver: &str, config: &BTreeMap<String, String>) -> String {
    let source = config.get("source").map_or("", String::as_str);
    format!(" - {what}\"{}\" (backend=\"{}\", source=\"{}\")\n", clean(name), clean(driver), clean(source))
}

fn described(found: &RecoverResult) -> String {
    let mut text = String::new();
    if found.volumes.is_empty() {
        text.push_str("No unknown volumes found.\n");
    } else {
        text.push_str("The following unknown volumes have been found:\n");
    }
    for RecoverVolume { name, kind, snapshot_count, project, pool } in &found.volumes {
        let kind = if kind == "container" { "Container" } else { "Volume" };
        let (name, pool, project) = (clean(name), clean(pool), clean(project));
        text.push_str(&format!(" - {kind} \"{name}\" on pool \"{pool}\" in project \"{project}\" (includes {snapshot_count} snapshots)\n"));
    }
    if !found.missing.is_empty() {
        text.push_str("You are currently missing the following:\n");
    }
    for missing in &found.missing {
        text.push_str(&format!(" - {}\n", clean(missing)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_a_name_a_driver_and_perhaps_a_source() {
        let read = |text| pool(text).map(|pool| format!("{} {} {:?}", pool.name, pool.driver, pool.config)).ok();
        assert_eq!(read("a,btrfs,/dev/sdb").as_deref(), Some(r#"a btrfs {"source": "/dev/sdb"}"#));
        assert_eq!(read("a,dir").as_deref(), Some("a dir {}"));
        assert_eq!(read("a"), None);
    }

    #[test]
    fn what_was_found_is_said_in_the_words_of_lxd() {
        let volume = |kind: &str| RecoverVolume {
            name: "c1".into(),
            kind: kind.into(),
            snapshot_count: 2,
            project: "default".into(),
            pool: "p".into(),
        };
        let found = RecoverResult {
            volumes: vec![volume("container"), volume("custom")],
            missing: vec![r#"Profile "web" in project "default""#.into()],
        };
        let expect = "The following unknown volumes have been found:\n - Container \"c1\" on pool \"p\" in project \"default\" (includes 2 snapshots)\n - Volume \"c1\" on pool \"p\" in project \"default\" (includes 2 snapshots)\nYou are currently missing the following:\n - Profile \"web\" in project \"default\"\n";
        assert_eq!(described(&found), expect);
        assert_eq!(described(&RecoverResult::default()), "No unknown volumes found.\n");
    }
}
