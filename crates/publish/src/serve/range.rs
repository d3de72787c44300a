//! Which part of a file is asked for.

use std::ops::Range;

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: no header, or one that means nothing to us, which is then ignored.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Beyond,
}

/// Reads a header for a file of `size` bytes. Several ranges at once are answered with the whole. Source: RFC 9110, section 14.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(range) = header.and_then(|header| header.strip_prefix("bytes=")) else { return Asked::Whole };
    let Some((from, to)) = range.split_once('-') else { return Asked::Whole };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (from.trim().is_empty(), to.trim().is_empty()) {
        (true, true) => Asked::Whole,
        (true, false) => match number(to) {
            Some(0) => Asked::Beyond,
            Some(last) if size > 0 => Asked::Part(size.saturating_sub(last)..size),
            Some(_) => Asked::Beyond,
            None => Asked::Whole,
        },
        (false, open) => {
            let Some(from) = number(from) else { return Asked::Whole };
            let end = if open { Some(size) } else { number(to).map(|to| to.saturating_add(1).min(size)) };
            match end {
                None => Asked::Whole,
                Some(_) if from >= size => Asked::Beyond,
                Some(end) if end <= from => Asked::Whole,
                Some(end) => Asked::Part(from..end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expect: Asked) {
        assert_eq!(asked(Some(header), 100), expect, "{header}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-", Asked::Part(0..100));
        check("bytes=10-19", Asked::Part(10..20));
        check("bytes=90-1000", Asked::Part(90..100));
        check("bytes=-10", Asked::Part(90..100));
        check("bytes=-1000", Asked::Part(0..100));
        check("bytes=100-", Asked::Beyond);
        check("bytes=-0", Asked::Beyond);
        check("bytes=20-10", Asked::Whole);
        check("bytes=0-1,5-6", Asked::Whole);
        check("bytes=x-y", Asked::Whole);
        check("lines=1-2", Asked::Whole);
        check("bytes=18446744073709551615-", Asked::Beyond);
        check("bytes=0-18446744073709551615", Asked::Part(0..100));
        assert_eq!(asked(None, 0), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Beyond);
    }
}
