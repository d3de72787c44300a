//! After what time a snapshot goes: `1M 2H 3d 4w 5m 6y`.

use std::str::FromStr;

use jiff::Span;
use jiff::tz::TimeZone;

use crate::Time;

/// A time to keep something, by the calendar: a month after 31 January is the last day of February.
#[derive(Debug, Clone, Copy)]
pub struct Expiry(Span);

/// Why a text is no time to keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be a time such as 1M 2H 3d 4w 5m 6y (minutes, hours, days, weeks, months, years), each unit once")]
pub struct BadExpiry;

impl Expiry {
    /// The moment at which what was made at another one goes; `None` if that is beyond the calendar.
    #[must_use]
    pub fn after(self, made: Time) -> Option<Time> {
        let made = made.to_zoned_datetime(TimeZone::UTC);
        made.checked_add(self.0).ok().map(|end| end.timestamp())
    }

    /// The moment before which what was made is too old at another one; `None` if that is beyond the calendar.
    #[must_use]
    pub fn before(self, now: Time) -> Option<Time> {
        let now = now.to_zoned_datetime(TimeZone::UTC);
        now.checked_sub(self.0).ok().map(|start| start.timestamp())
    }
}

impl FromStr for Expiry {
    type Err = BadExpiry;

    fn from_str(text: &str) -> Result<Self, BadExpiry> {
        let (mut span, mut seen) = (Span::new(), Vec::new());
        for part in text.split_whitespace() {
            let (digits, unit) = part.split_at(part.len().saturating_sub(part.chars().next_back().map_or(0, char::len_utf8)));
            let amount: u32 = digits.parse().map_err(|_| BadExpiry)?;
            if seen.contains(&unit) {
                return Err(BadExpiry);
            }
            seen.push(unit);
            let longer = match unit {
                "S" => span.try_seconds(amount),
                "M" => span.try_minutes(amount),
                "H" => span.try_hours(amount),
                "d" => span.try_days(amount),
                "w" => span.try_weeks(amount),
                "m" => span.try_months(amount),
                "y" => span.try_years(amount),
                _ => return Err(BadExpiry),
            };
            span = longer.map_err(|_| BadExpiry)?;
        }
        if seen.is_empty() { Err(BadExpiry) } else { Ok(Self(span)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let made: Time = "2024-01-31T10:00:00Z".parse().unwrap();
        let got = text.parse::<Expiry>().map_or_else(|_| "refused".to_owned(), |expiry| expiry.after(made).unwrap().to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn times_follow_the_calendar() {
        check("30M", "2024-01-31T10:30:00Z");
        check("1d 2H", "2024-02-01T12:00:00Z");
        check("1m", "2024-02-29T10:00:00Z");
        check("1y 1w", "2025-02-07T10:00:00Z");
        for bad in ["", "soon", "1x", "1", "d", "1d 2d", "-1d", "1.5d", "99999999999d", "1ü"] {
            check(bad, "refused");
        }
    }
}
