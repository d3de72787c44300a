//! `raw.idmap`: host ids that stand for single ids inside, beside an instance's range.

use std::str::FromStr;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEntry {
    /// Whether it maps users.
    pub users: bool,
    /// Whether it maps groups.
    pub groups: bool,
    /// The first id on the host.
    pub host: u32,
    /// The first id inside.
    pub inside: u32,
    /// How many.
    pub count: u32,
}

/// A run of ids: where it begins inside and on the host, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first id inside.
    pub inside: u32,
    /// The first id on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// Reads the entries, a line each; no two may map the same id.
///
/// # Errors
/// A sentence for the user.
pub fn parse(text: &str) -> Result<Vec<RawEntry>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let entries: Vec<RawEntry> = lines.map(str::parse).collect::<Result<_, _>>()?;
    for (at, entry) in entries.iter().enumerate() {
        let same_kind = |other: &&RawEntry| (entry.users && other.users) || (entry.groups && other.groups);
        let overlap = |a: u32, b: u32, count: u32| a < b + count && b < a + entry.count;
        let taken = entries[..at]
            .iter()
            .filter(same_kind)
            .find(|other| overlap(entry.inside, other.inside, other.count) || overlap(entry.host, other.host, other.count));
        if taken.is_some() {
            return Err(format!("two entries map id {} inside or {} on the host", entry.inside, entry.host));
        }
    }
    Ok(entries)
}

/// Puts entries over a whole range that begins at 0 inside: what they map is cut out of it.
#[must_use]
pub fn laid_over(host: u32, size: u32, entries: impl Iterator<Item = RawEntry>) -> Vec<Run> {
    let mut entries: Vec<RawEntry> = entries.collect();
    entries.sort_by_key(|entry| entry.inside);
    let (mut runs, mut at) = (Vec::new(), 0_u32);
    for entry in entries {
        if at < entry.inside.min(size) {
            runs.push(Run { inside: at, host: host + at, count: entry.inside.min(size) - at });
        }
        runs.push(Run { inside: entry.inside, host: entry.host, count: entry.count });
        at = at.max(entry.inside + entry.count);
    }
    if at < size {
        runs.push(Run { inside: at, host: host + at, count: size - at });
    }
    runs
}

impl FromStr for RawEntry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is not an entry such as \"both 1000 1000\" or \"uid 50-60 500-510\" (kind, host, inside)");
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, host, inside] = words.as_slice() else { return Err(wrong()) };
        let (users, groups) = match *kind {
            "both" => (true, true),
            "uid" => (true, false),
            "gid" => (false, true),
            _ => return Err(wrong()),
        };
        let (host, count) = run(host).ok_or_else(wrong)?;
        let (inside, inside_count) = run(inside).ok_or_else(wrong)?;
        if count != inside_count {
            return Err(format!("{line:?} maps {count} ids to {inside_count}"));
        }
        if host == 0 {
            return Err(format!("{line:?} gives the instance the host's root; use security.privileged if that is meant"));
        }
        Ok(Self { users, groups, host, inside, count })
    }
}

/// Reads `N` or `N-M`: the first id and how many.
fn run(text: &str) -> Option<(u32, u32)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
    // The last id stands for "no id" and is never mapped.
    let count = high.checked_sub(low)?.checked_add(1)?;
    (high < u32::MAX).then_some((low, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = match parse(text) {
            Ok(entries) => {
                let runs = laid_over(100_000, 1000, entries.into_iter().filter(|entry| entry.users));
                runs.iter().map(|run| format!("{}={}+{}", run.inside, run.host, run.count)).collect::<Vec<_>>().join(" ")
            }
            Err(why) => why,
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn entries_are_cut_out_of_the_range() {
        check("", "0=100000+1000");
        check("both 1500 100", "0=100000+100 100=1500+1 101=100101+899");
        check("uid 50-60 500-510\ngid 1 1\nboth 7 0", "0=7+1 1=100001+499 500=50+11 511=100511+489");
        check("uid 1 999", "0=100000+999 999=1+1");
        check("uid 1 5000", "0=100000+1000 5000=1+1");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        check("both 1000", "\"both 1000\" is not an entry such as \"both 1000 1000\" or \"uid 50-60 500-510\" (kind, host, inside)");
        check("uid 1-3 1-2", "\"uid 1-3 1-2\" maps 3 ids to 2");
        check("both 0 0", "\"both 0 0\" gives the instance the host's root; use security.privileged if that is meant");
        check("uid 5 1\nboth 5 2", "two entries map id 2 inside or 5 on the host");
        check(
            "uid 4294967295 1",
            "\"uid 4294967295 1\" is not an entry such as \"both 1000 1000\" or \"uid 50-60 500-510\" (kind, host, inside)",
        );
    }
}
