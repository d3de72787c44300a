//! Names of snapshots that were given none: `snap%d`, `{{ creation_date|date:'2006-01-02' }}`.

use std::str::FromStr;

use jiff::ZonedDateTime;
use jiff::fmt::strtime;

/// A pattern for names: text, the moment, and at most one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The moment, by a format of strftime(3).
    Moment(String),
    /// `%d`: the number after the greatest that is taken.
    Number,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

/// What a date looks like in Go, where it is an example, and in strftime(3); a longer example before one that it begins with.
const EXAMPLES: [(&str, &str); 21] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("2006", "%Y"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
];

impl SnapshotPattern {
    /// The name that the pattern means at a moment. One without a number that is taken already gets one behind it.
    #[must_use]
    pub fn name<'a>(&self, now: &ZonedDateTime, taken: impl Iterator<Item = &'a str> + Clone) -> String {
        let (mut before, mut after, mut numbered) = (String::new(), String::new(), false);
        for part in &self.0 {
            let end = if numbered { &mut after } else { &mut before };
            match part {
                Part::Text(text) => end.push_str(text),
                Part::Moment(format) => end.push_str(&strtime::format(format, now).unwrap_or_default()),
                Part::Number => numbered = true,
            }
        }
        if !numbered && !taken.clone().any(|name| name == before) {
            return before;
        }
        if !numbered {
            before.push('-');
        }
        let number = |name: &str| name.strip_prefix(&before)?.strip_suffix(&after)?.parse::<u64>().ok();
        let next = taken.filter_map(number).max().map_or(0, |number| number.saturating_add(1));
        format!("{before}{next}{after}")
    }
}

impl Default for SnapshotPattern {
    fn default() -> Self {
        Self(vec![Part::Text("snap".into()), Part::Number])
    }
}

impl FromStr for SnapshotPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, inside)) = rest.split_once("{{") {
            plain(before, &mut parts);
            let (expression, after) = inside.split_once("}}").ok_or_else(|| BadPattern("a {{ has no }}".into()))?;
            parts.push(Part::Moment(moment(expression.trim())?));
            rest = after;
        }
        plain(rest, &mut parts);
        if parts.iter().filter(|part| **part == Part::Number).count() > 1 {
            return Err(BadPattern("%d may stand in it only once".into()));
        }
        if text.contains(|letter: char| letter == '/' || letter.is_control()) {
            return Err(BadPattern("the name of a snapshot holds no slash and no control character".into()));
        }
        Ok(Self(parts))
    }
}

fn plain(text: &str, parts: &mut Vec<Part>) {
    for (place, piece) in text.split("%d").enumerate() {
        if place > 0 {
            parts.push(Part::Number);
        }
        if !piece.is_empty() {
            parts.push(Part::Text(piece.to_owned()));
        }
    }
}

/// Reads `creation_date`, or `creation_date|date:'EXAMPLE'` with an example as Go writes it.
fn moment(expression: &str) -> Result<String, BadPattern> {
    let bad = || BadPattern(format!("{expression:?} is none of creation_date and creation_date|date:'2006-01-02_15-04-05'"));
    let rest = expression.strip_prefix("creation_date").ok_or_else(bad)?.trim_start();
    if rest.is_empty() {
        return Ok("%Y-%m-%dT%H-%M-%S".into());
    }
    let example = rest.strip_prefix('|').and_then(|rest| rest.trim_start().strip_prefix("date:")).ok_or_else(bad)?.trim();
    let quoted = |quote| example.strip_prefix(quote).and_then(|text: &str| text.strip_suffix(quote));
    Ok(format_of(quoted('\'').or_else(|| quoted('"')).ok_or_else(bad)?))
}

fn format_of(example: &str) -> String {
    let (mut format, mut rest) = (String::new(), example);
    while let Some(character) = rest.chars().next() {
        if let Some((text, directive)) = EXAMPLES.iter().find(|(text, _)| rest.starts_with(text)) {
            format.push_str(directive);
            rest = &rest[text.len()..];
        } else {
            format.push_str(if character == '%' { "%%" } else { &rest[..character.len_utf8()] });
            rest = &rest[character.len_utf8()..];
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, taken: &[&str], expect: &str) {
        let now: ZonedDateTime = "2026-11-05T08:07:09[UTC]".parse().unwrap();
        let got = match pattern.parse::<SnapshotPattern>() {
            Ok(pattern) => pattern.name(&now, taken.iter().copied()),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn numbers_go_on() {
        check("snap%d", &[], "snap0");
        check("snap%d", &["snap0", "snap7", "snapshot", "other9"], "snap8");
        check("a%d-b", &["a3-b", "a9"], "a4-b");
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        check("daily", &[], "daily");
        check("daily", &["daily"], "daily-0");
        check("daily", &["daily", "daily-0"], "daily-1");
    }

    #[test]
    fn moments_are_written_as_their_example() {
        check("{{ creation_date|date:'2006-01-02_15-04-05' }}", &[], "2026-11-05_08-07-09");
        check("{{creation_date|date:\"Jan-2\"}}-%d", &["Nov-5-0"], "Nov-5-1");
        check("a-{{ creation_date }}", &[], "a-2026-11-05T08-07-09");
    }

    #[test]
    fn what_is_refused() {
        check("%d%d", &[], "%d may stand in it only once");
        check("a/b", &[], "the name of a snapshot holds no slash and no control character");
        check("{{ instance.name }}", &[], "\"instance.name\" is none of creation_date and creation_date|date:'2006-01-02_15-04-05'");
        check("{{ creation_date", &[], "a {{ has no }}");
    }
}
