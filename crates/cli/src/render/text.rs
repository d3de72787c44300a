//! Plain text from strangers, made safe and comparable.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// Drops every control character, so that what a server or guest wrote can't steer the terminal.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(hidden) { Cow::Owned(text.chars().filter(|c| !hidden(*c)).collect()) } else { Cow::Borrowed(text) }
}

/// Drops every control character but line breaks and tabs.
pub(crate) fn clean_lines(text: &str) -> Cow<'_, str> {
    let bad = |c: char| hidden(c) && c != '\n' && c != '\t';
    if text.chars().any(bad) { Cow::Owned(text.chars().filter(|c| !bad(*c)).collect()) } else { Cow::Borrowed(text) }
}

/// Control characters, and marks that reorder what is shown.
pub(super) fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes a truth as tables do.
pub(crate) fn yes_no(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

/// Compares names so that `c2` comes before `c10`.
pub(crate) fn natural_cmp(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left.chars().peekable(), right.chars().peekable());
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (None, None) => return left.cmp(right),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => match number(&mut a).cmp(&number(&mut b)) {
                Ordering::Equal => {}
                other => return other,
            },
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
            }
            (Some(x), Some(y)) => return x.cmp(&y),
        }
    }
}

/// Takes a run of digits; compares by length without leading zeros, then by digits.
fn number(chars: &mut Peekable<Chars<'_>>) -> (usize, String) {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        if digit != '0' || !digits.is_empty() {
            digits.push(digit);
        }
    }
    (digits.len(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_dropped() {
        assert_eq!(clean("a\x1b]0;x\x07b\u{9b}2Jc\nd"), "a]0;xb2Jcd");
        assert_eq!(clean_lines("a\x1b[1mb\nc\td\re"), "a[1mb\nc\tde");
        assert_eq!(clean("a\u{202e}b"), "ab");
        assert!(matches!(clean("plain é"), Cow::Borrowed(_)));
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["c10", "c2", "c1", "b", "c2a", "c02", "d"];
        names.sort_by(|a, b| natural_cmp(a, b));
        assert_eq!(names, ["b", "c1", "c02", "c2", "c2a", "c10", "d"]);
    }
}
