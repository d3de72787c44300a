//! Times in the user's time zone.

use coffer_api::Timestamp;
use jiff::tz::TimeZone;

/// Writes a time as `2026/11/23 16:48 UTC`; unset is empty.
pub(crate) fn minute(time: Timestamp) -> String {
    in_zone(time, "%Y/%m/%d %H:%M %Z", &TimeZone::system())
}

/// Writes a time as `Nov 23, 2026 at 4:53pm (UTC)`; unset is empty.
pub(crate) fn long_time(time: Timestamp) -> String {
    in_zone(time, "%b %-d, %Y at %-I:%M%P (%Z)", &TimeZone::system())
}

fn in_zone(time: Timestamp, format: &str, zone: &TimeZone) -> String {
    time.get().map(|time| time.to_zoned_datetime(zone.clone()).strftime(format).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, time: &str, expected: &str) {
        assert_eq!(in_zone(time.parse().unwrap(), format, &TimeZone::UTC), expected);
    }

    #[test]
    fn times_look_as_in_lxc() {
        check("%Y/%m/%d %H:%M %Z", "2026-11-23T16:48:06.572819426Z", "2026/11/23 16:48 UTC");
        check("%b %-d, %Y at %-I:%M%P (%Z)", "2026-11-23T16:53:06Z", "Nov 23, 2026 at 4:53pm (UTC)");
        check("%b %-d, %Y at %-I:%M%P (%Z)", "2026-11-03T00:05:06Z", "Nov 3, 2026 at 12:05am (UTC)");
        check("%Y/%m/%d %H:%M %Z", "0001-01-01T00:00:00Z", "");
    }
}
