//! Names for snapshots that were given none: `snapshots.pattern`.

use coffer_model::SnapshotName;

use crate::error::EngineError;

/// The pattern where none is set.
const DEFAULT: &str = "snap%d";

/// Finds the name that a pattern means: `%d` becomes the number after the greatest that is taken. A pattern without a
/// number that is taken already gets one behind it.
pub(crate) fn next(pattern: Option<&str>, taken: &[SnapshotName]) -> Result<SnapshotName, EngineError> {
    let pattern = pattern.unwrap_or(DEFAULT);
    let name = match pattern.split_once("%d") {
        Some((before, after)) => numbered(before, after, taken),
        None if taken.iter().any(|name| name.as_str() == pattern) => numbered(&format!("{pattern}-"), "", taken),
        None => pattern.to_owned(),
    };
    Ok(name.parse()?)
}

fn numbered(before: &str, after: &str, taken: &[SnapshotName]) -> String {
    let number = |name: &SnapshotName| name.as_str().strip_prefix(before)?.strip_suffix(after)?.parse::<u64>().ok();
    let next = taken.iter().filter_map(number).max().map_or(0, |number| number.saturating_add(1));
    format!("{before}{next}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: Option<&str>, taken: &[&str], expect: &str) {
        let taken: Vec<SnapshotName> = taken.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(next(pattern, &taken).unwrap().as_str(), expect);
    }

    #[test]
    fn numbers_go_on() {
        check(None, &[], "snap0");
        check(None, &["snap0", "snap7", "snapshot", "other9"], "snap8");
        check(Some("a%d-b"), &["a3-b", "a9"], "a4-b");
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        check(Some("daily"), &[], "daily");
        check(Some("daily"), &["daily"], "daily-0");
        check(Some("daily"), &["daily", "daily-0"], "daily-1");
    }
}
