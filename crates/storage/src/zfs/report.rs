//! Reading what `zfs list` and `zfs get` print for programs.

/// What is asked of `zfs list` about volumes, in this order.
pub(super) const VOLUME_FIELDS: &str = "name,quota,refquota";

/// What is asked of `zfs list` about where things come from, in this order.
pub(super) const LINEAGE_FIELDS: &str = "name,origin,clones";

/// What is asked of `zfs list` about room, in this order.
pub(super) const ROOM_FIELDS: &str = "used,available";

/// A dataset and the most it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dataset {
    pub(super) name: String,
    pub(super) limit: Option<u64>,
}

/// Where a dataset comes from, and what comes from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lineage {
    /// The snapshot that it is a clone of.
    pub(super) origin: Option<String>,
    /// Its snapshots, the oldest first, each with its clones.
    pub(super) snapshots: Vec<(String, Vec<String>)>,
}

impl Lineage {
    /// The newest snapshot that something else was cloned from.
    pub(super) fn last_needed(&self) -> Option<&str> {
        self.snapshots.iter().rev().find(|(_, clones)| !clones.is_empty()).map(|(name, _)| name.as_str())
    }
}

/// Reads lines of [`VOLUME_FIELDS`]; what is no such line is left out.
pub(super) fn datasets(text: &str) -> Vec<Dataset> {
    let line = |line: &str| {
        let [name, quota, refquota] = fields(line)?;
        let limit = [quota, refquota].into_iter().filter_map(|text| text.parse().ok()).filter(|limit| *limit > 0).min();
        Some(Dataset { name: name.to_owned(), limit })
    };
    text.lines().filter_map(line).collect()
}

/// Reads lines of [`LINEAGE_FIELDS`] about one dataset and its snapshots in the order in which they were made.
pub(super) fn lineage(text: &str) -> Lineage {
    let mut lineage = Lineage::default();
    for [name, origin, clones] in text.lines().filter_map(fields) {
        if name.contains('@') {
            lineage.snapshots.push((name.to_owned(), names(clones)));
        } else {
            lineage.origin = names(origin).pop();
        }
    }
    lineage
}

/// Reads the one line of [`ROOM_FIELDS`]: bytes in use, and bytes that are free.
pub(super) fn room(text: &str) -> Option<(u64, u64)> {
    let (used, available) = text.lines().next()?.split_once('\t')?;
    Some((used.parse().ok()?, available.parse().ok()?))
}

/// Names with commas between; a hyphen stands for none.
fn names(text: &str) -> Vec<String> {
    text.split(',').filter(|name| !name.is_empty() && *name != "-").map(str::to_owned).collect()
}

fn fields(line: &str) -> Option<[&str; 3]> {
    line.split('\t').collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_as_zfs_lists_them() {
        let text = "tank\t0\t0\ntank/containers/web\t1073741824\t0\ntank/containers/db\t0\t5242880\ntank/x\t-\t-\nwarning\n";
        let dataset = |name: &str, limit| Dataset { name: name.into(), limit };
        let expect = [
            dataset("tank", None),
            dataset("tank/containers/web", Some(1 << 30)),
            dataset("tank/containers/db", Some(5 << 20)),
            dataset("tank/x", None),
        ];
        assert_eq!(datasets(text), expect);
    }

    #[test]
    fn where_things_come_from_as_zfs_lists_it() {
        let text = "tank/a\ttank/images/f@readonly\t-\ntank/a@copy-1\t-\ttank/b,tank/c\ntank/a@copy-2\t-\t\ntank/a@mine\t-\t-\n";
        let lineage = lineage(text);
        assert_eq!(lineage.origin.as_deref(), Some("tank/images/f@readonly"));
        assert_eq!(lineage.last_needed(), Some("tank/a@copy-1"));
        assert_eq!(lineage.snapshots[0].1, ["tank/b", "tank/c"]);
        assert_eq!(super::lineage("tank/a\t-\t-\n"), Lineage::default());
    }

    #[test]
    fn room_as_zfs_lists_it() {
        assert_eq!(room("12288\t1000000\n"), Some((12288, 1_000_000)));
        assert_eq!(room(""), None);
    }
}
