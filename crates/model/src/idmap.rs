//! Id maps: which host ids an instance's ids are.

use serde::{Deserialize, Serialize};

/// The ids that an instance has inside when it is unprivileged: 0 to 65535, unless its configuration says more.
pub const DEFAULT_SIZE: u32 = 65536;

/// A run of host ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdRange {
    /// The first host id.
    pub start: u32,
    /// How many.
    pub size: u32,
}

impl IdRange {
    /// The first id after the range.
    #[must_use]
    pub fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.size)
    }

    /// Says whether two ranges share an id.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }

    /// Says whether all of `other` lies in this range.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

/// An instance's whole id map: ids 0 to size − 1 inside are `base` and up on the host, users and groups alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// The host's ids.
    pub host: IdRange,
}

/// One entry in the form that LXD writes into `volatile.idmap.*`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    isuid: bool,
    isgid: bool,
    hostid: u64,
    nsid: u64,
    maprange: u64,
}

impl IdMap {
    /// Writes the map as LXD does in `volatile.idmap.*`.
    #[must_use]
    pub fn to_volatile(self) -> String {
        let entry = |isuid| Entry { isuid, isgid: !isuid, hostid: self.host.start.into(), nsid: 0, maprange: self.host.size.into() };
        serde_json::to_string(&[entry(true), entry(false)]).expect("numbers and booleans always serialise")
    }

    /// Reads a map as this server wrote it; `None` for anything else.
    #[must_use]
    pub fn from_volatile(text: &str) -> Option<Self> {
        let entries: Vec<Entry> = serde_json::from_str(text).ok()?;
        match entries.as_slice() {
            [uid, gid] if uid.isuid && gid.isgid && uid.nsid == 0 && uid.hostid == gid.hostid && uid.maprange == gid.maprange => {
                let host = IdRange { start: uid.hostid.try_into().ok()?, size: uid.maprange.try_into().ok()? };
                Some(Self { host })
            }
            _ => None,
        }
    }
}

/// Reads the lines of `/etc/subuid` or `/etc/subgid`: whose range, and the range.
///
/// Source: subuid(5).
#[must_use]
pub fn parse_subids(text: &str) -> Vec<(String, IdRange)> {
    let line = |line: &str| {
        let mut parts = line.trim().split(':');
        let (owner, start, size) = (parts.next()?, parts.next()?, parts.next()?);
        Some((owner.to_owned(), IdRange { start: start.parse().ok()?, size: size.parse().ok()? }))
    };
    text.lines().filter_map(line).collect()
}

/// What instances' ranges are taken from: root's ranges in both files, or this default where root has none.
///
/// The default is a billion ids from one million on, less what the files give to others.
///
/// # Errors
/// A sentence for the user, when root has ranges but users' and groups' do not agree anywhere on 65536 ids.
pub fn available(subuid: Option<&str>, subgid: Option<&str>) -> Result<Vec<IdRange>, String> {
    let (uids, gids) = (parse_subids(subuid.unwrap_or_default()), parse_subids(subgid.unwrap_or_default()));
    let of_root = |entries: &[(String, IdRange)]| -> Vec<IdRange> {
        entries.iter().filter(|(owner, _)| owner == "root" || owner == "0").map(|(_, range)| *range).collect()
    };
    let (root_uids, root_gids) = (of_root(&uids), of_root(&gids));
    if root_uids.is_empty() && root_gids.is_empty() {
        let taken: Vec<IdRange> = uids.into_iter().chain(gids).map(|(_, range)| range).collect();
        return Ok(without(IdRange { start: 1_000_000, size: 1_000_000_000 }, taken));
    }
    let common: Vec<IdRange> = root_uids.iter().flat_map(|uid| root_gids.iter().filter_map(|gid| intersection(*uid, *gid))).collect();
    if common.iter().all(|range| range.size < DEFAULT_SIZE) {
        return Err(format!(
            "root has no range of {DEFAULT_SIZE} ids in both /etc/subuid and /etc/subgid; add a line such as \"root:1000000:1000000000\" to both"
        ));
    }
    Ok(common)
}

/// Chooses `size` free host ids, the lowest there are.
#[must_use]
pub fn allocate(available: &[IdRange], taken: &[IdRange], size: u32) -> Option<IdRange> {
    let mut free: Vec<IdRange> = available.iter().flat_map(|range| without(*range, taken.to_vec())).collect();
    free.sort();
    free.into_iter().find(|range| range.size >= size).map(|range| IdRange { start: range.start, size })
}

fn intersection(a: IdRange, b: IdRange) -> Option<IdRange> {
    let start = a.start.max(b.start);
    let end = a.end().min(b.end());
    (u64::from(start) < end).then(|| IdRange { start, size: u32::try_from(end - u64::from(start)).unwrap_or(u32::MAX) })
}

/// What is left of a range without the taken ones.
fn without(range: IdRange, mut taken: Vec<IdRange>) -> Vec<IdRange> {
    taken.sort();
    let mut left = Vec::new();
    let mut from = u64::from(range.start);
    for hole in taken.into_iter().filter(|hole| hole.overlaps(range)) {
        push(&mut left, from, u64::from(hole.start));
        from = from.max(hole.end());
    }
    push(&mut left, from, range.end());
    left
}

fn push(ranges: &mut Vec<IdRange>, from: u64, to: u64) {
    if let (Ok(start), Ok(size)) = (u32::try_from(from), u32::try_from(to.saturating_sub(from)))
        && size > 0
    {
        ranges.push(IdRange { start, size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u32, size: u32) -> IdRange {
        IdRange { start, size }
    }

    #[test]
    fn roots_ranges_are_used_where_it_has_some() {
        let text = "me:100000:65536\nroot:200000:131072\n";
        assert_eq!(available(Some(text), Some(text)).unwrap(), [range(200_000, 131_072)]);
    }

    #[test]
    fn the_default_leaves_out_what_others_have() {
        let text = "me:1065536:65536\n";
        assert_eq!(available(Some(text), None).unwrap(), [range(1_000_000, 65536), range(1_131_072, 999_868_928)]);
    }

    #[test]
    fn too_small_a_range_is_said() {
        assert!(available(Some("root:100000:1000"), Some("root:100000:1000")).unwrap_err().contains("/etc/subuid"));
    }

    #[test]
    fn volatile_form_round_trips() {
        let map = IdMap { host: range(100_000, 65536) };
        assert_eq!(IdMap::from_volatile(&map.to_volatile()), Some(map));
        assert!(map.to_volatile().starts_with(r#"[{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":65536}"#));
    }

    proptest! {
        /// However many ranges are taken, no two share an id and all lie in what is available.
        #[test]
        fn allocated_ranges_are_disjoint(sizes in prop::collection::vec(65536u32..300_000, 1..30)) {
            let available = [range(100_000, 3_000_000), range(5_000_000, 1_000_000)];
            let mut taken: Vec<IdRange> = Vec::new();
            for size in sizes {
                if let Some(new) = allocate(&available, &taken, size) {
                    prop_assert!(taken.iter().all(|old| !old.overlaps(new)));
                    prop_assert!(available.iter().any(|all| all.contains(new)));
                    taken.push(new);
                }
            }
        }
    }
}
