//! Which host ids an instance gets.

use coffer_model::idmap::{self, DEFAULT_SIZE};
use coffer_model::{Config, IdMap, IdRange, Instance, InstanceName, raw_idmap};
use coffer_store::Conn;

use super::start::Loaded;
use crate::error::EngineError;
use crate::{Engine, host};

impl Engine {
    /// The id map of an instance that is about to start; `None` is privileged. A new one is remembered before it is used.
    pub(crate) fn ensure_ids(&self, loaded: &mut Loaded) -> Result<Option<IdMap>, EngineError> {
        if loaded.config.flag("security.privileged", false) {
            return Ok(None);
        }
        let available = host::id_ranges()?;
        let isolated = self.isolated(&loaded.config)?;
        let instance = &loaded.instance;
        let map = self.inner.store.try_write(|tx| {
            let map = choose_beside(tx, instance, &loaded.config, isolated, &available)?;
            if instance.id_map() != Some(map) {
                let [base, next] = remembered(map);
                let keys = [(base.0, Some(base.1.as_str())), (next.0, Some(next.1.as_str()))];
                coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys)?;
            }
            Ok::<_, EngineError>(map)
        })?;
        loaded.instance.config.set("volatile.idmap.next", map.to_volatile());
        Ok(Some(map))
    }

    /// Gives an instance that is being recorded its map, so that its first start need not write one down. What stands in the way
    /// is said by the start: until then it may have gone.
    pub(crate) fn reserve_ids(&self, conn: &Conn, instance: &mut Instance, config: &Config) -> Result<(), EngineError> {
        if config.flag("security.privileged", false) {
            return Ok(());
        }
        let Ok(available) = host::id_ranges() else { return Ok(()) };
        if let Ok(map) = choose_beside(conn, instance, config, self.isolated(config)?, &available) {
            for (key, value) in remembered(map) {
                instance.config.set(key, value);
            }
        }
        Ok(())
    }

    /// Refuses entries of `raw.idmap` that would give the instance ids of another, or of one to come.
    pub(crate) fn check_raw_ids(&self, instance: &InstanceName, config: &Config) -> Result<(), EngineError> {
        let Some(entries) = config.get("raw.idmap").and_then(|text| raw_idmap::parse(text).ok()) else { return Ok(()) };
        let available = host::id_ranges()?;
        let wanted = |entry: &raw_idmap::RawEntry| IdRange { start: entry.host, size: entry.count };
        match entries.iter().find(|entry| available.iter().any(|range| range.overlaps(wanted(entry)))) {
            None => Ok(()),
            Some(entry) => Err(EngineError::Refused(format!(
                "instance {instance}: raw.idmap asks for host id {}, which is among those that instances are given ranges of; \
                 name ids of the host's own users",
                entry.host
            ))),
        }
    }

    /// Whether an instance gets a range of its own: its key, or else the server's.
    pub(crate) fn isolated(&self, config: &Config) -> Result<bool, EngineError> {
        let server = self.server_config()?;
        Ok(config.flag("security.idmap.isolated", server.flag("instances.idmap.isolated", true)))
    }
}

/// Chooses a map for an instance among those that the others have.
fn choose_beside(conn: &Conn, instance: &Instance, config: &Config, isolated: bool, available: &[IdRange]) -> Result<IdMap, EngineError> {
    let others: Vec<IdRange> = coffer_store::instance::id_ranges(conn)?
        .into_iter()
        .filter(|(project, name, _)| (project, name) != (&instance.project, &instance.name))
        .map(|(_, _, range)| range)
        .collect();
    choose(&instance.name, config, isolated, instance.id_map(), available, &others)
}

/// The keys that remember a map.
fn remembered(map: IdMap) -> [(&'static str, String); 2] {
    [("volatile.idmap.base", "0".to_owned()), ("volatile.idmap.next", map.to_volatile())]
}

/// Chooses a map: the one it has if that still fits what is asked for, else a free one.
pub(crate) fn choose(
    instance: &InstanceName,
    config: &Config,
    isolated: bool,
    now: Option<IdMap>,
    available: &[IdRange],
    others: &[IdRange],
) -> Result<IdMap, EngineError> {
    let size = config.parse("security.idmap.size").unwrap_or(DEFAULT_SIZE);
    // The first range of all is kept for the instances that share one, so that it never overlaps an isolated one's.
    let shared = IdRange { start: available.first().map_or(0, |range| range.start), size: DEFAULT_SIZE };
    if !isolated {
        return Ok(IdMap { host: shared });
    }
    let mut taken: Vec<IdRange> = others.to_vec();
    taken.push(shared);
    let free = |range: IdRange| available.iter().any(|all| all.contains(range)) && !taken.iter().any(|other| other.overlaps(range));
    if let Some(start) = config.parse::<u32>("security.idmap.base") {
        let range = IdRange { start, size };
        return if free(range) {
            Ok(IdMap { host: range })
        } else {
            Err(EngineError::Refused(format!(
                "instance {instance}: host ids {start} to {} are not free; remove security.idmap.base to have the server choose",
                range.end() - 1
            )))
        };
    }
    if let Some(map) = now.filter(|map| map.host.size == size && free(map.host)) {
        return Ok(map);
    }
    let range = idmap::allocate(available, &taken, size).ok_or_else(|| {
        EngineError::Refused(format!(
            "instance {instance}: no {size} host ids in a row are free; give root a larger range in /etc/subuid and /etc/subgid, \
             or set security.idmap.isolated=false"
        ))
    })?;
    Ok(IdMap { host: range })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVAILABLE: [IdRange; 1] = [IdRange { start: 100_000, size: 3 * 65536 }];

    #[track_caller]
    fn check(config: &[(&str, &str)], isolated: bool, now: Option<u32>, others: &[u32], expect: &str) {
        let range = |start| IdRange { start, size: 65536 };
        let others: Vec<IdRange> = others.iter().map(|start| range(*start)).collect();
        let now = now.map(|start| IdMap { host: range(start) });
        let config = config.iter().copied().collect();
        let got = match choose(&"web".parse().unwrap(), &config, isolated, now, &AVAILABLE, &others) {
            Ok(map) => format!("{}+{}", map.host.start, map.host.size),
            Err(error) => error.to_string(),
        };
        assert!(got.starts_with(expect), "{got}");
    }

    #[test]
    fn isolated_ranges_leave_the_shared_one_alone() {
        check(&[], true, None, &[], "165536+65536");
        check(&[], true, None, &[165_536], "231072+65536");
        check(&[], false, None, &[], "100000+65536");
    }

    #[test]
    fn a_range_that_fits_is_kept() {
        check(&[], true, Some(231_072), &[165_536], "231072+65536");
        check(&[], true, Some(165_536), &[165_536], "231072+65536");
        check(&[("security.idmap.size", "70000")], true, Some(165_536), &[], "165536+70000");
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        check(&[], true, None, &[165_536, 231_072], "instance web: no 65536 host ids in a row are free");
        check(&[("security.idmap.base", "165536")], true, None, &[165_600], "instance web: host ids 165536 to 231071 are not free");
    }
}
