//! How a listing shows a file, for clients that print what they get.

use rustix::fs::{FileType, Stat};

/// A line like `ls -l` writes it, the time in UTC.
pub(super) fn listed(name: &[u8], stat: &Stat) -> Vec<u8> {
    let (year, month, day) = date(stat.st_mtime.div_euclid(86_400));
    let minute = stat.st_mtime.rem_euclid(86_400) / 60;
    let (links, uid, gid, size) = (stat.st_nlink, stat.st_uid, stat.st_gid, stat.st_size);
    let (hour, minute) = (minute / 60, minute % 60);
    let mode = mode(stat.st_mode);
    let mut line = format!("{mode} {links:>3} {uid:<8} {gid:<8} {size:>8} {year}-{month:02}-{day:02} {hour:02}:{minute:02} ").into_bytes();
    line.extend_from_slice(name);
    line
}

fn mode(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::RegularFile | FileType::Unknown => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Year, month and day of a day counted from 1970-01-01. Eras of 400 years begin in March, so that leap days come last.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_writes_them() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(0o102_640), "-rw-r-S---");
    }

    #[test]
    fn days_have_dates() {
        assert_eq!([date(0), date(-1), date(11_016), date(20_000)], [(1970, 1, 1), (1969, 12, 31), (2000, 2, 29), (2024, 10, 4)]);
    }
}
