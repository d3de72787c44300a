//! Reading what `zfs list`, `zfs get` and `zfs send -n` print for programs.

use crate::replica::StateId;

/// What is asked of `zfs list` about volumes, in this order.
pub(super) const VOLUME_FIELDS: &str = "name,quota,refquota";

/// What is asked of `zfs list` about where things come from, in this order.
pub(super) const LINEAGE_FIELDS: &str = "name,origin,clones";

/// What is asked of `zfs list` about room, in this order.
pub(super) const ROOM_FIELDS: &str = "used,available";

/// What is asked of `zfs list` about states, in this order: the last one is a property of ours.
pub(super) const STATE_FIELDS: &str = "name,guid,origin,coffer:outside";

/// The property that marks what came from outside.
pub(super) const OUTSIDE: &str = "coffer:outside";

/// A state that was kept, or the dataset that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) name: String,
    /// The number that it keeps wherever it is sent to; a dataset's own means nothing elsewhere.
    pub(super) id: Option<StateId>,
    /// What the dataset is a clone of.
    pub(super) origin: Option<String>,
    /// Whether it came from outside, so that its number is whatever somebody wrote.
    pub(super) outside: bool,
}

impl State {
    /// Says whether its number tells what is in it.
    pub(super) fn counts(&self) -> bool {
        !self.outside && self.id.is_some()
    }
}

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

/// Reads lines of [`STATE_FIELDS`]; what is no such line is left out.
pub(super) fn states(text: &str) -> Vec<State> {
    let line = |line: &str| {
        let [name, id, origin, outside] = fields(line)?;
        let id = if name.contains('@') { id.parse().ok().map(StateId) } else { None };
        Some(State { name: name.to_owned(), id, origin: names(origin).pop(), outside: outside != "-" })
    };
    text.lines().filter_map(line).collect()
}

/// The states that led to one, the newest first, out of all in the order in which they were made.
pub(super) fn before<'s>(states: &'s [State], state: &str) -> Vec<&'s State> {
    let mut found = Vec::new();
    let mut next = Some(state);
    while let Some(state) = next.take() {
        let Some((dataset, _)) = state.split_once('@') else { break };
        let of_dataset = |found: &&State| found.name.split_once('@').is_some_and(|(name, _)| name == dataset);
        let earlier: Vec<&State> = states.iter().filter(of_dataset).take_while(|found| found.name != state).collect();
        found.extend(earlier.into_iter().rev());
        next = states.iter().find(|found| found.name == dataset).and_then(|found| found.origin.as_deref());
        found.extend(next.and_then(|origin| states.iter().find(|found| found.name == origin)));
    }
    found
}

/// Reads what `zfs send -n -P` says about how long a stream will be, in bytes.
pub(super) fn stream_size(text: &str) -> Option<u64> {
    text.lines().filter_map(|line| line.strip_prefix("size\t")).find_map(|size| size.trim().parse().ok())
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

fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
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

    /// A volume made from an image, with a state that is kept, a later one that a snapshot was made from, and one from outside.
    const STATES: &str = "tank/i\t1\t-\t-\ntank/i@readonly\t11\t-\t-\ntank/a\t2\ttank/i@readonly\t-\ntank/a@copy-1\t21\t-\t-\n\
                          tank/s\t3\ttank/a@copy-2\t-\ntank/x@readonly\t31\t-\tyes\ntank/a@copy-2\t22\t-\t-\ntank/s@readonly\t41\t-\t-\n";

    #[track_caller]
    fn check_before(state: &str, expect: &[u64]) {
        let states = states(STATES);
        let ids: Vec<u64> = before(&states, state).into_iter().filter(|state| state.counts()).map(|state| state.id.unwrap().0).collect();
        assert_eq!(ids, expect, "{state}");
    }

    #[test]
    fn states_are_followed_back_to_the_first() {
        check_before("tank/s@readonly", &[22, 21, 11]);
        check_before("tank/a@copy-2", &[21, 11]);
        check_before("tank/i@readonly", &[]);
        check_before("tank/gone@copy-1", &[]);
        check_before("tank/a", &[]);
    }

    #[test]
    fn only_states_of_this_server_count() {
        let ids: Vec<u64> = states(STATES).iter().filter(|state| state.counts()).map(|state| state.id.unwrap().0).collect();
        assert_eq!(ids, [11, 21, 22, 41], "neither what datasets have themselves, nor what somebody wrote");
    }

    #[test]
    fn the_length_of_a_stream_as_zfs_tells_it() {
        assert_eq!(stream_size("full\ttank/a@copy-1\t53776\nsize\t53776\n"), Some(53776));
        assert_eq!(stream_size("incremental\tcopy-1\ttank/a@copy-2\t624\nsize\t624\n"), Some(624));
        assert_eq!(stream_size(""), None);
    }

    #[test]
    fn room_as_zfs_lists_it() {
        assert_eq!(room("12288\t1000000\n"), Some((12288, 1_000_000)));
        assert_eq!(room(""), None);
    }
}
