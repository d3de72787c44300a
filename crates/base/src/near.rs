//! Finding what somebody who made a typing error may have meant.

/// The candidate nearest to a name: at most two edits away, and never as many as the name is long; never the name itself.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &'a str| (distance(candidate, name), candidate);
    let others = candidates.into_iter().filter(|candidate| *candidate != name);
    let (edits, candidate) = others.map(near).min()?;
    (edits <= 2 && edits < name.chars().count()).then_some(candidate)
}

/// The number of letters to add, take away or replace, and of neighbours to swap, between two texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut edits = (rows[i][j] + usize::from(x != y)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                edits = edits.min(rows[i - 1][j - 1] + 1);
            }
            row.push(edits);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, candidates: &[&str], expect: Option<&str>) {
        assert_eq!(nearest(name, candidates.iter().copied()), expect, "{name}");
    }

    #[test]
    fn typing_errors_are_seen_through() {
        check("wbe", &["db", "web", "cache"], Some("web"));
        check("limits.memroy", &["limits.memory", "limits.cpu"], Some("limits.memory"));
        check("databse", &["database"], Some("database"));
        check("other", &["web", "db"], None);
        // Not everything short looks alike.
        check("c2", &["db"], None);
        check("c2", &["c1", "db"], Some("c1"));
        check("web", &[], None);
    }
}
