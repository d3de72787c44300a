//! When snapshots are made by themselves: a cron expression, or aliases such as `@daily, @startup`.

use std::str::FromStr;

use jiff::civil::{Date, Time as Clock};
use jiff::tz::TimeZone;

use crate::Time;

/// Moments at which something is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    times: Vec<Cron>,
    startup: bool,
}

/// A cron expression: which minutes of which hours of which days.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day has to be among both the days and the weekdays; else one is enough.
    both_days: bool,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchedule(String);

/// How far ahead a moment is looked for: 29 February comes after eight years at the latest.
const DAYS_AHEAD: usize = 9 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Whether something is done when the instance starts.
    #[must_use]
    pub fn at_startup(&self) -> bool {
        self.startup
    }

    /// The first moment after another one, by the clock of a time zone; `None` if there is none.
    #[must_use]
    pub fn next_after(&self, moment: Time, zone: &TimeZone) -> Option<Time> {
        self.times.iter().filter_map(|cron| cron.next_after(moment, zone)).min()
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let text = text.trim();
        if !text.starts_with('@') {
            return Ok(Self { times: vec![text.parse()?], startup: false });
        }
        let mut schedule = Self::default();
        for alias in text.split(',').map(str::trim) {
            let expression = match alias {
                "@hourly" => "0 * * * *",
                "@daily" | "@midnight" => "0 0 * * *",
                "@weekly" => "0 0 * * 0",
                "@monthly" => "0 0 1 * *",
                "@annually" | "@yearly" => "0 0 1 1 *",
                "@startup" => {
                    schedule.startup = true;
                    continue;
                }
                "@never" => continue,
                other => {
                    let known = "@hourly, @daily, @midnight, @weekly, @monthly, @annually, @yearly, @startup or @never";
                    return Err(BadSchedule(format!("{other:?} is none of {known}")));
                }
            };
            schedule.times.push(expression.parse()?);
        }
        Ok(schedule)
    }
}

impl Cron {
    fn next_after(&self, moment: Time, zone: &TimeZone) -> Option<Time> {
        let local = zone.to_datetime(moment);
        let mut date = local.date();
        for _ in 0..DAYS_AHEAD {
            if self.is_day(date) {
                // A minute that the clock leaves out comes as soon as it goes on; one that comes twice counts once.
                let times = self.minutes_of_day().filter_map(|clock| zone.to_timestamp(date.to_datetime(clock)).ok());
                if let Some(found) = times.filter(|time| *time > moment).min() {
                    return Some(found);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let day = has(self.days, i64::from(date.day()));
        let weekday = has(self.weekdays, i64::from(date.weekday().to_sunday_zero_offset()));
        has(self.months, i64::from(date.month())) && if self.both_days { day && weekday } else { day || weekday }
    }

    fn minutes_of_day(&self) -> impl Iterator<Item = Clock> + '_ {
        let hours = (0..24i8).filter(|hour| has(self.hours, i64::from(*hour)));
        hours.flat_map(|hour| {
            (0..60i8).filter(|minute| has(self.minutes, i64::from(*minute))).map(move |minute| Clock::constant(hour, minute, 0, 0))
        })
    }
}

impl FromStr for Cron {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let form = "it must be MINUTE HOUR DAY MONTH WEEKDAY, such as 0 6 * * 1-5, or aliases such as @daily";
            return Err(BadSchedule(form.into()));
        };
        let mut week = field("weekday", weekdays, 0, 7, &WEEKDAYS)?;
        if has(week, 7) {
            week |= 1;
        }
        Ok(Self {
            minutes: field("minute", minutes, 0, 59, &[])?,
            hours: field("hour", hours, 0, 23, &[])?,
            days: field("day", days, 1, 31, &[])?,
            months: field("month", months, 1, 12, &MONTHS)?,
            weekdays: week,
            both_days: days.starts_with('*') || weekdays.starts_with('*'),
        })
    }
}

fn has(set: u64, number: i64) -> bool {
    set >> number & 1 == 1
}

