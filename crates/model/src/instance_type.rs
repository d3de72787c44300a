//! Instance types: limits in short, as in `c2-m4` for two CPUs and 4 GiB of memory.
//!
//! LXD also knows the types of cloud providers by name, from a list that it downloads; those are refused by name here.

use crate::Config;

/// Why a text is no instance type.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InstanceTypeError {
    /// It is a provider's name, or nothing at all.
    #[error("instance type {text:?} is not known: write the limits themselves, as in c2-m4 for 2 CPUs and 4 GiB of memory")]
    Unknown {
        /// What was written.
        text: String,
    },
    /// A number that no limit can be.
    #[error("instance type {text:?}: {number:?} is no number of CPUs or of GiB between 0.01 and 1000000")]
    Number {
        /// What was written.
        text: String,
        /// The part of it that is meant.
        number: String,
    },
}

/// The limits that an instance type stands for: `c` and a number of CPUs, `m` and a number of GiB, joined by a hyphen; a part of a
/// CPU becomes an allowance.
///
/// # Errors
/// If the text is not made so.
pub fn limits(text: &str) -> Result<Config, InstanceTypeError> {
    let mut limits = Config::default();
    for part in text.split('-') {
        let (kind, number) = part.split_at_checked(1).unwrap_or_default();
        let starts_well = number.starts_with(|first: char| first.is_ascii_digit());
        match kind {
            "c" if starts_well => cpus(&mut limits, amount(text, number)?),
            "m" if starts_well => limits.set("limits.memory", format!("{}MiB", whole(amount(text, number)? * 1024.0))),
            _ => return Err(InstanceTypeError::Unknown { text: text.to_owned() }),
        }
    }
    Ok(limits)
}

fn amount(text: &str, number: &str) -> Result<f64, InstanceTypeError> {
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let read = if plain { number.parse().ok() } else { None };
    let wrong = || InstanceTypeError::Number { text: text.to_owned(), number: number.to_owned() };
    read.filter(|amount| (0.01..=1_000_000.0).contains(amount)).ok_or_else(wrong)
}

fn cpus(limits: &mut Config, wanted: f64) {
    let cores = wanted.ceil();
    let share = wanted / cores * 100.0;
    limits.set("limits.cpu", whole(cores).to_string());
    if share < 100.0 {
        limits.set("limits.cpu.allowance", format!("{}%", whole(share).max(1)));
    }
}

/// What is left of a number without its fraction; the numbers here are small and not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^30, as `amount` saw to")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        assert_eq!(limits(text), Ok(expect.iter().copied().collect()), "{text}");
    }

    #[test]
    fn letters_and_numbers_are_limits() {
        check("c2-m4", &[("limits.cpu", "2"), ("limits.memory", "4096MiB")]);
        check("m0.5", &[("limits.memory", "512MiB")]);
        check("c1.5", &[("limits.cpu", "2"), ("limits.cpu.allowance", "75%")]);
        check("m1-c0.25", &[("limits.cpu", "1"), ("limits.cpu.allowance", "25%"), ("limits.memory", "1024MiB")]);
    }

    #[test]
    fn providers_names_and_bad_numbers_are_refused() {
        for text in ["t2.micro", "aws:t2.micro", "c", "", "-", "c2-", "mini", "ä2"] {
            assert_eq!(limits(text), Err(InstanceTypeError::Unknown { text: text.to_owned() }));
        }
        for (text, number) in [("c0", "0"), ("m1e9", "1e9"), ("c1.2.3", "1.2.3"), ("c9999999", "9999999")] {
            assert_eq!(limits(text), Err(InstanceTypeError::Number { text: text.to_owned(), number: number.to_owned() }));
        }
    }
}