/// Reads a field such as `*`, `*/15`, `1-5`, `1,15` or `mon-fri` as a set of numbers.
fn field(what: &str, text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, BadSchedule> {
    let bad = || BadSchedule(format!("{text:?} is no {what}: it must be numbers from {least} to {most}, such as 1,5 or 2-4 or */2"));
    let number = |word: &str| {
        let named = names.iter().position(|name| word.eq_ignore_ascii_case(name)).and_then(|at| u32::try_from(at).ok());
        let number = named.map(|at| at + least).or_else(|| word.parse().ok());
        number.filter(|number| (least..=most).contains(number)).ok_or_else(bad)
    };
    let mut set = 0u64;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step: u32 = step.map_or(Ok(1), |step| step.parse().ok().filter(|step| *step > 0).ok_or_else(bad))?;
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (number(first)?, number(last)?),
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return Err(bad());
        }
        set = (first..=last).step_by(step as usize).fold(set, |set, number| set | 1 << number);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, after: &str, expect: &str) {
        let got = match schedule.parse::<Schedule>() {
            Ok(schedule) => schedule.next_after(after.parse().unwrap(), &TimeZone::UTC).map_or("never".into(), |time| time.to_string()),
            Err(error) => error.to_string(),
        };
        assert!(got.starts_with(expect), "{got}");
    }

    #[test]
    fn expressions() {
        let now = "2026-11-25T18:30:20Z"; // A Wednesday.
        check("* * * * *", now, "2026-11-25T18:31:00Z");
        check("*/15 * * * *", now, "2026-11-25T18:45:00Z");
        check("30 18 * * *", "2026-11-25T18:30:00Z", "2026-11-26T18:30:00Z");
        check("0 6 * * 1-5", "2026-11-27T07:00:00Z", "2026-11-30T06:00:00Z");
        check("0 0 29 feb *", now, "2028-02-29T00:00:00Z");
        check("0 0 1,15 * *", now, "2026-12-01T00:00:00Z");
        check("5/20 0 * * *", now, "2026-11-26T00:05:00Z");
        check("0 0 13 * fri", now, "2026-11-27T00:00:00Z");
        check("0 0 * * 7", now, "2026-11-29T00:00:00Z");
        check("0 0 31 2 *", now, "never");
    }

    #[test]
    fn aliases() {
        let now = "2026-11-25T18:30:20Z";
        check("@hourly", now, "2026-11-25T19:00:00Z");
        check("@daily, @hourly", now, "2026-11-25T19:00:00Z");
        check("@midnight", now, "2026-11-26T00:00:00Z");
        check("@weekly", now, "2026-11-29T00:00:00Z");
        check("@monthly", now, "2026-12-01T00:00:00Z");
        check("@yearly", now, "2027-01-01T00:00:00Z");
        check("@never", now, "never");
        assert!("@startup, @daily".parse::<Schedule>().unwrap().at_startup());
        assert!(!"@daily".parse::<Schedule>().unwrap().at_startup());
    }

    #[test]
    fn what_is_refused() {
        let now = "2026-11-25T18:30:20Z";
        check("", now, "it must be MINUTE HOUR DAY MONTH WEEKDAY");
        check("* * * *", now, "it must be MINUTE HOUR DAY MONTH WEEKDAY");
        check("60 * * * *", now, "\"60\" is no minute: it must be numbers from 0 to 59");
        check("5-1 * * * *", now, "\"5-1\" is no minute");
        check("*/0 * * * *", now, "\"*/0\" is no minute");
        check("* * 0 * *", now, "\"0\" is no day");
        check("* * * nov-foo *", now, "\"nov-foo\" is no month");
        check("@sometimes", now, "\"@sometimes\" is none of @hourly");
    }

    #[test]
    fn a_minute_that_the_clock_leaves_out_is_not_lost() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let schedule: Schedule = "30 2 * * *".parse().unwrap();
        let night = "2026-03-28T12:00:00Z".parse().unwrap();
        let next = schedule.next_after(night, &zone).unwrap();
        assert_eq!(next.to_string(), "2026-03-29T01:30:00Z");
    }
}
